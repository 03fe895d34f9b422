"""All systems of a comparison on the same items."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.evaluate import aggregation, few_shot, lm_eval, traffic
from tasks.evaluate.benchmarks import (
    Benchmark,
    load_benchmark,
    load_benchmarks,
    name_benchmarks,
)
from tasks.evaluate.inputs import Evidence, Systems
from tasks.evaluate.items import TRAFFIC, Item, by_benchmark
from tasks.evaluate.measuring import System, measure, virtual_tokens
from tasks.evaluate.results import SYSTEMS, Evaluation
from tasks.model import base_model
from tasks.settings import Settings


@dataclass(frozen=True)
class SideBySide:
    """What was measured, by system."""

    out: Path
    settings: Settings
    items: dict[str, dict[str, list[Item]]] = field(default_factory=dict)
    """By system, then by benchmark."""
    models: dict[str, Evaluation] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how it was measured."""

    def add(self, name: str, system: System, benchmarks: Sequence[Benchmark]) -> None:
        """Measure a system, and write its files into a folder of its name."""
        begun = time.perf_counter()
        found = measure(system, benchmarks)
        # The harness has examples in prompts of its own (`num_fewshot` of a task).
        more = {} if name == "few_shot" else lm_eval.measure(system)
        seconds = time.perf_counter() - begun
        self.models[name] = aggregation.write(
            found, self.out / name, self.settings, model=system.label, seconds=seconds, more=more
        )
        self.items[name] = by_benchmark(found)


def measure_all(systems: Systems, evidence: Evidence, out: Path, settings: Settings) -> SideBySide:
    """Measure the base, alone and with examples in its prompt, and all of `systems`.

    Raises:
        BadInput: as `evaluate`; or the general probe is named but missing.
    """
    tokenizer = base_model.load_tokenizer(settings)
    # All are measured on the same tokens: the context has room for the virtual tokens of each.
    adapters = _adapters(systems)
    virtual = max(map(virtual_tokens, adapters.values()))
    benchmarks = load_benchmarks(settings, tokenizer, virtual)
    found = SideBySide(out, settings)
    if evidence.window is not None and settings.evaluate.traffic_examples:
        measured_on, note = _traffic(evidence.window, evidence, out, settings, virtual)
        benchmarks += measured_on
        found.notes.append(note)
    for name, adapter in adapters.items():
        system = System(adapter, tokenizer, settings, name)
        found.add(name, system, benchmarks)
        if name == "base":
            asked = few_shot.ask(evidence.train, benchmarks, tokenizer, settings)
            found.notes.extend(asked.notes)
            if asked.benchmarks:
                found.add("few_shot", system.renamed("few_shot", asked.about), asked.benchmarks)
    return found


def _traffic(
    window: Path, evidence: Evidence, out: Path, settings: Settings, virtual: int
) -> tuple[list[Benchmark], str]:
    """The window as a benchmark, if it can be one, and a sentence about that.

    A window that cannot be used says so, and stops nothing: it is no part of the settings.
    """
    seen = [*name_benchmarks(settings.evaluate.benchmarks).values()]
    if evidence.train is not None:
        seen.append(evidence.train)
    try:
        path = traffic.unseen(window, seen, out / f"{TRAFFIC}.jsonl")
        if path is None:
            return [], (
                f"{window.name}, the newest labelled window of traffic, is not measured: fewer "
                f"than {traffic.FEWEST} of its prompts are in neither the training data nor a "
                "benchmark."
            )
        options = settings.evaluate
        fewer = {"max_examples": options.traffic_examples}
        found = load_benchmark(
            path,
            TRAFFIC,
            base_model.load_tokenizer(settings),
            settings.replace(evaluate=options.model_copy(update=fewer)),
            generations=0,
            virtual_tokens=virtual,
        )
    except BadInput as error:
        return (
            [],
            f"{window.name}, the newest labelled window of traffic, is not measured: {error}.",
        )
    return [found], (
        f"{TRAFFIC} is {window.name}: {len(found.records)} of its labelled records, those whose "
        "prompts are in neither the training data nor a benchmark. No gate looks at it."
    )


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
