"""Text of data and models as people are shown it: nothing in it is obeyed, whatever it holds."""

import re
import unicodedata
from typing import Any

from markupsafe import Markup

# Joiners are part of words in several scripts and of emoji; other invisible characters are shown.
_SHOWN_AS_THEY_ARE = "\n\u200c\u200d"
_HIDDEN = ("C", "Zl", "Zp")
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~$@])|(?<=www)\.|:(?=//)", re.IGNORECASE)


def visible(text: str) -> str:
    """`text` with characters that would not show, or would reorder the line (control, format and
    unassigned ones), written out as `⟨U+202E⟩`."""
    return "".join(map(_shown, text.replace("\r\n", "\n").expandtabs(4)))


def one_line(text: str) -> str:
    """`text` as `visible` shows it, with line breaks written out as well: a name, say."""
    return visible(text).replace("\n", "⟨U+000A⟩")


def _shown(sign: str) -> str:
    if sign in _SHOWN_AS_THEY_ARE or not unicodedata.category(sign).startswith(_HIDDEN):
        return sign
    return f"⟨U+{ord(sign):04X}⟩"


def clip(text: str, length: int) -> str:
    """`text`, cut where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def escape(value: Any) -> str:
    """`value` as one line of Markdown that shows it literally: no markup, no HTML, no links."""
    if isinstance(value, Markup):
        return str(value)
    text = visible(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKUP.sub(r"\\\g<0>", text)
    return "<br>".join(text.splitlines())
