"""The kind `new language`."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent

_CLEAR = 0.05
_NAMED = 3


@KINDS.register
class NewLanguage:
    """The prompts are in another language or script."""

    name = "new language"
    remedy = (
        "If users of that language are to be served: label rows of this window and retrain, on a "
        "base model that knows it; else answer them before the model is asked."
    )
    groups = frozenset({"language"})
    order = 15

    def recognise(self, shift: Shift) -> str | None:
        """Names scripts whose share changed, or the words that came."""
        before, now = map(_scripts, shift.texts(lambda record: record.prompt))
        changes = [
            (abs(now[name] - before[name]), name)
            for name in before.keys() | now.keys()
            if abs(now[name] - before[name]) >= _CLEAR
        ]
        if changes:
            names = [name for _, name in sorted(changes, reverse=True)[:_NAMED]]
            parts = [f"{name} {moved(percent(before[name]), percent(now[name]))}" for name in names]
            return f"Letters by script: {', '.join(parts)}."
        came = [term.term for term in shift.terms if term.z > 0][:_NAMED]
        words = f" (now frequent: {', '.join(came)})" if came else ""
        return f"The same script, but combinations of letters of another language{words}."


def _scripts(texts: Sequence[str]) -> defaultdict[str, float]:
    """The share of each script among the letters."""
    counts: Counter[str] = Counter()
    for sign, count in Counter(sign for text in texts for sign in text if sign.isalpha()).items():
        counts[unicodedata.name(sign, "unnamed").split()[0].capitalize()] += count
    total = counts.total() or 1
    return defaultdict(float, {name: count / total for name, count in counts.items()})
