"""Abilities of the base that tuning has cost."""

from collections.abc import Sequence

from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import Estimate, ratio
from tasks.evaluate.items import GENERAL, Item
from tasks.rendering.markdown import clip

_LEVEL = 0.025
_NAMED = 3


@DIAGNOSTICS.register
class Forgetting(Diagnostic):
    """On the general probe, or on one kind of it, the loss is higher than the base's.

    The paired differences have to pass a one-sided t test at 2.5 %: over the whole probe, clustered
    by kind (the group of a probe's record), or within a kind, all kinds together (Bonferroni).
    """

    name = "forgetting"
    subject = "forgetting"

    def find(self, seen: Seen) -> Said | None:
        """The whole probe, and the kinds that lost most."""
        items = seen.measured.items
        ours, theirs = items["candidate"].get(GENERAL, ()), items["base"].get(GENERAL, ())
        if not ours or len(ours) != len(theirs):
            return None
        pairs = list(zip(ours, theirs, strict=True))
        kinds: dict[str, list[tuple[Item, Item]]] = {}
        for i, pair in enumerate(pairs):
            kinds.setdefault(pair[0].group or f"question {i + 1}", []).append(pair)
        whole = _change(pairs, [pair[0].group for pair in pairs])
        changes = {kind: _change(part, [None] * len(part)) for kind, part in kinds.items()}
        single = {
            kind: change
            for kind, change in changes.items()
            if change is not None and change.above(0.0, _LEVEL / len(kinds))
        }
        if whole is None or not (whole.above() or single):
            return None
        lost = single or {kind: change for kind, change in changes.items() if change is not None}
        worst = sorted(lost.items(), key=lambda entry: -entry[1].value)[:_NAMED]
        named = ", ".join(f"{clip(kind, 40)} {change.value:+.3f}" for kind, change in worst)
        return (
            f"On the general probe the loss differs from the base model's by {whole.value:+.3f} "
            f"nats a token (standard error {whole.error:.3f}, over {whole.clusters} kinds); it "
            f"rose most on {named}.",
            "Lower the learning rate, train for fewer steps, or mix general data in "
            "(curate.replay).",
        )


def _change(pairs: Sequence[tuple[Item, Item]], groups: Sequence[str | None]) -> Estimate | None:
    return ratio(
        [ours.nll - theirs.nll for ours, theirs in pairs],
        [ours.tokens for ours, _ in pairs],
        groups,
    )
