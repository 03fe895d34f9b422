"""Review sheets of a candidate that was never trained: items are given, pages are real."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.evaluate import Evaluation, Evidence, Finding, Item, Measured, Verdict
from tasks.evaluate import gates as all_gates
from tasks.evaluate.aggregation import summarise
from tasks.evaluate.items import by_benchmark
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.pages import write
from tasks.settings import Settings

HOSTILE = (
    "</script><script>window.hacked = 1</script><!-- <img src=x onerror=hacked=1> "
    "`x` [l](javascript:hacked=1) {{ 7 * 7 }} \u202eabc\x1b[31m & \"q\" 'r'"
)


def item(number: int, answer: str, **more: Any) -> Item:
    """An answered item; items of one number are of one example."""
    values = {
        "benchmark": "held",
        "id": f"example-{number}",
        "group": f"group-{number % 7}",
        "nll": 20.0 + number % 5,
        "tokens": 10,
        "prompt": f"Question {number}?",
        "reference": f"The right answer {number}.",
        "answered": True,
        "answer": answer,
    }
    return Item.model_validate(values | more)


def answers(count: int, text: Callable[[int], str], **more: Any) -> list[Item]:
    """One item for each number."""
    return [item(number, text(number), **more) for number in range(count)]


def systems(count: int = 30, **others: Sequence[Item]) -> dict[str, list[Item]]:
    """Base and candidate, which differ on every item, and others."""
    found = {
        "base": answers(count, lambda i: f"A long and winding answer of the base to {i}."),
        "candidate": answers(count, lambda i: f"The right answer {i} of the candidate.", nll=12.0),
    }
    return found | {name: list(items) for name, items in others.items()}


def write_sheet(
    items: Mapping[str, Sequence[Item]], out: Path, **evaluate: Any
) -> tuple[Verdict, Settings]:
    """The pages of a verdict on these items, written into `out`."""
    settings = Settings.model_validate({"evaluate": evaluate})
    out.mkdir(exist_ok=True)
    measured = Measured(
        {name: by_benchmark(found) for name, found in items.items()}, settings, Evidence()
    )
    metrics = [METRICS.get(name) for name in ("loss", "rouge_l")]
    models = {
        name: Evaluation(
            model=name,
            benchmarks={
                benchmark: summarise(part, metrics, settings)
                for benchmark, part in by_benchmark(found).items()
            },
            seconds=1.0,
        )
        for name, found in items.items()
    }
    verdict = Verdict(
        reference=measured.reference,
        gates=all_gates.decide(measured),
        models=models,
        review="review.html",
        seconds=1.0,
        notes=(f"A note with {HOSTILE}.",),
        diagnosis=(Finding(name="form", sentence=f"It is {HOSTILE}.", remedy="None."),),
    )
    write(measured, verdict, None, out)
    return verdict, settings
