"""The form of a text: is it prose or data, how much of it is visible, what runs through it?"""

import functools
import re

_SAMPLES = 24
"""Places at which a text is looked at for a run of one character: a run that is a tenth of the
text covers two of them at least."""

_STRUCTURE = b'{}[]<>|=;"\\_#$&*+@^~()`\t/'

_STRUCTURED = 0.08

_ROWS = 4

_NUMBER = re.compile(r"(?<![^\W\d_])\d")


def is_structured(text: str) -> bool:
    """Whether the form of a text is that of data, markup or code rather than of prose."""
    visible = len(text) - text.count(" ") - text.count("\n")
    raw = text.encode("ascii", "ignore")
    if len(raw) - len(raw.translate(None, _STRUCTURE)) > max(1, _STRUCTURED * visible):
        return True
    rows = [row for row in text.splitlines() if row.strip()]
    if len(rows) < _ROWS:
        return False
    numbers = sum(_NUMBER.search(row) is not None for row in rows)
    return numbers > len(rows) / 2


@functools.lru_cache(maxsize=2)
def longest_run(text: str) -> str:
    """The longest run of five and more of one visible character, or nothing.

    Long texts are sampled, so that a run that is a small part of one may be overlooked.
    """
    best = ""
    step = max(len(text) // _SAMPLES, 1)
    signs = zip(text[::step], text[1::step], text[2::step], strict=False)
    for number, (sign, second, third) in enumerate(signs):
        if sign == second == third and not sign.isspace():
            begin = end = number * step
            while begin and text[begin - 1] == sign:
                begin -= 1
            while end < len(text) and text[end] == sign:
                end += 1
            if end - begin >= max(len(best) + 1, 5):
                best = text[begin:end]
    return best


def visible_characters(text: str) -> int:
    """Characters of a text that are no white space; 1 at least."""
    return max(sum(map(len, text.split())), 1)
