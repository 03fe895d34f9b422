"""The drift check: two files of records in, a result with its evidence out."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks import records
from tasks.core.errors import BadInput
from tasks.drift.comparison import Comparison, compare, pool
from tasks.drift.explanation import compare_descriptors, most_shifted_examples, shifted_terms
from tasks.drift.features import FEATURES
from tasks.drift.groups import at_most
from tasks.drift.kinds import Shift, name_shifts
from tasks.drift.permutation import least_p_value
from tasks.drift.reference import as_curated, split_regimes
from tasks.drift.results import (
    DriftResult,
    DriftTest,
    Regime,
    RowCounts,
    ShiftedExample,
    ShiftedTerm,
)
from tasks.drift.rows import Row, rows_of
from tasks.settings import Settings

log = logging.getLogger(__name__)

_EXPLAINED = 3
"""Feature groups of which rows and words are shown."""


def detect(
    reference: Path,
    current: Path | Sequence[Path],
    settings: Settings,
    *,
    alpha: float | None = None,
    report: Path | None = None,
) -> DriftResult:
    """Decide whether the traffic in `current` comes from another distribution than the reference.

    Every feature group (`tasks.drift.features`) has a test: what is asked and how, system prompt,
    conversation, language, frequency, answers, labels, measurements. All of them are one decision,
    in which whole groups of rows are permuted (`tasks.drift.permutation.permutation_test`): it
    raises a false alarm with a probability of at most `alpha`, whatever the size of the window and
    however the rows of a group (`tasks.drift.groups`) depend on each other.

    A reference from `write_reference` may hold several regimes, kinds of traffic that the champion
    was trained on. Traffic that resembles any one of them is no drift: the p-value is the largest
    over the regimes, which keeps the error rate (an intersection–union test, Berger 1982), and the
    other figures are those of that regime. Regimes mixed in a new proportion are drift.

    Personal data is masked on both sides as curation masks it (`curate.privacy`): the reference of
    a version is, and nothing of it is quoted in results.

    The same input gives the same figures, whatever the order of rows and files.

    Args:
        reference: file or folder of records, labelled or not: what is expected.
        current: file or folder of records, labelled or not: the window of traffic. Several are
            compared as one window.
        settings: `drift`, and the project's seed.
        alpha: accepted probability of a false alarm, instead of `drift.alpha`.
        report: where to write an HTML page with the result and Evidently's descriptor report.

    Raises:
        BadInput: a file cannot be read, a side has fewer than `drift.min_rows` rows, or so few
            groups that no labelling of them could raise an alarm.
    """
    if alpha is not None:
        settings = settings.replace(drift=settings.drift.replace(alpha=alpha))
    windows = [current] if isinstance(current, Path) else [*current]
    name = ", ".join(map(str, windows))
    expected = records.load([reference], labelled=False)
    found = records.load(windows, labelled=False)
    most, seed = settings.drift.max_rows, settings.project.seed
    regimes = {
        regime: at_most(rows_of(as_curated(rows, settings)), most, seed)
        for regime, rows in split_regimes(expected).items()
    }
    now = at_most(rows_of(as_curated(found, settings)), most, seed)
    _require_rows(now, len(found), name, settings)
    _require_rows(max(regimes.values(), key=len), len(expected), str(reference), settings)
    compared = _compare(regimes, now, settings, name)
    nearest = max(
        compared,
        key=lambda regime: (regime.outcome.p_value, -max(regime.outcome.statistics.values())),
    )
    read = RowCounts(reference=len(expected), current=len(found))
    result = _result(nearest, compared, read, settings)
    log.info("%s: drift %s, p = %.4g", name, result.drift, result.p_value)
    if report is not None:
        from tasks.drift.report import write_report

        before_texts, now_texts = ([row.words for row in side] for side in _sides(nearest))
        write_report(report, result, before_texts, now_texts, str(reference), name)
    return result


def _compare(
    regimes: dict[str, list[Row]], now: list[Row], settings: Settings, name: str
) -> list[Comparison]:
    of_regime = {id(row): regime for regime, rows in regimes.items() for row in rows}
    pooled = pool([row for rows in regimes.values() for row in rows], now, settings)
    belongs = np.array([of_regime.get(id(row)) for row in pooled.rows], dtype=object)
    largest = max(regimes, key=lambda regime: len(regimes[regime]))
    main = belongs == largest
    compared = []
    for regime, rows in regimes.items():
        if len(rows) < settings.drift.min_rows:
            continue
        chosen = belongs == regime
        both = chosen | pooled.is_current
        if least_p_value(pooled.units[both], pooled.is_current[both]) <= settings.drift.alpha:
            beside = None if regime == largest else main
            compared.append(compare(regime, chosen, pooled, settings, beside))
    if not compared:
        raise BadInput(
            f"{name}: its {len(now)} rows are {len(np.unique(pooled.units[pooled.is_current]))} "
            f"groups, too few to compare at alpha = {settings.drift.alpha:g}; rows of one `group` "
            "(or one user, session, conversation) count as one: collect more groups"
        )
    return compared


def _result(
    nearest: Comparison, compared: Sequence[Comparison], read: RowCounts, settings: Settings
) -> DriftResult:
    alpha = settings.drift.alpha
    before, now = _sides(nearest)
    outcome = nearest.outcome
    tests = outcome.tests(alpha)
    shown = _shown(tests)
    result = DriftResult(
        drift=outcome.p_value <= alpha,
        p_value=outcome.p_value,
        alpha=alpha,
        tests=tests,
        rows=RowCounts(reference=len(before), current=len(now)),
        read=read,
        effective=nearest.effective,
        not_compared=nearest.pooled.not_compared,
        permutations=outcome.permutations,
        regime=nearest.regime,
        regimes=tuple(
            Regime(name=found.regime, p_value=found.outcome.p_value, rows=len(found.reference))
            for found in compared
        ),
        descriptors=compare_descriptors([row.words for row in before], [row.words for row in now]),
        shifted_terms=_terms(shown, before, now),
        examples=tuple(example for name in shown for example in _examples(name, nearest)),
    )
    shift = Shift.of(result, [row.record for row in before], [row.record for row in now])
    return result.model_copy(update={"kinds": name_shifts(shift)})


def _shown(tests: Sequence[DriftTest]) -> list[str]:
    """The feature groups to explain: those that differ, at most three, or else the nearest to."""
    order = sorted(tests, key=lambda test: test.p_value)
    differ = [test.name for test in order if test.p_value <= test.threshold]
    return differ[:_EXPLAINED] or [order[0].name]


def _terms(
    names: Sequence[str], before: Sequence[Row], now: Sequence[Row]
) -> tuple[ShiftedTerm, ...]:
    """Words of what these feature groups look at, once each, where that is a text."""
    found: list[ShiftedTerm] = []
    seen = []
    for name in names:
        group = FEATURES.get(name)
        was, new = (
            [text for row in side if (text := group.text(row)) and not _is_number(text)]
            for side in (before, now)
        )
        terms = shifted_terms(was, new, group=name) if was and new else ()
        words = [(term.term, term.z) for term in terms]
        if words and words not in seen:
            seen.append(words)
            found += terms
    return tuple(found)


def _is_number(text: str) -> bool:
    return not any(map(str.isalpha, text))


def _examples(name: str, nearest: Comparison) -> tuple[ShiftedExample, ...]:
    texts = [FEATURES.get(name).text(row) or "" for row in nearest.current]
    return most_shifted_examples(nearest.current, texts, nearest.witness(name), name)


def _sides(nearest: Comparison) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    return nearest.reference, nearest.current


def _require_rows(rows: Sequence[Row], read: int, name: str, settings: Settings) -> None:
    if len(rows) < settings.drift.min_rows:
        raise BadInput(
            f"{name}: holds {len(rows)} rows to compare ({read} records read), too few; collect at "
            f"least {settings.drift.min_rows}, or lower drift.min_rows in params.yaml"
        )
