"""Abilities of the base that tuning has cost."""

from collections.abc import Sequence

from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said
from tasks.evaluate.diagnosis.estimate import Estimate, ratio
from tasks.evaluate.items import GENERAL, Item

_LEVEL = 0.025


@DIAGNOSTICS.register
class Forgetting(Diagnostic):
    """On a kind of the general probe the loss is higher than the base's.

    Each kind (the group of a probe's record) has a one-sided t test of the paired differences
    between its examples, all kinds together at 2.5 % (Bonferroni). The probe's kinds are given, and
    only their examples are drawn.
    """

    name = "forgetting"
    subject = "forgetting"

    def find(self, seen: Seen) -> Said | None:
        """The kinds that are worse, the worst first."""
        items = seen.measured.items
        ours, theirs = items["candidate"].get(GENERAL, ()), items["base"].get(GENERAL, ())
        if not ours or len(ours) != len(theirs):
            return None
        kinds: dict[str, list[tuple[Item, Item]]] = {}
        for pair in zip(ours, theirs, strict=True):
            kinds.setdefault(pair[0].group or "", []).append(pair)
        changes = {kind: _change(pairs) for kind, pairs in kinds.items()}
        worse = sorted(
            (
                (change, kind)
                for kind, change in changes.items()
                if change is not None and change.above(0.0, _LEVEL / len(kinds))
            ),
            key=lambda entry: -entry[0].value,
        )
        if not worse:
            return None
        named = ", ".join(
            f"{kind or 'the probe'} +{change.value:.3f} (standard error {change.error:.3f})"
            for change, kind in worse
        )
        return (
            f"On the general probe the loss is higher than the base model's, in nats a token: "
            f"{named}; {len(worse)} of {len(kinds)} kind{'s' * (len(kinds) != 1)}.",
            "Lower the learning rate, train for fewer steps, or mix general data in "
            "(curate.replay).",
        )


def _change(pairs: Sequence[tuple[Item, Item]]) -> Estimate | None:
    return ratio(
        [ours.nll - theirs.nll for ours, theirs in pairs],
        [ours.tokens for ours, _ in pairs],
        [None] * len(pairs),
    )
