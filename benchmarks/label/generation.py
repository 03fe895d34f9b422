"""Answers by choice beside as many at random, for the default's docstring summaries.

    python -m benchmarks.label.generation [--budget 40] [--steps 10] [--draws 1]

A champion is trained on functions of NumPy. The window is new traffic: a third NumPy's, the others
SQLAlchemy's. `perpetune label`'s own function hands out N rows by `combined` and by `random`, the
true summaries are the answers, and each set trains the base together with the champion's data.
Shown is the loss on other functions of the window's kind, paired, with an interval over modules: it
says how sure the difference of these two models is, not what other draws would give (`--draws`).
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tasks.collect.docstrings import Function, functions
from tasks.core import files
from tasks.core.order import order_key
from tasks.evaluate import estimate, evaluate, sample
from tasks.label import Known, hand_out
from tasks.settings import Settings, load_settings
from tasks.tune.train import train

KNOWN, POOL, JUDGED = 80, 120, 90


def row(function: Function, answered: bool) -> dict[str, Any]:
    """As the default's data has it."""
    prompt = f"Summarise this function in one line: {function.signature}"
    made = {"prompt": prompt, "group": function.module}
    return made | {"completion": function.summary} if answered else made


def drawn(package: str, count: int, purpose: str) -> list[Function]:
    """Functions of modules that serve one purpose."""
    modules = {"known": (0, 0.3), "pool": (0.3, 0.7), "judged": (0.7, 1.0)}[purpose]
    found = [
        function
        for function in functions(package)
        if modules[0] <= order_key(function.group)[0] / 256 < modules[1]
    ]
    return sorted(found, key=lambda function: order_key(function.id))[:count]


def main() -> None:
    """Train, label, train again, and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--draws", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = load_settings(
            Path("params.yaml"),
            [f"project.state_dir={folder / 'state'}", f"tune.max_steps={options.steps}",
             "tune.learning_rate=0.001", "tune.evaluations=1", "tune.validation_examples=16",
             "tune.source_weights={}", f"curate.inputs=[{folder / 'none'}]", "curate.feedback=null",
             "label.asked_rows=60", "label.suggestions=false", "evaluate.max_new_tokens=16"],
        )  # fmt: skip
        known = [row(function, True) for function in drawn("numpy", KNOWN, "known")]
        window = drawn("numpy", POOL // 3, "pool") + drawn("sqlalchemy", POOL * 2 // 3, "pool")
        judged = drawn("numpy", JUDGED // 3, "judged") + drawn(
            "sqlalchemy", JUDGED * 2 // 3, "judged"
        )
        files.write_jsonl(folder / "window.jsonl", (row(function, False) for function in window))
        files.write_jsonl(folder / "judged.jsonl", (row(function, True) for function in judged))
        files.write_jsonl(folder / "reference.jsonl", known)
        champion = trained(known, folder / "champion", settings)
        before = losses(champion, folder, settings)
        print(f"champion: {summed(before):.3f} nats a token on the window's kind")
        truth = {row(function, False)["prompt"]: function.summary for function in window}
        for draw in range(options.draws):
            found = {}
            for strategy in ("random", "combined"):
                label = settings.label.replace(strategy=strategy)
                project = settings.project.replace(seed=draw)
                chosen = settings.replace(label=label, project=project)
                out = folder / f"{strategy}-{draw}.jsonl"
                hand_out([folder / "window.jsonl"], options.budget, "jsonl", out,
                         Known(champion, folder / "reference.jsonl"), chosen)  # fmt: skip
                answered = [json.loads(line) for line in out.read_text().splitlines()]
                labelled = [
                    {"prompt": one["prompt"], "completion": truth[one["prompt"]]}
                    for one in answered
                ]
                # What is new weighs as much as what was known, as in a round after drift.
                times = max(1, len(known) // len(labelled))
                model = trained(known + labelled * times, folder / f"{strategy}-{draw}", settings)
                found[strategy] = losses(model, folder, settings)
                print(f"{strategy}: {summed(found[strategy]):.3f}", flush=True)
            print(difference(found["combined"], found["random"]))
    print(f"{time.perf_counter() - started:.0f} s")


def trained(rows: list[dict[str, Any]], out: Path, settings: Settings) -> Path:
    """A LoRA adapter of the base that learned these rows."""
    data = out.with_name(f"{out.name}-data")
    files.write_jsonl(data / "train.jsonl", rows)
    files.write_jsonl(data / "validation.jsonl", rows[:16])
    train(data, out, settings)
    return out / "best"


def losses(adapter: Path, folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Of each judged example: nll, tokens, group."""
    options = settings.evaluate.replace(max_generations=0, metrics=["loss"])
    out = folder / "measured" / adapter.parent.name
    evaluate(adapter, [folder / "judged.jsonl"], out, settings.replace(evaluate=options))
    return files.read_jsonl(out / "examples.jsonl")


def summed(lines: list[dict[str, Any]]) -> float:
    """Nats a token."""
    return float(sum(line["nll"] for line in lines) / sum(line["tokens"] for line in lines))


def difference(chosen: list[dict[str, Any]], random: list[dict[str, Any]]) -> str:
    """Chosen less random, paired."""
    pairs = list(zip(chosen, random, strict=True))
    sums = np.array([[one["nll"] - other["nll"], one["tokens"]] for one, other in pairs])
    found = estimate([sample(sums, [one["group"] for one, _ in pairs])])
    ends = found.interval(0.95)
    return (
        f"combined less random: {ends.value:+.3f} [{ends.low:+.3f}, {ends.high:+.3f}] nats a token "
        f"({found.examples} examples in {found.clusters} modules)"
    )


if __name__ == "__main__":
    main()
