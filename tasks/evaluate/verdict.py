"""The verdict on a candidate: base, champion and candidate on the same data, and the gates."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.evaluate import evaluation, gates, picture, review
from tasks.evaluate.comparison import MODELS
from tasks.model import base_model
from tasks.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_GENERAL_ROWS = 5  # one row of so many on the review sheet shows the general probe


def check_benchmarks(settings: Settings) -> None:
    """See that `judge` can read what it will measure on, before anything is trained.

    Raises:
        BadInput: as `judge`.
    """
    _benchmarks(settings, base_model.load_tokenizer(settings), 0)


def judge(candidate: Path, champion: Path | None, out: Path, settings: Settings) -> dict[str, Any]:
    """Measure base, champion and candidate, decide on every gate and write the review sheet.

    Measurements are kept under `project.state_dir/evaluations`, by all that they depend on, so
    that the base model and a champion are not measured again in the next round.

    Writes into `out`: `base/`, `champion/`, `candidate/` (as `evaluate` does), `metrics.png`,
    `review.html`, `review.md` and, last, `verdict.json`.

    Args:
        candidate: adapter folder, or a whole model's.
        champion: the same of the model in use; None: the base model is in use.
        out: folder for the results; made where missing.
        settings: `judge` names the data and the thresholds.

    Returns:
        The content of `verdict.json`: `passed`, `reference` ("champion" or "base"), `gates` (see
        `gates.decide`), `models` (what `evaluate` returns for each), `review`, `seconds`.

    Raises:
        BadInput: as `evaluate`; or the general probe is named but missing.
    """
    started = time.perf_counter()
    (out / "verdict.json").unlink(missing_ok=True)
    tokenizer = base_model.load_tokenizer(settings)
    # All are measured on the same tokens, for which each of them has room.
    virtual = max(map(evaluation.virtual_tokens, (candidate, champion)))
    wanted = _benchmarks(settings, tokenizer, virtual)
    # The candidate comes first: if its folder is broken, nothing else was computed in vain.
    adapters: dict[str, Path | None] = {"candidate": candidate, "base": None}
    if champion is not None:
        adapters["champion"] = champion
    rows: dict[str, list[evaluation.Row]] = {}
    models: dict[str, Any] = {}
    for name, adapter in adapters.items():
        begun = time.perf_counter()
        rows[name] = evaluation.measure_once(adapter, wanted, tokenizer, settings)
        seconds = time.perf_counter() - begun
        model = "base" if adapter is None else str(adapter)
        models[name] = evaluation.write(rows[name], model, seconds, out / name, settings)
    decided = gates.decide(rows, settings)
    verdict = {
        "passed": all(gate["passed"] for gate in decided),
        "reference": "base" if champion is None else "champion",
        "gates": decided,
        "models": {name: models[name] for name in MODELS if name in models},
        "review": "review.html",
        "seconds": round(time.perf_counter() - started, 1),
    }
    for gate in decided:
        log.info(
            "%s: %s: %s", gate["name"], "passed" if gate["passed"] else "failed", gate["reason"]
        )
    picture.write(verdict, out / "metrics.png", settings)
    review.write(rows, verdict, out, settings)
    files.write_json(out / "verdict.json", verdict)
    return verdict


def _benchmarks(
    settings: Settings, tokenizer: "PreTrainedTokenizerBase", virtual_tokens: int
) -> list[evaluation.Benchmark]:
    """All that is measured on: the benchmarks, then the general probe."""
    named = evaluation.name_benchmarks(settings.judge.benchmarks)
    probe = _general_probe(settings)
    if probe and gates.GENERAL in named:
        raise BadInput(
            f"{named[gates.GENERAL]}: the name {gates.GENERAL} belongs to judge.general_probe; "
            "rename this benchmark"
        )
    wanted = [
        evaluation.load_benchmark(path, name, tokenizer, settings, virtual_tokens=virtual_tokens)
        for name, path in named.items()
    ]
    if probe:
        # The gate looks at its loss alone: only what the review sheet shows is answered.
        shown = min(settings.judge.max_generations, settings.judge.review_examples // _GENERAL_ROWS)
        wanted.append(
            evaluation.load_benchmark(
                probe,
                gates.GENERAL,
                tokenizer,
                settings,
                generations=shown,
                virtual_tokens=virtual_tokens,
            )
        )
    return wanted


def _general_probe(settings: Settings) -> Path | None:
    if settings.judge.general_probe is None:
        return None
    path = Path(settings.judge.general_probe)
    if not path.is_file():
        raise BadInput(
            f"judge.general_probe: {path}: no such file; name another, or null for no such gate"
        )
    return path
