"""The kind `more noise`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent

_WORD = re.compile(r"[^\W\d_]{5,40}")
# UTF-8 read as Latin-1 or Windows-1252, and the replacement character.
_DAMAGED = re.compile("\ufffd|Ã[\x80-\xbf€-™]|â€")
_MORE = 0.02


@KINDS.register
class MoreNoise:
    """Misspelt words or damaged characters, more than the reference has."""

    name = "more noise"
    remedy = (
        "Look where these rows come from: speech or text recognition, another keyboard, a client "
        "that decodes wrongly. Repair it there, or label some and retrain to bear it."
    )
    groups = frozenset({"wording", "form"})
    order = 30

    def recognise(self, shift: Shift) -> str | None:
        """Counts misspelt words and damaged rows."""
        found = [part for part in (misspelt(shift), _damaged(shift)) if part]
        return f"{'; '.join(found)}." if found else None


def misspelt(shift: Shift) -> str | None:
    """The share of words that are a letter off a word of the reference, if it rose.

    One half of the reference tells which words are known, the other how many are misspelt anyway.
    New words that resemble no known ones belong to a new topic instead.
    """
    before, now = shift.texts(lambda record: record.prompt)
    known = Counter(word for text in before[::2] for word in set(_words(text)))
    near = _one_letter_off(known)
    was, _ = _misspelt_share(before[1::2], known, near)
    share, of_unknown = _misspelt_share(now, known, near)
    if share < max(2 * was, was + _MORE) or of_unknown < 0.5:
        return None
    return f"words misspelt by a letter: {moved(percent(was), percent(share))}"


def _misspelt_share(
    texts: Sequence[str], known: Counter[str], near: frozenset[str]
) -> tuple[float, float]:
    """Misspelt words among all words, and among those that are not known."""
    words = unknown = off = 0
    for text in texts:
        for word in _words(text):
            words += 1
            if word not in known:
                unknown += 1
                off += word in near or any(cut in near for cut in _cuts(word))
    return off / max(words, 1), off / max(unknown, 1)


def _one_letter_off(known: Iterable[str]) -> frozenset[str]:
    """The words and what is left of them without one letter (as in SymSpell, Garbe 2012)."""
    return frozenset(part for word in known for part in (word, *_cuts(word)))


def _cuts(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i in range(len(word))]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _damaged(shift: Shift) -> str | None:
    was, share = (
        sum(bool(_DAMAGED.search(text)) for text in side) / max(len(side), 1)
        for side in shift.texts(lambda record: record.prompt)
    )
    if share < max(2 * was, was + _MORE):
        return None
    return f"prompts with damaged characters: {moved(percent(was), percent(share))}"
