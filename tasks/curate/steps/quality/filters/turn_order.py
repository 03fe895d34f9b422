"""Chats whose turns are out of order."""

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Section

_FIRST: tuple[str, ...] = ("system", "developer", "user")

_NEXT: dict[str, tuple[str, ...]] = {
    "system": ("user",),
    "developer": ("user",),
    "user": ("assistant", "tool"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool", "user"),
}


class TurnOrder(Section):
    check_turns: bool = True
    """Drop chats whose turns are out of order."""


@FILTERS.register
class TurnsOutOfOrder(Filter[TurnOrder]):
    """A chat whose turns do not follow one another as they do in talk.

    A system prompt may only come first, the user begins, user and assistant take turns, the
    assistant has the last word. Turns of tools may be between an assistant's turn and its next, or
    before an answer.
    """

    name = "turns_out_of_order"
    meaning = "The chat's turns are out of order."
    settings = TurnOrder
    evidence = {
        "position": "number, from 1, of the first turn that is out of order",
        "found": "its role",
        "expected": "the roles expected there",
    }
    remedy = "If your chat template takes such chats, set it to false."
    order = 40

    def is_on(self, settings: TurnOrder) -> bool:
        return settings.check_turns

    def check(self, record: Record, settings: TurnOrder, measured: Measurements) -> Evidence | None:
        turns = record.turns if record.kind == "chat" else ()
        role, expected = "", _FIRST
        for position, turn in enumerate(turns, 1):
            role = turn.role
            if role not in expected:
                return {"position": position, "found": role, "expected": list(expected)}
            # A tool's turn after the user's is none of the assistant's: the user is not next.
            if role != "tool" or "user" in expected:
                expected = _NEXT[role]
        if role in ("assistant", ""):
            return None
        return {"position": len(turns), "found": role, "expected": ["assistant"]}
