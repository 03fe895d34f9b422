"""Texts in disguise: what a copy says when escapes, encodings and accents are undone.

None of it is ever written; decontamination searches it beside the text itself.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote_plus

import numpy as np

from tasks.curate.text.ngrams import Positions

LONG_TOKEN = 32
"""Letters, digits and signs of base64 in a row that are no word: an encoding, or a text that lost
its spaces."""

_UNICODE_ESCAPE = re.compile(
    r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2}))"
)
_BYTES_ESCAPE = re.compile(r"(?:\\x[89a-fA-F][0-9A-Fa-f]){2,}")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31}\d{0,2});")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}")
_ACCENT = re.compile("[\u0300-\u036f]")
_FEWEST_PERCENT_ESCAPES = 2
_NO_TOKEN_BYTE = np.array(
    [not ((chr(i).isalnum() and i < 128) or chr(i) in "+/='-") for i in range(256)]
)
_MOST_CHARACTERS = 2**20  # characters beyond which a text is taken as it is


def strip_accents(text: str) -> str:
    """`text` without the accents of its letters; other scripts' signs stay whole."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text)
    plain = _ACCENT.sub("", apart)
    return text if plain == apart else unicodedata.normalize("NFC", plain)


def undisguised(text: str) -> str:
    """`text` with escapes undone (`\\\\u00e9`, `&eacute;`, `%C3%A9`) and without accents.

    It is `text` itself where there is nothing to undo.
    """
    if len(text) > _MOST_CHARACTERS:
        return text
    if "\\u" in text or "\\x" in text or "\\U" in text:
        text = _without_escapes(text)
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    if "%" in text and len(_PERCENT.findall(text)) >= _FEWEST_PERCENT_ESCAPES:
        plus = " " not in text.strip() or text.count("+") > text.count(" ")
        text = unquote_plus(text if plus else text.replace("+", "%2B"), errors="replace")
    return strip_accents(text)


def decode_base64(text: str) -> str:
    """The texts that are base64 in `text`, joined; what is no text is left out."""
    found = []
    for token in _BASE64.findall(text):
        standard = token.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except binascii.Error:
            continue
        # A line may end within a sign.
        decoded = data.decode("utf-8", "ignore")
        readable = sum(sign.isprintable() or sign.isspace() for sign in decoded)
        if readable >= 0.95 * len(decoded) and len(decoded.encode()) >= len(data) - 6:
            found.append(decoded)
    return undisguised("".join(found))


def long_tokens(texts: Sequence[str]) -> list[int]:
    """Numbers of the texts that hold `LONG_TOKEN` such signs in a row."""
    # Quick for the many that have none: one pass over the bytes of all.
    joined = " ".join(["", *texts, ""])
    sizes = list(map(len, texts))
    if not joined.isascii():
        sizes = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    data = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    gaps = np.flatnonzero(_NO_TOKEN_BYTE[data])
    long = gaps[:-1][np.diff(gaps) > LONG_TOKEN]
    if not len(long):
        return []
    ends: Positions = np.cumsum(np.array(sizes) + 1)
    return sorted(set(np.searchsorted(ends, long, side="right").tolist()))


def join_long_tokens(text: str) -> str:
    """The long tokens of `text`, one after another."""
    return " ".join(token for token in text.split() if len(token) >= LONG_TOKEN)


def _without_escapes(text: str) -> str:
    def of_bytes(match: re.Match[str]) -> str:
        data = bytes.fromhex(match[0].replace("\\x", ""))
        return data.decode("utf-8", "replace")

    def of_sign(match: re.Match[str]) -> str:
        code = int(next(filter(None, match.groups())), 16)
        return chr(code) if code < 0x110000 else match[0]

    text = _BYTES_ESCAPE.sub(of_bytes, text)
    text = _UNICODE_ESCAPE.sub(of_sign, text)
    return _SURROGATES.sub(
        lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
