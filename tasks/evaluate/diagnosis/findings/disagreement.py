"""Loss and answers that point in opposite directions."""

from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import ratio
from tasks.evaluate.diagnosis.improvement import improvements
from tasks.evaluate.results import in_words

_LEVEL = 0.025


@DIAGNOSTICS.register
class Disagreement(Diagnostic):
    """The loss is better and an answer metric is worse than the reference system's, or vice versa.

    Both differences are paired over the same answered items and clustered by group. Each has to
    pass a one-sided t test at 2.5 %, all metrics together (Bonferroni).
    """

    name = "disagreement"
    subject = "disagreement of loss and answers"

    def find(self, seen: Seen) -> Said | None:
        """The metrics of content that disagree with the loss."""
        pairs = seen.pairs(seen.measured.benchmarks, answered=True)
        if not pairs:
            return None
        loss = ratio(
            [ours.nll - theirs.nll for ours, theirs in pairs],
            [ours.tokens for ours, _ in pairs],
            [ours.group for ours, _ in pairs],
        )
        if loss is None or not (loss.below() or loss.above()):
            return None
        changes = improvements(seen, "content")
        level = _LEVEL / max(1, len(changes))
        opposed = [
            f"{label} by {abs(change.value):.3f} (standard error {change.error:.3f})"
            for label, change in changes.items()
            if (change.below(0.0, level) if loss.value < 0 else change.above(0.0, level))
        ]
        if not opposed:
            return None
        better, worse = ("lower", "worse") if loss.value < 0 else ("higher", "better")
        return (
            f"On {len(pairs)} answered examples the loss is {abs(loss.value):.3f} nats a token "
            f"{better} than {in_words(seen.measured.reference)}'s, but the answers are {worse}: "
            f"{', '.join(opposed)}.",
            "Compare the answers themselves: which of the two matters depends on how the model is "
            "used.",
        )
