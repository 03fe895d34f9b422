"""Under-fitting."""

import math
from statistics import fmean, variance

from tasks.evaluate.diagnosis import DIAGNOSTICS, Course, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import Estimate


@DIAGNOSTICS.register
class UnderFitting(Diagnostic):
    """The validation loss still fell at the last evaluation, and training is not below it.

    The fall from the last evaluation but one is paired over the validation examples and has to pass
    a one-sided t test at 2.5 %, clustered by group. Where the training loss since then is lower
    than the validation loss by two standard errors, the model fits its examples, and nothing is
    said.
    """

    name = "under_fitting"
    subject = "under-fitting"

    def find(self, seen: Seen) -> Said | None:
        """Only from two evaluations on, of which the last is the best."""
        course = seen.course
        if course is None or len(course.evaluations) < 2:
            return None
        last = len(course.evaluations) - 1
        if min(range(last + 1), key=course.validation_loss) != last:
            return None
        fall, level = course.change(last - 1, last), course.level(last)
        if fall is None or level is None or not fall.below():
            return None
        training = _training(course, level)
        if training is None:
            return None
        steps = [step.number for step in course.evaluations]
        return (
            f"The validation loss still fell when training ended: by {-fall.value:.3f} nats a "
            f"token (standard error {fall.error:.3f}) from step {steps[-2]} to {steps[-1]}, to "
            f"{level.value:.3f}. The training loss of these steps, {training:.3f}, is not clearly "
            "lower.",
            "Train for more steps (tune.max_steps, tune.epochs); then try a higher learning rate "
            "or rank.",
        )


def _training(course: Course, level: Estimate) -> float | None:
    """Mean training loss since the last evaluation but one, unless it is clearly below `level`."""
    steps = [step.number for step in course.evaluations]
    losses = course.train_losses(steps[-2], steps[-1])
    if len(losses) < 2:
        return None
    error = math.hypot(math.sqrt(variance(losses) / len(losses)), level.error)
    return fmean(losses) if level.value - fmean(losses) < 2 * error else None
