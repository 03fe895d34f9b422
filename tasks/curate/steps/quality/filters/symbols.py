"""Answers of punctuation that says nothing."""

import re
import unicodedata
from collections.abc import Sequence

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.text_form import is_structured, longest_run, visible_characters
from tasks.records import Record
from tasks.settings.section import Fraction, Section

_HEAD = 400

_LONG_RUN = 8

_PATTERN = re.compile(r"([^\w\s]{1,3}?)\1{3,}")

_STOPS = frozenset(".?!…,;。？！，；、؟۔।")

_DASHES = frozenset("-–—―_:·•~`'\"")

_BRACKETS = frozenset("()[]{}<>\\/")

_MORSE = frozenset(".-")

_SWEARING = frozenset("!@#$%^&*~?")

_RULE = re.compile(r"^[ \t]*[^\w\s.?!…,]{3,}[ \t|+:.-]*$", re.MULTILINE)


class Symbols(Section):
    max_symbol_ratio: Fraction = 0.5
    """Highest share of a completion that is punctuation without meaning; 1: not checked."""


@FILTERS.register
class SymbolRatio(Filter[Symbols]):
    """An answer whose visible characters are mostly signs without meaning.

    Such are an answer of punctuation only that is no operator, pattern, drawing or emoticon, and
    the longest run of one sign ("!!!!!!!!!!"). Signs that code, formulas or markup are made of do
    not count.
    """

    name = "symbol_ratio"
    meaning = "The answer is mostly punctuation that says nothing."
    settings = Symbols
    evidence = {"share": "share of the visible characters", "maximum": "the setting"}
    remedy = "Operators, code, formulas and emoji do not count: raise the setting, or set it to 1."
    order = 60

    def is_on(self, settings: Symbols) -> bool:
        return settings.max_symbol_ratio < 1

    def check(self, record: Record, settings: Symbols, measured: Measurements) -> Evidence | None:
        maximum = settings.max_symbol_ratio
        share = meaningless_share(answer_text(record))
        return {"share": round(share, 4), "maximum": maximum} if share > maximum else None


def meaningless_share(text: str) -> float:
    """Fraction (0 to 1) of a text's visible characters that are signs which say nothing.

    1 for a text of punctuation only that stands for no operator, pattern, drawing or emoticon;
    else the share of the longest run of one sign. A line that only rules off others is no run.
    """
    head = text[:_HEAD]
    if (
        not head[:1].isalnum()
        and not any(map(_has_content, head))
        and not any(map(_has_content, text[-_HEAD:]))
    ):
        lines = [line.strip() for line in head.splitlines() if line.strip()]
        return 1.0 if _is_noise("".join(head.split()), lines) else 0.0
    run = longest_run(text)
    if len(run) < _LONG_RUN:
        run = _pattern(text)
    if len(run) < _LONG_RUN or not _is_sign(run[0]):
        return 0.0
    if is_structured(text.replace(run, "")):
        return 0.0  # a string of code, or a rule of a table
    if run[0] not in _STOPS and run not in (text := _RULE.sub("", text)):
        return 0.0
    return len(run) / visible_characters(text)


def _pattern(text: str) -> str:
    """Two or three signs over and over in the middle of a text, where half of it begins."""
    middle = len(text) // 2
    sign = text[middle : middle + 1]
    if len(text) > _HEAD or not sign.strip() or not _is_sign(sign):
        return ""
    return max((match[0] for match in _PATTERN.finditer(text)), key=len, default="")


def _has_content(sign: str) -> bool:
    """Whether a letter, digit, emoji, arrow, … stands for itself."""
    if sign.isascii():
        return sign.isalnum()
    if sign.isspace():
        return False
    return unicodedata.category(sign)[0] not in "PC" and sign not in "\u00b7\ufffd"


def _is_sign(sign: str) -> bool:
    if sign.isascii():
        return not sign.isalnum()
    return unicodedata.category(sign)[0] == "P"


def _is_noise(signs: str, lines: Sequence[str]) -> bool:
    """Whether a text without a letter stands for nothing. Short ones are operators: ==, {}, !!"""
    kinds = set(signs)
    if len(signs) < 3:
        return False
    if kinds <= _STOPS or (len(kinds) == 1 and kinds <= _STOPS | _DASHES):
        return True
    if len(lines) > 2:
        return False  # a drawing
    if len(kinds) <= 3 and not kinds & _BRACKETS and kinds != _MORSE:
        return any(_is_periodic(signs, period) for period in (1, 2, 3))
    return kinds <= _SWEARING and len(kinds) > 4 and len(signs) > 5


def _is_periodic(signs: str, period: int) -> bool:
    return len(signs) >= max(5, 2 * period + 1) and signs[period:] == signs[:-period]
