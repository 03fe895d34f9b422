"""A learning rate at which training is unstable."""

from statistics import median

from tasks.evaluate.diagnosis import DIAGNOSTICS, Course, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.course import Step

_BEFORE = 5
_DEVIATIONS = 4.5
_TIMES = 10


@DIAGNOSTICS.register
class UnstableRate(Diagnostic):
    """Spikes of the training loss or of the gradient.

    A spike of the loss is 4.5 standard deviations between batches above the median of the five
    steps before it. The deviation is estimated from the validation examples, since the losses of an
    unstable run spread for another reason. A spike of the gradient's norm is ten times the median
    of the five before it, and above the norm to which gradients are clipped.
    """

    name = "unstable_rate"
    subject = "unstable learning rate"

    def find(self, seen: Seen) -> Said | None:
        """The steps with a spike, the highest in figures."""
        course = seen.course
        if course is None:
            return None
        limit = seen.measured.settings.tune.max_gradient_norm
        losses, norms = _loss_spikes(course), _norm_spikes(course, limit)
        said = []
        if losses:
            step, usual, noise = max(losses, key=lambda spike: spike[0].train_loss - spike[1])
            said.append(
                f"The training loss jumped at {_steps(len(losses))}, most at step {step.number}: "
                f"{step.train_loss:.2f} after {usual:.2f} (batches differ by {noise:.2f})."
            )
        if norms:
            step, usual = max(norms, key=lambda spike: (spike[0].gradient_norm or 0) / spike[1])
            said.append(
                f"The gradient's norm jumped at {_steps(len(norms))}, most at step {step.number}: "
                f"{step.gradient_norm:.3g} after {usual:.3g}."
            )
        if not said:
            return None
        return (
            " ".join(said),
            "Lower the learning rate, or let it rise more slowly (tune.warmup_share).",
        )


def _loss_spikes(course: Course) -> list[tuple[Step, float, float]]:
    """Steps with the usual loss before them and the noise."""
    noise = course.batch_noise
    if noise is None:
        return []
    found = []
    for i, step in enumerate(course.steps):
        before = [earlier.train_loss for earlier in course.steps[max(0, i - _BEFORE) : i]]
        if before and step.train_loss - median(before) > _DEVIATIONS * noise:
            found.append((step, median(before), noise))
    return found


def _norm_spikes(course: Course, limit: float) -> list[tuple[Step, float]]:
    """Steps with the usual norm before them."""
    found = []
    for i, step in enumerate(course.steps):
        before = [
            earlier.gradient_norm
            for earlier in course.steps[max(0, i - _BEFORE) : i]
            if earlier.gradient_norm
        ]
        if step.gradient_norm is None or len(before) < _BEFORE:
            continue
        if step.gradient_norm > max(limit, _TIMES * median(before)):
            found.append((step, median(before)))
    return found


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
