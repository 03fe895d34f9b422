"""The drift check: two files of records in, a result with its evidence out."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks import records
from tasks.core.errors import BadInput
from tasks.drift.explanation import compare_descriptors, most_shifted_examples, shifted_terms
from tasks.drift.features import semantic_features, shape_features
from tasks.drift.permutation import Outcome, gaussian_kernel, permutation_test
from tasks.drift.reference import split_regimes
from tasks.drift.results import DriftResult, Effective, Regime, RowCounts, Sample, ShiftedExample
from tasks.drift.sample import compared_text, draw, text_hash
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The current rows against one regime of the reference."""

    regime: str
    reference: list[Record]
    outcome: Outcome
    examples: tuple[ShiftedExample, ...]


def detect(
    reference: Path,
    current: Path | Sequence[Path],
    settings: Settings,
    *,
    alpha: float | None = None,
    report: Path | None = None,
) -> DriftResult:
    """Decide whether the prompts in `current` come from another distribution than the reference's.

    The distinct prompts of both sides (`tasks.drift.sample.draw`; of a chat, the last turn of the
    user) are compared by their semantic and shape features in one permutation test
    (`tasks.drift.permutation.permutation_test`): it raises a false alarm with a probability of at
    most `drift.alpha`, whatever the size of the window. Rows count as independent: give one row
    for each conversation.

    A reference from `write_reference` may hold several regimes, kinds of traffic that the champion
    was trained on. Traffic that resembles any one of them is no drift: the p-value is the largest
    over the regimes, which keeps the error rate (an intersection–union test, Berger 1982), and the
    other figures are those of that regime. Regimes mixed in a new proportion are drift.

    The same input gives the same figures, whatever the order of rows and files.

    Args:
        reference: file or folder of records, labelled or not: what is expected.
        current: file or folder of records, labelled or not: the window of traffic. Several are
            compared as one window.
        settings: `drift`, and the project's seed.
        alpha: accepted probability of a false alarm, instead of `drift.alpha`.
        report: where to write an HTML page with the result and Evidently's descriptor report.

    Raises:
        BadInput: a file cannot be read, or a side has fewer than `drift.min_rows` distinct prompts.
    """
    if alpha is not None:
        settings = settings.replace(drift=settings.drift.replace(alpha=alpha))
    options, seed = settings.drift, settings.project.seed
    windows = [current] if isinstance(current, Path) else [*current]
    name = ", ".join(map(str, windows))
    expected = records.load([reference], labelled=False)
    found = records.load(windows, labelled=False)
    now = draw(found, options.max_rows, seed)
    _require_rows(now, found, name, options.min_rows)
    regimes = {
        name: draw(rows, options.max_rows, seed) for name, rows in split_regimes(expected).items()
    }
    _require_rows(max(regimes.values(), key=len), expected, str(reference), options.min_rows)
    compared = [
        _compare(name, rows, now, settings)
        for name, rows in regimes.items()
        if len(rows) >= options.min_rows
    ]
    nearest = max(
        compared, key=lambda found: (found.outcome.p_value, -sum(found.outcome.statistics.values()))
    )
    before_texts = [compared_text(record) for record in nearest.reference]
    now_texts = [compared_text(record) for record in now]
    read = RowCounts(reference=len(expected), current=len(found))
    result = _result(nearest, compared, before_texts, now_texts, read, settings)
    log.info("%s: drift %s, p = %.4g", name, result.drift, result.p_value)
    if report is not None:
        from tasks.drift.report import write_report

        write_report(report, result, before_texts, now_texts, str(reference), name)
    return result


def _compare(
    regime: str, reference: list[Record], current: list[Record], settings: Settings
) -> _Comparison:
    options, seed = settings.drift, settings.project.seed
    # An order of the pooled rows that does not depend on their side: see `semantic_features`.
    pooled = [(compared_text(record), record, False) for record in reference]
    pooled += [(compared_text(record), record, True) for record in current]
    pooled.sort(key=lambda row: text_hash(row[0], seed))
    texts = [text for text, _, _ in pooled]
    is_current = np.array([side for _, _, side in pooled])
    kernels = {
        "mmd_wording": gaussian_kernel(semantic_features(texts, options.max_characters, seed)),
        "mmd_form": gaussian_kernel(shape_features(texts)),
    }
    window = [(text, record) for text, record, side in pooled if side]
    return _Comparison(
        regime=regime,
        reference=reference,
        outcome=permutation_test(kernels, is_current, _permutations(settings), seed),
        examples=most_shifted_examples(
            [record for _, record in window],
            [text for text, _ in window],
            kernels["mmd_wording"],
            is_current,
        ),
    )


def _result(
    nearest: _Comparison,
    compared: Sequence[_Comparison],
    before: Sequence[str],
    now: Sequence[str],
    read: RowCounts,
    settings: Settings,
) -> DriftResult:
    options = settings.drift
    return DriftResult(
        drift=nearest.outcome.p_value <= options.alpha,
        p_value=nearest.outcome.p_value,
        alpha=options.alpha,
        tests=nearest.outcome.tests(options.alpha),
        rows=RowCounts(reference=len(before), current=len(now)),
        read=read,
        effective=Effective(
            reference=Sample(groups=len(before), rows=len(before)),
            current=Sample(groups=len(now), rows=len(now)),
        ),
        not_compared=(),
        permutations=_permutations(settings),
        regime=nearest.regime,
        regimes=tuple(
            Regime(name=found.regime, p_value=found.outcome.p_value, rows=len(found.reference))
            for found in compared
        ),
        descriptors=compare_descriptors(before, now),
        shifted_terms=shifted_terms(before, now),
        examples=nearest.examples,
    )


def _permutations(settings: Settings) -> int:
    """As many as alpha needs."""
    options = settings.drift
    return max(options.permutations, min(math.ceil(1 / options.alpha), 10_000))


def _require_rows(
    drawn: Sequence[Record], read: Sequence[Record], name: str, min_rows: int
) -> None:
    if len(drawn) < min_rows:
        raise BadInput(
            f"{name}: holds {len(drawn)} distinct prompts ({len(read)} records read), too few to "
            f"compare; collect at least {min_rows}, or lower drift.min_rows in params.yaml"
        )
