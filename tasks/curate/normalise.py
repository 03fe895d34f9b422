"""Text as it is compared: what looks alike becomes equal. Nothing of it is ever written."""

import functools
import re
import sys
import unicodedata

# Han, kana and hangul are written without spaces between words: each sign counts as a word.
_SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(f"[{_SIGN}]|[^\\W_{_SIGN}]+")


def comparable(text: str) -> str:
    """NFKC and case-fold `text`, strip format characters (category Cf), fold white space.

    Full-width and composed forms, soft hyphens, zero-width and direction marks stop mattering.
    Idempotent: comparable text compares as itself.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    text = _format_characters().sub("", text)
    # Folding may undo the normal form, so it is made again (Unicode, section 3.13, D146).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def words(text: str) -> list[str]:
    """The words of `text` as they are compared: letters and digits, without punctuation."""
    return _WORD.findall(comparable(text))


@functools.cache
def _format_characters() -> re.Pattern[str]:
    found = (chr(code) for code in range(sys.maxunicode + 1))
    return re.compile(
        "[" + "".join(sign for sign in found if unicodedata.category(sign) == "Cf") + "]"
    )
