"""A candidate beside base and champion: all on the same data, the gates, and the review sheet."""

import logging
import time
from pathlib import Path

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.evaluate import aggregation, diagnosis, gates, multiplicity, pages
from tasks.evaluate.benchmarks import load_benchmarks
from tasks.evaluate.inputs import Evidence, Systems
from tasks.evaluate.items import by_benchmark
from tasks.evaluate.measuring import System, measure, virtual_tokens
from tasks.evaluate.metrics import selected
from tasks.evaluate.results import SYSTEMS, Evaluation, Verdict, in_order
from tasks.model import base_model
from tasks.settings import Settings

log = logging.getLogger(__name__)


def compare(systems: Systems, evidence: Evidence, out: Path, settings: Settings) -> Verdict:
    """Measure all systems on the same data, decide on every gate and write the review sheet.

    Losses and answers are cached (`tasks.evaluate.measuring`): base and champion are not measured
    again in the next round.

    Writes into `out`: a folder for each system (as `evaluate` does), what
    `tasks.evaluate.pages.write` writes and, last, `verdict.json`.

    Args:
        systems: what is compared, beside the base model.
        evidence: what else the round knows.
        out: folder for the results; made where missing.
        settings: `evaluate` names data, metrics and thresholds.

    Raises:
        BadInput: as `evaluate`; or the general probe is named but missing.
    """
    started = time.perf_counter()
    (out / "verdict.json").unlink(missing_ok=True)
    selected(settings.evaluate.metrics)
    gates.check(settings)
    tokenizer = base_model.load_tokenizer(settings)
    # All are measured on the same tokens: the context has room for the virtual tokens of each.
    adapters = _adapters(systems)
    virtual = max(map(virtual_tokens, adapters.values()))
    benchmarks = load_benchmarks(settings, tokenizer, virtual)
    items = {}
    models: dict[str, Evaluation] = {}
    for name, adapter in adapters.items():
        begun = time.perf_counter()
        system = System(adapter, tokenizer, settings)
        measured = measure(system, benchmarks)
        seconds = time.perf_counter() - begun
        models[name] = aggregation.write(
            measured, out / name, settings, model=system.label, seconds=seconds
        )
        items[name] = by_benchmark(measured)
    compared = gates.Measured(items, settings, evidence, systems)
    course = diagnosis.read_course(evidence)
    verdict = Verdict(
        reference=compared.reference,
        gates=gates.decide(compared),
        models={name: models[name] for name in in_order(models)},
        review="review.html",
        diagnosis=diagnosis.diagnose(compared, course),
        seconds=round(time.perf_counter() - started, 1),
        notes=multiplicity.notes(compared),
    )
    pages.write(compared, verdict, course, out)
    files.write_json(out / "verdict.json", verdict.to_json(), sort_keys=False)
    return verdict


def _adapters(systems: Systems) -> dict[str, Path | None]:
    """By name. The candidate is first: if its folder is broken, nothing was computed in vain."""
    found: dict[str, Path | None] = {"candidate": systems.candidate, "base": None}
    if systems.champion is not None:
        found["champion"] = systems.champion
    if systems.first is not None:
        found["first"] = systems.first
    for name, adapter in systems.others.items():
        if name in SYSTEMS:
            raise BadInput(f"evaluate.others: {name} is the name of {SYSTEMS[name]}; take another")
        found[name] = adapter
    return found
