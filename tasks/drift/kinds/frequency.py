"""The kind `frequencies changed`."""

from collections import Counter
from collections.abc import Sequence

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent, quote
from tasks.records import Record

_FLOOD = 0.1


@KINDS.register
class FrequenciesChanged:
    """A flood of one prompt, or few prompts that make most of the requests."""

    name = "frequencies changed"
    remedy = (
        "Look for a client that repeats itself, a monitor or an attack, and limit it at the "
        "server. Retraining does not help, since the prompts are known."
    )
    groups = frozenset({"frequency"})
    order = 60

    def recognise(self, shift: Shift) -> str | None:
        """Names the most frequent prompt, or the share of the most frequent tenth."""
        before, now = map(_counts, (shift.reference, shift.current))
        text, count = min(now.most_common(), key=lambda item: (-item[1], item[0]))
        was, new = before[text] / before.total(), count / now.total()
        if new >= _FLOOD and new > 2 * was:
            return f"The prompt {quote(text)}: {moved(percent(was), percent(new))} of the requests."
        figure = moved(*(percent(_top_tenth(side)) for side in (before, now)))
        return f"Requests made by the most frequent tenth of the prompts: {figure}."


def _counts(side: Sequence[Record]) -> Counter[str]:
    return Counter(" ".join(record.prompt.split()) for record in side)


def _top_tenth(counts: Counter[str]) -> float:
    top = counts.most_common(max(1, len(counts) // 10))
    return sum(count for _, count in top) / counts.total()
