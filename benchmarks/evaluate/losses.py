"""Real losses of the default's round, item by item: `losses.json`, and how it is measured.

The base and six trials on all held-out records and on the general probe. The trials differ in seed,
learning rate and number of steps, as those of a sweep do.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.evaluate import statistics

FILE = Path(__file__).parent / "losses.json"
PROJECT = Path(__file__).parent.parent.parent
BENCHMARKS = {"held-out": "data/benchmarks/heldout.jsonl", "probe": "data/general_probe.jsonl"}
TRIALS = {
    "trial 1": ["tune.max_steps=20"],
    "trial 2": ["tune.max_steps=20", "project.seed=1"],
    "trial 3": ["tune.max_steps=20", "tune.learning_rate=0.0003"],
    "trial 4": ["tune.max_steps=40"],
    "trial 5": ["tune.max_steps=40", "tune.learning_rate=0.002", "project.seed=2"],
    "trial 6": ["tune.max_steps=10"],
}


@dataclass(frozen=True, slots=True)
class Losses:
    """One benchmark: for each item its group and tokens, and each system's loss in nats."""

    groups: list[str]
    tokens: statistics.Floats
    nll: dict[str, statistics.Floats]

    def first(self, count: int) -> "Losses":
        """The first items, which are what an evaluation of so many examples measures."""
        nll = {name: losses[:count] for name, losses in self.nll.items()}
        return Losses(self.groups[:count], self.tokens[:count], nll)

    def difference(self, candidate: str, other: str) -> statistics.Floats:
        """Shape (clusters, 2): loss of the candidate less the other's, and tokens."""
        rows = np.stack([self.nll[candidate] - self.nll[other], self.tokens], axis=1)
        return statistics.sample(rows, self.groups).sums

    def level(self, system: str) -> statistics.Floats:
        """Shape (clusters, 2): loss and tokens of one system."""
        rows = np.stack([self.nll[system], self.tokens], axis=1)
        return statistics.sample(rows, self.groups).sums


def read() -> dict[str, Losses]:
    """The losses that are kept here, by benchmark."""
    return {
        name: Losses(
            found["groups"],
            np.array(found["tokens"], dtype=np.float64),
            {system: np.array(losses) for system, losses in found["nll"].items()},
        )
        for name, found in json.loads(FILE.read_text(encoding="utf-8")).items()
    }


def measure(work: Path) -> None:
    """Build the default's data in `work`, train the trials, and write `losses.json`.

    What is in `work` already is not made again. Takes half an hour on two cores.
    """
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "data").exists():
        _perpetune(work, "collect", "--out", "data")
    if not (work / "curated").exists():
        against = [argument for path in BENCHMARKS.values() for argument in ("--against", path)]
        _perpetune(work, "curate", "data/train", *against, "--out", "curated")
    folders: dict[str, Path | None] = {"base": None}
    for name, overrides in TRIALS.items():
        folder = work / name.replace("trial ", "t")
        if not (folder / "metrics.json").exists():
            sets = [argument for override in overrides for argument in ("--set", override)]
            _perpetune(work, "train", "--data", "curated", "--out", folder.name, *sets)
        folders[name] = folder / "best"
    found = {}
    for name, path in BENCHMARKS.items():
        found[name] = _losses(work, work / path, folders, name)
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


def _losses(
    work: Path, path: Path, folders: dict[str, Path | None], benchmark: str
) -> dict[str, object]:
    from tasks import records
    from tasks.core.order import order_key
    from tasks.evaluate import scoring
    from tasks.model import base_model, encoding
    from tasks.settings import load_settings

    settings = load_settings()
    tokenizer = base_model.load_tokenizer(settings)
    chosen = sorted(records.load([path]), key=lambda record: order_key(record.id))
    examples = [encoding.encode(record, tokenizer, None) for record in chosen]
    nll = {}
    for name, folder in folders.items():
        kept = work / "losses" / f"{benchmark} {name}.json"
        if not kept.exists():
            model = base_model.load_model(settings, folder)
            losses = scoring.negative_log_likelihoods(model, examples, label=name)
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(json.dumps([round(loss, 3) for loss in losses]))
        nll[name] = json.loads(kept.read_text())
    numbers: dict[str | None, int] = {}
    groups = [f"g{numbers.setdefault(record.group, len(numbers))}" for record in chosen]
    return {"groups": groups, "tokens": [example.targets for example in examples], "nll": nll}


def _perpetune(work: Path, *command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run(
        [sys.executable, "-m", "perpetune", *command], cwd=work, check=True, env=environment
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--measure`."""
    parser.add_argument(
        "--measure", type=Path, metavar="FOLDER", help="measure the losses anew, in this folder"
    )
