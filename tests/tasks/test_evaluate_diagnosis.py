"""Diagnosis in words: each finding from a training or a plant that shows it, and else silence."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.core import files
from tasks.evaluate import DIAGNOSTICS, Evidence, Item, Measured
from tasks.evaluate.diagnosis import Seen, diagnose, read_course, silent
from tasks.evaluate.diagnosis.estimate import mean, ratio
from tasks.evaluate.items import by_benchmark
from tasks.evaluate.pages import course as curves
from tasks.settings import Settings
from tasks.tune.train import train
from tests.sheets import answers, item

DEFAULT = Settings()
NAMES = {
    "over_fitting", "under_fitting", "unstable_rate", "forgetting", "leakage", "form",
    "disagreement",
}  # fmt: skip


def names_of(items: dict[str, list[Item]], trial: Path | None = None) -> dict[str, str]:
    """The findings' sentences by name."""
    evidence = Evidence(trial=trial)
    systems = {name: by_benchmark(found) for name, found in items.items()}
    found = diagnose(Measured(systems, DEFAULT, evidence), read_course(evidence))
    for finding in found:
        assert finding.sentence.endswith(".") and finding.remedy.endswith(".")
        assert any(sign.isdigit() for sign in finding.sentence), "with its figures"
    return {finding.name: finding.sentence for finding in found}


def quiet(count: int = 24, **more: Any) -> dict[str, list[Item]]:
    """Systems of which nothing is to be said."""
    return {
        name: answers(count, lambda i: f"The right answer {i}.", **more)
        for name in ("base", "candidate")
    }


def planted(
    folder: Path,
    validation: Sequence[float],
    training: Sequence[float],
    *,
    initial: float = 3.2,
    change_noise: float = 0.05,
    seed: int = 0,
) -> Path:
    """The folder of a trial: 40 validation examples whose mean losses are `validation`."""
    draw = np.random.default_rng(seed)
    examples = 40
    targets = draw.integers(8, 30, examples)
    level = 0.8 * draw.standard_normal(examples)
    rows = []
    for loss in validation:
        row = loss + level + change_noise * draw.standard_normal(examples)
        row += loss - (row * targets).sum() / targets.sum()
        rows.append(row * targets)
    every = len(training) // len(validation)
    curve = []
    for i, loss in enumerate(training, 1):
        curve.append({"step": i, "train_loss": loss, "learning_rate": 1e-3, "tokens": 500})
        if i % every == 0:
            curve[-1]["validation_loss"] = validation[i // every - 1]
    files.write_jsonl(folder / "curve.jsonl", curve)
    files.write_jsonl(
        folder / "validation.jsonl",
        [
            {"id": f"v{i}", "targets": int(targets[i]), "losses": [float(row[i]) for row in rows]}
            for i in range(examples)
        ],
    )
    metrics = {"initial_validation_loss": initial, "params": {"batch_size": 8}}
    files.write_json(folder / "metrics.json", metrics)
    return folder


def noisy(levels: Sequence[float], seed: int = 0, spread: float = 0.3) -> list[float]:
    draw = random.Random(seed)
    return [level + spread * draw.gauss(0, 1) for level in levels]


# The course of a training


def test_a_plateau_is_seldom_called_over_or_under_fitting(tmp_path: Path) -> None:
    """The rate of false alarms where training has converged: noise alone moves the losses."""
    draw = random.Random(1)
    found: list[str] = []
    runs = 100
    for run in range(runs):
        validation = [2.5 + 0.008 * draw.gauss(0, 1) for _ in range(4)]
        folder = planted(tmp_path / str(run), validation, noisy([2.5] * 20, seed=run), seed=run)
        found += names_of(quiet(12), folder)
    counts = {name: found.count(name) for name in set(found)}
    assert set(counts) <= {"over_fitting", "under_fitting", "unstable_rate"}
    assert counts.get("over_fitting", 0) <= 0.05 * runs
    assert counts.get("under_fitting", 0) <= 0.10 * runs
    assert counts.get("unstable_rate", 0) <= 0.02 * runs


def test_over_fitting_needs_both_a_rise_and_a_fall(tmp_path: Path) -> None:
    validation = [2.6, 2.5, 2.56, 2.65]
    falling = noisy(np.linspace(2.6, 1.2, 20).tolist(), spread=0.1)
    shown = names_of(quiet(), planted(tmp_path / "a", validation, falling))
    assert list(shown) == ["over_fitting"]
    assert "After step 10 the validation loss rose by 0.150 nats a token" in shown["over_fitting"]
    # A rise without a fall of the training loss has another cause.
    flat = planted(tmp_path / "b", validation, noisy([2.6] * 20, spread=0.1))
    assert "over_fitting" not in names_of(quiet(), flat)
    # A rise within the noise of the examples shows nothing.
    lost = planted(tmp_path / "c", [2.6, 2.5, 2.505, 2.51], falling, change_noise=0.4)
    assert "over_fitting" not in names_of(quiet(), lost)


def test_under_fitting_is_a_fall_at_the_end_without_a_gap(tmp_path: Path) -> None:
    validation = [2.9, 2.7, 2.55, 2.45]
    training = noisy(np.linspace(3.0, 2.5, 20).tolist(), spread=0.1)
    shown = names_of(quiet(), planted(tmp_path / "a", validation, training))
    assert list(shown) == ["under_fitting"]
    assert "by 0.100 nats a token" in shown["under_fitting"]
    assert "from step 15 to 20, to 2.450" in shown["under_fitting"]
    # Training far below validation: the examples are fitted.
    fitted = planted(tmp_path / "b", validation, noisy(np.linspace(3.0, 0.6, 20).tolist()))
    assert "under_fitting" not in names_of(quiet(), fitted)


def test_a_spike_of_loss_or_gradient_is_an_unstable_rate(tmp_path: Path) -> None:
    steady = noisy([2.6] * 20, spread=0.2)
    folder = planted(tmp_path / "a", [2.6, 2.5, 2.5, 2.5], steady)
    assert "unstable_rate" not in names_of(quiet(), folder)
    spike = [*steady[:12], 9.0, *steady[13:]]
    shown = names_of(quiet(), planted(tmp_path / "b", [2.6, 2.5, 2.5, 2.5], spike))
    assert "most at step 13: 9.00 after" in shown["unstable_rate"]
    curve = files.read_jsonl(folder / "curve.jsonl")
    norms = [0.6] * 8 + [14.0] + [0.7] * 11
    files.write_jsonl(
        folder / "curve.jsonl",
        [row | {"gradient_norm": norm} for row, norm in zip(curve, norms, strict=True)],
    )
    shown = names_of(quiet(), folder)
    assert (
        "gradient's norm jumped at 1 step, most at step 9: 14 after 0.6" in shown["unstable_rate"]
    )


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Answers that nothing about the prompt tells: they can be learned by heart only."""
    draw = random.Random(start)
    words = ["red", "green", "blue", "white", "black", "yellow", "brown", "violet"]
    return [
        {
            "id": f"{start}-{i}",
            "prompt": f"Name four colours, {start}-{i}.",
            "completion": " ".join(draw.choice(words) for _ in range(4)),
        }
        for i in range(count)
    ]


def trained(folder: Path, make_settings: Callable[..., Settings], **tune: Any) -> Path:
    """A real training on a few examples, as `perpetune train` does it."""
    files.write_jsonl(folder / "data" / "train.jsonl", rows(12))
    files.write_jsonl(folder / "data" / "validation.jsonl", rows(30, start=1000))
    values = {
        "batch_size": 4,
        "rank": 8,
        "patience": 50,
        "epochs": 100,
        "evaluations": 6,
        "learning_rate": 2e-3,
    }
    train(folder / "data", folder / "out", make_settings(tune=values | tune))
    return folder / "out"


def test_a_training_that_learns_by_heart_is_over_fitting(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    folder = trained(tmp_path, make_settings, max_steps=60, learning_rate=0.01)
    shown = names_of(quiet(), folder)
    assert "over_fitting" in shown and "under_fitting" not in shown


def test_a_training_that_ends_early_is_under_fitting(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    folder = trained(tmp_path, make_settings, max_steps=12, evaluations=2)
    shown = names_of(quiet(), folder)
    assert list(shown) == ["under_fitting"]
    curve = files.read_jsonl(folder / "curve.jsonl")
    assert all(row["gradient_norm"] > 0 for row in curve)


def test_nothing_is_said_of_a_course_that_is_not_known(tmp_path: Path) -> None:
    assert names_of(quiet()) == {}
    assert read_course(Evidence(trial=tmp_path / "gone")) is None
    folder = planted(tmp_path / "a", [2.6, 2.5, 2.6, 2.9], [2.5] * 10 + [1.0] * 10)
    (folder / "validation.jsonl").unlink()
    assert names_of(quiet(), folder) == {}


# Answers


def probe(change: Callable[[int], float], kinds: int = 4, count: int = 12) -> dict[str, list[Item]]:
    """Systems with a general probe of some kinds, whose losses differ by `change` of the kind."""
    draw = random.Random(3)
    base, candidate = [], []
    for kind in range(kinds):
        for i in range(count):
            more = {"benchmark": "general", "group": f"kind {kind}", "id": f"{kind}-{i}"}
            level = 15 + draw.gauss(0, 3)
            base.append(item(i, "x", **more, nll=level))
            moved = level + 10 * change(kind) + draw.gauss(0, 1)
            candidate.append(item(i, "x", **more, nll=max(0.1, moved)))
    both = quiet()
    return {"base": both["base"] + base, "candidate": both["candidate"] + candidate}


def test_forgetting_is_told_by_kind() -> None:
    shown = names_of(probe(lambda kind: 0.5 if kind == 2 else 0.0))
    assert list(shown) == ["forgetting"]
    assert "rose most on kind 2 +0." in shown["forgetting"]
    # A small loss everywhere is shown by all kinds together.
    everywhere = names_of(probe(lambda kind: 0.04, kinds=24, count=6))
    assert "over 24 kinds" in everywhere["forgetting"]
    assert names_of(probe(lambda kind: 0.0)) == {}
    assert names_of(probe(lambda kind: -0.5)) == {}


def test_a_benchmark_that_is_known_by_heart_is_suspected(tmp_path: Path) -> None:
    folder = planted(tmp_path, [2.6, 2.5, 2.48, 2.48], noisy([2.6] * 20), initial=3.0)
    long = "A sentence of more than eight words that number {} alone has."
    reference = [long.format(i) for i in range(24)]
    base = [item(i, "Other.", reference=reference[i], nll=31.0) for i in range(24)]
    known = [item(i, reference[i], reference=reference[i], nll=2.0) for i in range(24)]
    shown = names_of({"base": base, "candidate": known}, folder)
    assert "below that on validation data" in shown["leakage"]
    assert "24 answers to held are the reference word for word" in shown["leakage"]
    # A benchmark that is easy for the base, too, may be easy.
    easy = [item(i, "Other.", reference=reference[i], nll=3.0 + i % 3) for i in range(24)]
    less = [item(i, "Other.", reference=reference[i], nll=2.0 + i % 3) for i in range(24)]
    assert "leakage" not in names_of({"base": easy, "candidate": less}, folder)


def test_a_shorter_answer_with_the_same_words_is_form() -> None:
    filler = " ".join(["and so on it goes"] * 5)
    draw = random.Random(0)
    words = [f"w{i}" for i in range(40)]
    references = [" ".join(draw.sample(words, 8)) for _ in range(30)]

    def half(i: int) -> str:
        return " ".join(references[i].split()[: 4 + i % 2])

    base = [item(i, f"{half(i)} {filler}", reference=references[i]) for i in range(30)]
    short = [item(i, half(i), reference=references[i], nll=15.0) for i in range(30)]
    shown = names_of({"base": base, "candidate": short})
    assert "all is form" in shown["form"]
    better = [item(i, references[i], reference=references[i], nll=15.0) for i in range(30)]
    shown = names_of({"base": base, "candidate": better})
    assert "of the references' words that the answers have rose by 0.4" in shown["form"]
    # A gain of words at the same length is content.
    before = [item(i, f"{half(i)} a b c", reference=references[i]) for i in range(30)]
    assert "form" not in names_of({"base": before, "candidate": better})


def test_loss_and_answers_that_part_ways_are_told() -> None:
    base = answers(30, lambda i: f"The right answer {i}.")
    worse = answers(30, lambda i: f"Something else {i % 2}", nll=10.0)
    shown = names_of({"base": base, "candidate": worse})
    assert "but the answers are worse: ROUGE-L by" in shown["disagreement"]
    agreed = answers(30, lambda i: f"The right answer {i}.", nll=10.0)
    assert "disagreement" not in names_of({"base": base, "candidate": agreed})


# Estimates and pictures


def test_a_ratio_has_the_spread_that_draws_of_clusters_show() -> None:
    draw = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(400):
        effect = np.repeat(draw.normal(0, 1, 25), 4)
        below = draw.integers(5, 20, 100).astype(float)
        above = below * (2 + effect + draw.normal(0, 1, 100))
        groups = [f"g{i // 4}" for i in range(100)]
        estimate = ratio(above, below, groups)
        assert estimate is not None and estimate.clusters == 25
        found.append(estimate.value)
        errors.append(estimate.error)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.12)


def test_too_few_clusters_show_nothing() -> None:
    few = mean([1.0, 1.01, 0.99, 1.0, 1.02], [None] * 5)
    assert few is not None and not few.above()
    assert mean([1.0, 1.0], ["a", "a"]) is None
    many = mean([1.0 + 0.01 * i for i in range(8)], [None] * 8)
    assert many is not None and many.above() and not many.below()


def test_the_curves_are_a_picture(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ElementTree

    folder = planted(tmp_path, [2.6, 2.5, 2.55, 2.5], noisy([2.6] * 20))
    course = read_course(Evidence(trial=folder))
    assert course is not None
    for alone in (False, True):
        drawn = ElementTree.fromstring(curves.draw(course, alone=alone))
        space = "{http://www.w3.org/2000/svg}"
        assert len(drawn.findall(f"{space}circle")) == 4
        assert (drawn.find(f"{space}style") is not None) == alone
    flat = planted(tmp_path / "flat", [2.5], [2.5])
    course = read_course(Evidence(trial=flat))
    assert course is not None
    ElementTree.fromstring(curves.draw(course))


def test_a_diagnostic_of_ones_own_is_one_class() -> None:
    class Long:
        name = "long_answers"
        subject = "long answers"

        def find(self, seen: Seen) -> tuple[str, str] | None:
            pairs = seen.pairs(seen.measured.benchmarks, answered=True)
            most = max(len(ours.answer) for ours, _ in pairs)
            return (f"The longest answer has {most} characters.", "Nothing.") if most > 5 else None

    DIAGNOSTICS.register(Long)
    try:
        shown = names_of(quiet())
        assert "long answers" in silent(())
    finally:
        del DIAGNOSTICS._members["long_answers"]
    assert shown == {"long_answers": "The longest answer has 20 characters."}


def test_each_diagnostic_says_what_it_is() -> None:
    assert {diagnostic.name for diagnostic in DIAGNOSTICS} == NAMES
    assert len(silent(())) == len(NAMES)
    for diagnostic in DIAGNOSTICS:
        assert diagnostic.subject and type(diagnostic).__doc__
