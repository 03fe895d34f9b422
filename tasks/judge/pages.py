"""Pages for people, in HTML and Markdown. Text of data and models is hostile: all is escaped."""

import functools
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

# Joiners are part of words in several scripts and of emoji; other invisible characters are shown.
_SHOWN_AS_THEY_ARE = "\n\t\u200c\u200d"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$@])|(?<=www)\.|:(?=//)")


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; its suffix (`.html.j2`, `.md.j2`) says how to escape."""
    return _environment(template.split(".")[-2]).get_template(template).render(values)


def visible(text: str) -> str:
    """`text` with control and direction characters written out (`\\u202e`), not obeyed."""
    return "".join(
        char if char.isprintable() or char in _SHOWN_AS_THEY_ARE else f"\\u{ord(char):04x}"
        for char in text.replace("\r\n", "\n").expandtabs(4)
    )


def escape_markdown(value: Any) -> str:
    """`value` as one line of Markdown that shows it literally: no markup, no HTML, no links."""
    if isinstance(value, Markup):
        return str(value)
    text = visible(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKDOWN.sub(r"\\\g<0>", text)
    return "<br>".join(text.splitlines())


def clip(text: str, length: int) -> str:
    """`text`, cut where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@functools.cache
def _environment(kind: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=kind == "html",  # noqa: S701 (Markdown is escaped by `finalize`)
        finalize=escape_markdown if kind == "md" else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"visible": visible, "clip": clip, "label": label}
    return environment


def label(name: str) -> str:
    """The name of a metric, gate or setting as people read it."""
    return {"rouge_l": "ROUGE-L", "lora": "LoRA"}.get(name) or name.replace("_", " ")
