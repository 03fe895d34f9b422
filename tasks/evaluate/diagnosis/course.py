"""The course of a training, from the folder of its trial."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import records
from tasks.core import files
from tasks.evaluate.diagnosis.estimate import Estimate, ratio
from tasks.evaluate.inputs import Evidence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step."""

    number: int
    train_loss: float
    """Of its batch, before the step."""
    gradient_norm: float | None
    """Before clipping."""
    validation_loss: float | None


@dataclass(frozen=True)
class Course:
    """What a trial's files say of its training; losses in nats a learned token."""

    steps: tuple[Step, ...]
    initial_loss: float | None
    """Validation loss of the base."""
    batch_size: int | None
    """Examples of a step."""
    losses: Floats | None
    """Summed loss of each validation example at each evaluation [evaluations, E]."""
    weights: Floats | None
    """What each example weighs in the mean [E]."""
    groups: tuple[str | None, ...] = ()
    """Of each validation example."""

    @cached_property
    def evaluations(self) -> list[Step]:
        """The steps after which there was one."""
        return [step for step in self.steps if step.validation_loss is not None]

    def validation_loss(self, i: int) -> float:
        """That of evaluation `i`."""
        loss = self.evaluations[i].validation_loss
        assert loss is not None
        return loss

    def change(self, earlier: int, later: int) -> Estimate | None:
        """Paired change of the validation loss between two evaluations."""
        if self.losses is None or self.weights is None:
            return None
        return ratio(
            list(self.losses[later] - self.losses[earlier]), list(self.weights), self.groups
        )

    def level(self, i: int) -> Estimate | None:
        """Validation loss of evaluation `i`, with its standard error."""
        if self.losses is None or self.weights is None:
            return None
        return ratio(list(self.losses[i]), list(self.weights), self.groups)

    def train_losses(self, after: int, until: int) -> list[float]:
        """Training losses of the steps `after` < number ≤ `until`."""
        return [step.train_loss for step in self.steps if after < step.number <= until]

    @property
    def batch_noise(self) -> float | None:
        """Standard deviation of the loss between batches, as the validation examples have it.

        Not from the training losses: those of an unstable run spread for another reason.
        """
        level = self.level(0) if self.evaluations else None
        if level is None or self.weights is None or not self.batch_size:
            return None
        return float(level.error * np.sqrt(len(self.weights) / self.batch_size))


def read_course(evidence: Evidence) -> Course | None:
    """The course of the trial that won; None where its folder is not known, or holds no curve.

    Raises:
        PerpetuneError: a file of it is damaged.
    """
    folder = evidence.trial
    if folder is None or not (folder / "curve.jsonl").is_file():
        return None
    rows = files.read_jsonl(folder / "curve.jsonl")
    metrics = _metrics(folder)
    steps = tuple(
        Step(row["step"], row["train_loss"], row.get("gradient_norm"), row.get("validation_loss"))
        for row in rows
        if row.get("train_loss") is not None
    )
    examples = _examples(folder)
    course = Course(
        steps=steps,
        initial_loss=metrics.get("initial_validation_loss"),
        batch_size=(metrics.get("params") or {}).get("batch_size"),
        losses=None,
        weights=None,
    )
    return _with_examples(course, examples, evidence)


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    found = files.read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _examples(folder: Path) -> list[dict[str, Any]]:
    path = folder / "validation.jsonl"
    return files.read_jsonl(path) if path.is_file() else []


def _with_examples(course: Course, rows: list[dict[str, Any]], evidence: Evidence) -> Course:
    """With the losses of each validation example, where they give the losses of the curve."""
    counts = {len(row.get("losses", ())) for row in rows}
    if len(rows) < 2 or counts != {len(course.evaluations)} or not course.evaluations:
        return course
    losses = np.asarray([row["losses"] for row in rows], float).T
    last = course.validation_loss(-1)
    # An objective weighs its examples by their tokens, or all alike.
    for weights in (np.asarray([row["targets"] for row in rows], float), np.ones(len(rows))):
        if np.isclose(losses[-1].sum() / weights.sum(), last, rtol=1e-3, atol=1e-4):
            groups = _groups(evidence)
            return Course(
                steps=course.steps,
                initial_loss=course.initial_loss,
                batch_size=course.batch_size,
                losses=losses,
                weights=weights,
                groups=tuple(groups.get(row["id"]) for row in rows),
            )
    return course


def _groups(evidence: Evidence) -> dict[str, str | None]:
    if evidence.validation is None or not evidence.validation.is_file():
        return {}
    return {record.id: record.group for record in records.load([evidence.validation])}
