"""Texts that were decoded by a wrong character set."""

import re
import unicodedata

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Section

_WINDOWS = {}
for _code in range(0x80, 0x100):
    _WINDOWS[bytes([_code]).decode("cp1252", "ignore") or chr(_code)] = _code
    _WINDOWS.setdefault(chr(_code), _code)
_TRAIL = "".join(re.escape(sign) for sign, code in _WINDOWS.items() if code < 0xC0)
_LATIN = re.compile(rf"[ÃÂÄÅÐÑÎÏ×ØÙÚÛÆÇÈÉÊË][{_TRAIL}]|[à-ï][{_TRAIL}]{{2}}|ð[{_TRAIL}]{{3}}")
_CYRILLIC_TRAIL = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—™љ›њќћџЎўЈ¤Ґ¦§©Є«¬®Ї°±Ііґµ¶·№є»јЅѕї"
_CYRILLIC = re.compile(rf"(?:[РС][{_CYRILLIC_TRAIL}Ё-ёА-я]){{4,}}")
_EAST_ASIAN = re.compile(r"[\u00a1-\u00ff]{6,}")
_REPLACED = "\ufffd"
_MARKS_A_CHARACTER = 0.004


class WrongCharacterSet(Section):
    drop_mojibake: bool = True
    """Drop what was decoded by a wrong character set."""


@FILTERS.register
class Mojibake(Filter[WrongCharacterSet]):
    """An answer (or text) that was decoded by a wrong character set, in more than one place."""

    name = "mojibake"
    meaning = "The text was decoded by a wrong character set."
    settings = WrongCharacterSet
    evidence = {"text": "what is around the first place"}
    remedy = "Read the source with its own encoding, which keeps the record."
    order = 80

    def is_on(self, settings: WrongCharacterSet) -> bool:
        return settings.drop_mojibake

    def check(
        self, record: Record, settings: WrongCharacterSet, measured: Measurements
    ) -> Evidence | None:
        found = find_mojibake(answer_text(record))
        return None if found is None else {"text": found}


def find_mojibake(text: str) -> str | None:
    """The first place that was decoded by a wrong character set, in a text with enough of them.

    UTF-8 read as Windows-1252, Latin-1 or Windows-1251, East Asian sets read as Latin-1, and
    U+FFFD, which stands where nothing could be decoded. A text that shows the right letter beside
    the wrong one explains the matter, and is none.
    """
    if text.isascii():
        return None
    marks = [(match[0], match.start()) for match in _LATIN.finditer(text) if _decoded(match[0])]
    if 0 < len(marks) <= 3 and any(_decoded(mark) in text for mark, _ in marks):
        marks = []
    marks += [(match[0], match.start()) for match in _CYRILLIC.finditer(text) if _odd(match[0])]
    marks += [(match[0], match.start()) for match in _EAST_ASIAN.finditer(text) if _mixed(match[0])]
    replaced = text.count(_REPLACED)
    if replaced > 1:
        marks += [(_REPLACED, text.find(_REPLACED))] * replaced
    if len(marks) <= _MARKS_A_CHARACTER * len(text):
        return None
    return text[max(marks[0][1] - 40, 0) : marks[0][1] + 60]


def _decoded(mark: str) -> str:
    """What the bytes of `mark` are in UTF-8; nothing where they are no letter or sign of it."""
    if mark[1:2] == "\u00a0" or (len(mark) == 2 and mark[0] not in "ÃÂÐÑ" and mark[1] in "”’“»"):
        return ""  # a capital or an accent before a closing quotation mark
    try:
        meant = bytes(_WINDOWS[sign] for sign in mark).decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return meant if unicodedata.category(meant) not in ("Cn", "Co") else ""


def _odd(run: str) -> bool:
    """Whether it has signs that no Cyrillic word has."""
    return sum(sign in _CYRILLIC_TRAIL for sign in run) > 1 or not run[1::2].isupper()


def _mixed(run: str) -> bool:
    """Whether letters and symbols of Latin-1 meet as in no word."""
    symbols = sum(not sign.isalpha() for sign in run)
    return 1 <= symbols <= len(run) - 3 and len(set(run)) > 3
