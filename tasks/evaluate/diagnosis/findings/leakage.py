"""Benchmarks that the training seems to have seen."""

import math

from tasks.evaluate.diagnosis import DIAGNOSTICS, Course, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import Estimate, ratio
from tasks.evaluate.items import GENERAL, Item
from tasks.evaluate.words import words

_FEWEST_WORDS = 8
_FEWEST_ANSWERS = 3
_LEVEL = 0.01
_CHANCE = 0.01


@DIAGNOSTICS.register
class Leakage(Diagnostic):
    """A benchmark that is easier than the validation data, or answered word for word.

    Suspected where the candidate's loss on a benchmark is below its validation loss (t test at 1 %)
    although the base's was not, or where three or more different answers of eight words and more
    are those of the reference, though at the validation loss an answer of that length would be
    right in less than one draw of a hundred.
    """

    name = "leakage"
    subject = "leakage"

    def find(self, seen: Seen) -> Said | None:
        """The benchmarks that look known, with the figures."""
        course = seen.course
        if course is None or not course.evaluations:
            return None
        best = min(range(len(course.evaluations)), key=course.validation_loss)
        said = []
        for name in seen.measured.benchmarks:
            ours = seen.measured.items["candidate"][name]
            theirs = seen.measured.items["base"][name]
            if found := _easier(course, best, list(ours), list(theirs)):
                said.append(f"On {name} {found}.")
            verbatim = _verbatim(list(ours), list(theirs), course.validation_loss(best))
            if len(verbatim) >= _FEWEST_ANSWERS:
                said.append(
                    f"{len(verbatim)} answers to {name} are the reference word for word, though "
                    f"at the validation loss of {course.validation_loss(best):.3f} that would be "
                    "chance in less than one of a hundred."
                )
        if not said:
            return None
        return (
            " ".join(said),
            "See whether the benchmark is in the training data (perpetune curate --against) or in "
            "what the base was trained on.",
        )


def _easier(course: Course, best: int, ours: list[Item], theirs: list[Item]) -> str | None:
    """What is said where the candidate finds the benchmark too easy."""
    level, candidate, base = course.level(best), _loss(ours), _loss(theirs)
    if level is None or candidate is None or base is None or course.initial_loss is None:
        return None
    error = math.hypot(level.error, candidate.error)
    gap = level.value - candidate.value
    # The errors of both are of one size: the fewer clusters give the degrees of freedom.
    shown = Estimate(gap, error, min(level.clusters, candidate.clusters)).above(0.0, _LEVEL)
    if not shown or base.value < course.initial_loss:
        return None
    return (
        f"the loss, {candidate.value:.3f} nats a token, is {gap:.3f} below that on validation data "
        f"(standard error {error:.3f}), though the base model found it no easier"
    )


def _loss(items: list[Item]) -> Estimate | None:
    return ratio(
        [item.nll for item in items],
        [item.tokens for item in items],
        [item.group for item in items],
    )


def _verbatim(ours: list[Item], theirs: list[Item], loss: float) -> set[str]:
    """References that the candidate gives word for word, and the base does not."""
    return {
        item.reference
        for item, base in zip(ours, theirs, strict=True)
        if item.answered
        and item.benchmark != GENERAL
        and len(words(item.reference)) >= _FEWEST_WORDS
        and words(item.answer) == words(item.reference)
        and words(base.answer) != words(item.reference)
        and math.exp(-loss * item.tokens) < _CHANCE
    }
