"""The kind `new system prompt`."""

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import percent, quote, shares


@KINDS.register
class NewSystemPrompt:
    """The instructions to the model changed."""

    name = "new system prompt"
    remedy = (
        "If it was changed on purpose, judge the champion with it (`perpetune evaluate`) and "
        "retrain with rows that carry it; else restore the old one in the application."
    )
    groups = frozenset({"system"})
    order = 40

    def recognise(self, shift: Shift) -> str | None:
        """Names the most frequent one that is new."""
        before, now = map(shares, shift.texts(lambda record: record.system))
        new = {text: share for text, share in now.items() if before.get(text, 0) < share / 10}
        if not new:
            return "System prompts come in other proportions than in the reference."
        text = max(new, key=lambda text: (new[text], text))
        what = f"the system prompt {quote(text)}" if text.strip() else "no system prompt"
        whole = sum(new.values())
        more = f"; {len(new) - 1} more are new" if len(new) > 1 else ""
        return f"{percent(new[text])} of the rows have {what}{more} ({percent(whole)} in all)."
