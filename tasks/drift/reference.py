"""What traffic is compared with: the prompts that a version was trained on, by regime."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.drift.sample import compared_text, draw
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)

ONLY_REGIME = "reference"
_TRAINING = "training"
_KEY = "drift_regime"


def write_reference(curated: Path, out: Path, settings: Settings) -> Path:
    """Write the reference profile that is stored with a registered version.

    Prompts only, no answers: what `detect` compares. Each kind of traffic that the version was
    trained on is a regime of its own, at most `drift.max_rows` rows drawn by hash: the training
    source as a whole, and every file of feedback under `curate.feedback`. A feedback file is a
    sample of a window that had drifted, so it represents the traffic of that time in its true
    proportions. A mixture of all sources, as in training, would represent traffic that never was:
    after the retraining, the traffic that caused it would raise the alarm again, round after round.
    Feedback with fewer than `drift.min_rows` prompts is too small to compare with and is left out.
    A training source as small as that is written, with a warning; `detect` refuses it.

    Args:
        curated: folder with `train.jsonl` and, if it is not empty, `validation.jsonl`.
        out: path of the JSONL file to write.
        settings: `curate.feedback`, `drift` and the project's seed.

    Returns:
        `out`. Its lines: `{"id", "messages": [the user's turn], "drift_regime"}` and `group` where
        the record has one.

    Raises:
        BadInput: there is no curated training data, or no prompt in it.
    """
    sources = [curated / "train.jsonl"]
    validation = curated / "validation.jsonl"
    if validation.is_file() and validation.stat().st_size:
        sources.append(validation)
    regimes: dict[str, list[Record]] = {}
    for record in records.load(sources, labelled=False):
        regimes.setdefault(_regime_of(record, settings.curate.feedback), []).append(record)
    options = settings.drift
    rows: list[dict[str, Any]] = []
    for name in sorted(regimes, key=lambda name: (name != _TRAINING, name)):
        drawn = draw(regimes[name], options.max_rows, settings.project.seed)
        if len(drawn) < options.min_rows:
            log.warning("%s: %d distinct prompts are too few to watch traffic", name, len(drawn))
        if len(drawn) >= options.min_rows or name == _TRAINING:
            rows += [_row(record, name) for record in drawn]
    if not rows:
        raise BadInput(f"{curated}: no record has a prompt that traffic could be compared with")
    files.write_jsonl(out, rows)
    return out


def split_regimes(reference: Iterable[Record]) -> dict[str, list[Record]]:
    """The rows of each regime in a reference; a file of other origin is one regime."""
    regimes: dict[str, list[Record]] = {}
    for record in reference:
        regimes.setdefault(str(record.meta.get(_KEY, ONLY_REGIME)), []).append(record)
    return {name: regimes[name] for name in sorted(regimes)}


def _regime_of(record: Record, feedback: str | None) -> str:
    source = record.origin[0] if record.origin else record.source
    if feedback is not None and Path(source).absolute().is_relative_to(Path(feedback).absolute()):
        return source
    return _TRAINING


def _row(record: Record, regime: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": record.id,
        "messages": [{"role": "user", "content": compared_text(record)}],
        _KEY: regime,
    }
    return row if record.group is None else row | {"group": record.group}
