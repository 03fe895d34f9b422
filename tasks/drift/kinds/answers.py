"""The kind `answers changed`."""

from tasks.drift.explanation import shifted_terms
from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import INPUT, moved, percent, quote, shares

_ONE = 0.2
_NAMED = 3


@KINDS.register
class AnswersChanged:
    """The answers to the prompts differ from those of the reference."""

    name = "answers changed"
    remedy = (
        "If the model gave these answers, look which version served, with which decoding and "
        "system prompt; if people gave them, what is right has changed: curate and retrain."
    )
    groups = frozenset({"answer"})
    order = 50

    def recognise(self, shift: Shift) -> str | None:
        """Names an answer that is given again and again, or the words that changed."""
        before, now = shift.texts(lambda record: record.target)
        if not before or not now:
            return None
        changed = ", ".join(sorted(shift.rejected & INPUT))
        asked = f"beside a change of {changed}" if changed else "though the prompts did not"
        was, new = shares(before), shares(now)
        text = max(new, key=lambda text: (new[text] - was.get(text, 0), text))
        if new[text] - was.get(text, 0) >= _ONE:
            figure = moved(percent(was.get(text, 0)), percent(new[text]))
            return f"Answers changed {asked}: the answer {quote(text)} {figure}."
        terms = [term for term in shifted_terms(before, now) if abs(term.z) > 2][:_NAMED]
        words = ", ".join(
            f"{term.term} {moved(percent(term.reference_share), percent(term.current_share))}"
            for term in terms
        )
        return f"Answers changed {asked}" + (f": {words}." if words else ".")
