"""Over-fitting."""

import math
from statistics import fmean, variance

from tasks.evaluate.diagnosis import DIAGNOSTICS, Course, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said


@DIAGNOSTICS.register
class OverFitting(Diagnostic):
    """The validation loss has risen from its minimum while the training loss fell on.

    The rise from the lowest evaluation to the last is paired over the validation examples and has
    to pass a one-sided t test at 2.5 %, clustered by group; the fall of the training loss from the
    steps before the minimum to those after it has to be larger than its standard error.
    """

    name = "over_fitting"
    subject = "over-fitting"

    def find(self, seen: Seen) -> Said | None:
        """Only from two evaluations on."""
        course = seen.course
        if course is None or len(course.evaluations) < 2:
            return None
        last = len(course.evaluations) - 1
        lowest = min(range(last + 1), key=course.validation_loss)
        rise = course.change(lowest, last) if lowest < last else None
        fall = _fall(course, lowest) if rise and rise.above() else None
        if rise is None or fall is None:
            return None
        before, after = fall
        minimum, end = course.evaluations[lowest].number, course.evaluations[last].number
        return (
            f"After step {minimum} the validation loss rose by {rise.value:.3f} nats a token "
            f"(standard error {rise.error:.3f}, to step {end}), while the training loss fell from "
            f"{before:.3f} to {after:.3f}. The weights of step {minimum} were kept.",
            "Train for fewer epochs (tune.epochs, tune.max_steps), with a lower rank or on more "
            "data.",
        )


def _fall(course: Course, lowest: int) -> tuple[float, float] | None:
    """Mean training loss before and after the minimum, if it fell by more than its error."""
    steps = [step.number for step in course.evaluations]
    after = course.train_losses(steps[lowest], steps[-1])
    before = course.train_losses(steps[lowest] - len(after), steps[lowest])
    if min(len(before), len(after)) < 2:
        return None
    error = math.sqrt(variance(before) / len(before) + variance(after) / len(after))
    means = fmean(before), fmean(after)
    return means if means[0] - means[1] > error else None
