"""Loss and answers that point in opposite directions."""

from tasks.evaluate.aggregation import item_score
from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import mean, ratio
from tasks.evaluate.metrics import selected
from tasks.evaluate.results import in_words


@DIAGNOSTICS.register
class Disagreement(Diagnostic):
    """The loss is better and an answer metric is worse than the reference system's, or vice versa.

    Both differences are paired, on the same answered items, and each has to pass a one-sided t test
    at 2.5 %, clustered by group.
    """

    name = "disagreement"
    subject = "disagreement of loss and answers"

    def find(self, seen: Seen) -> Said | None:
        """The metrics that disagree with the loss."""
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
        opposed = []
        for metric in selected(seen.measured.settings.evaluate.metrics):
            if metric.needs != "answers" or metric.derived_from or not metric.direction:
                continue
            sign = metric.direction
            scores = [(item_score(a, metric), item_score(b, metric), a.group) for a, b in pairs]
            known = [
                (sign * (ours - theirs), group)
                for ours, theirs, group in scores
                if ours is not None and theirs is not None
            ]
            found = mean([change for change, _ in known], [group for _, group in known])
            if found and (found.below() if loss.value < 0 else found.above()):
                opposed.append(f"{metric.label} {sign * found.value:+.3f}")
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
