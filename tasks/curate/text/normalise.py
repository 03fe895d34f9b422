"""Text as it is compared: what looks alike becomes equal. Nothing of it is ever written."""

import functools
import re
import unicodedata

# Han, kana and hangul are written without spaces between words: each sign counts as a word.
_SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# Vowel signs and accents (category M) belong to their letters, though `\\w` has none of them.
_MARKS = "".join(
    sign
    for sign in map(chr, range(0x300, 0xFFFF))
    if unicodedata.category(sign).startswith("M") and not re.match(f"[{_SIGN}]", sign)
)
_LETTERS = f"(?:[^\\W_{_SIGN}]|[{_MARKS}])+"
_WORD = re.compile(f"[{_SIGN}]|{_LETTERS}(?:_+{_LETTERS})*")
_SIGNS = re.compile(f"[{_SIGN}]")
_SEPARATORS = re.compile(f"[^\\x00-\\x7f\\w{_MARKS}{_SIGN}]")

# Letters of other scripts that are drawn like a Latin one (after the prototypes of Unicode
# Technical Standard 39, section 4: the Cyrillic, Greek and Armenian ones).
_LOOKALIKES = dict(
    zip(
        "АВЕКМНОРСТУХЅІЈԛԜҮаеорсухѕіјԁԝһүӏ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρυιϲϳ" + "ՏՍօոսց",
        "ABEKMHOPCTYXSIJqWYaeopcyxsijdwhyl" + "ABEZHIKMNOPTYXaovpuicj" + "SUonug",
        strict=True,
    )
)
_RAISED = str.maketrans({sign: f"^{n}" for n, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_MIXED = re.compile(r"\b(?=\w*[A-Za-z])\w+")


def comparable(text: str) -> str:
    """NFKC and case-fold `text`, strip format characters (category Cf), fold white space.

    Full-width and composed forms, soft hyphens, zero-width and direction marks stop mattering, and
    so do letters drawn like Latin ones inside Latin words. Idempotent: comparable text compares as
    itself.
    """
    return " ".join(folded(text).split())


def raised(text: str) -> str:
    """`text` with `^5` for a raised 5, of which NFKC would make a digit like others."""
    return text if text.isascii() else text.translate(_RAISED)


def folded(text: str) -> str:
    """`comparable` but for white space."""
    if text.isascii():
        return text.lower()
    foreign = _foreign(text)
    if all(map(_plain, foreign)):
        return text.casefold()
    for sign in foreign:
        if unicodedata.category(sign) == "Cf":
            text = text.replace(sign, "")
    text = unicodedata.normalize("NFKC", text)
    if _foreign(text) & _LOOKALIKES.keys():
        text = _MIXED.sub(lambda word: _latin(word[0]), text)
    # Folding may undo the normal form, so it is made again (Unicode, section 3.13, D146).
    folded = unicodedata.normalize("NFKC", text.casefold())
    # A word of look-alikes only cannot be told from its script's own: both compare as Latin.
    return _latin(folded)


@functools.lru_cache(maxsize=100_000)
def _plain(sign: str) -> bool:
    """Whether nothing but case can happen to the sign, whatever stands around it."""
    folded = sign.casefold()
    return (
        unicodedata.category(sign) not in ("Cf", "Mn", "Mc", "Lm", "Sk")
        and unicodedata.normalize("NFKC", sign) == sign
        and unicodedata.normalize("NFKC", folded) == folded
        and not _LOOKALIKES.keys() & {sign, *folded}
        and not "\u1100" <= sign <= "\u11ff"  # jamo, which compose with one another
    )


def _foreign(text: str) -> set[str]:
    return set().union(*_FOREIGN.findall(text))


def _latin(text: str) -> str:
    for sign in _foreign(text) & _LOOKALIKES.keys():
        text = text.replace(sign, _LOOKALIKES[sign])
    return text


def words(text: str) -> list[str]:
    """The words of `text` as they are compared: letters and digits, without punctuation.

    Underscores inside a word belong to it, as in the names of source code.
    """
    return _WORD.findall(comparable(text))


def spaced(text: str) -> str:
    """`text` with its words as `words` gives them, up to ASCII case, and around them only ASCII
    characters that are neither letters nor digits: what a table of bytes can cut."""
    if text.isascii():
        return text
    text = _SEPARATORS.sub(" ", folded(text))
    if not text or max(text) < "\u3040":
        return text
    return _SIGNS.sub(r" \g<0> ", text)
