"""The kind `new topic`."""

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent
from tasks.drift.kinds.noise import misspelt
from tasks.drift.results import ShiftedTerm

_SURE = 3.0
_NAMED = 3


@KINDS.register
class NewTopic:
    """The words of the prompts changed: something else is asked, or in other proportions."""

    name = "new topic"
    remedy = (
        "Label rows of this window (`perpetune label --budget 50`) and retrain: the model has "
        "learned little or nothing about it."
    )
    groups = frozenset({"wording"})
    order = 10

    def recognise(self, shift: Shift) -> str | None:
        """Names the words that came and those that went."""
        came = [term for term in shift.terms if term.z >= _SURE]
        went = [term for term in shift.terms if term.z <= -_SURE]
        if not came and misspelt(shift) is not None:
            return None
        if not came + went:
            return "The prompts have other words than the reference, each of them rarely."
        parts = [
            f"{verb}: {', '.join(map(_moved, terms[:_NAMED]))}"
            for verb, terms in (("more frequent", came), ("rarer", went))
            if terms
        ]
        return f"Words in the share of prompts that hold them, {'; '.join(parts)}."


def _moved(term: ShiftedTerm) -> str:
    return f"{term.term} {moved(percent(term.reference_share), percent(term.current_share))}"
