"""The kind `new language`."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from tasks.drift.features.language import guesses_of
from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent

_CLEAR = 0.05
_PROBABLE = 0.5
_MANY = 0.15
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
        """Names scripts whose share changed, or languages that came with confidence.

        Code and names have letter combinations of no language: where only those changed, it is
        another kind.
        """
        prompts = shift.texts(lambda record: record.prompt)
        before, now = map(_scripts, prompts)
        changes = [
            (abs(now[name] - before[name]), name)
            for name in before.keys() | now.keys()
            if abs(now[name] - before[name]) >= _CLEAR
        ]
        if changes:
            names = [name for _, name in sorted(changes, reverse=True)[:_NAMED]]
            parts = [f"{name} {moved(percent(before[name]), percent(now[name]))}" for name in names]
            return f"Letters by script: {', '.join(parts)}."
        before, now = map(_languages, prompts)
        came = sorted(
            name for name in now if before[name] < _CLEAR and now[name] >= before[name] + _MANY
        )
        if not came:
            return None
        parts = [f"{name} {moved(percent(before[name]), percent(now[name]))}" for name in came]
        return f"Prompts by language (ISO 639): {', '.join(parts)}."


def _languages(texts: Sequence[str]) -> defaultdict[str, float]:
    """The share of each language among the prompts, of those whose language is clear."""
    counts: Counter[str] = Counter()
    for text in texts:
        guesses = guesses_of(text)
        likely = max(guesses, key=lambda name: guesses[name], default=None)
        if likely is not None and guesses[likely] >= _PROBABLE:
            counts[likely] += 1
    return defaultdict(float, {name: count / (len(texts) or 1) for name, count in counts.items()})


def _scripts(texts: Sequence[str]) -> defaultdict[str, float]:
    """The share of each script among the letters."""
    counts: Counter[str] = Counter()
    for sign, count in Counter(sign for text in texts for sign in text if sign.isalpha()).items():
        counts[unicodedata.name(sign, "unnamed").split()[0].capitalize()] += count
    total = counts.total() or 1
    return defaultdict(float, {name: count / total for name, count in counts.items()})
