"""Pages for people, in HTML and Markdown. Text of data and models is hostile: all is escaped."""

import functools
from pathlib import Path
from typing import Any

import jinja2

from tasks.markdown import clip, escape, visible


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; its suffix (`.html.j2`, `.md.j2`) says how to escape."""
    return _environment(template.split(".")[-2]).get_template(template).render(values)


@functools.cache
def _environment(kind: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=kind == "html",  # noqa: S701 (Markdown is escaped by `finalize`)
        finalize=escape if kind == "md" else None,
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
