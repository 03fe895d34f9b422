"""The one template environment of the project: pages in HTML, sheets and cards in Markdown.

Text of data, models and people is hostile: HTML templates escape by default, Markdown templates
escape every value that is not marked as `Markup`.
"""

import functools
from typing import Any

import jinja2

from tasks.rendering.markdown import clip, escape, visible


def render(package: str, template: str, **values: Any) -> str:
    """Fill a template file of a package.

    Args:
        package: dotted name of the package whose folder holds the template and what it includes.
        template: file name; its suffix (`.html.j2`, `.md.j2`) says how values are escaped.
        values: what the template refers to; a name that is missing is an error.
    """
    return _environment(package, template.split(".")[-2]).get_template(template).render(values)


@functools.cache
def _environment(package: str, kind: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=kind == "html",  # noqa: S701 (Markdown is escaped by `finalize`)
        finalize=escape if kind == "md" else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "visible": visible,
        "clip": clip,
        "label": label,
        "count": "{:,}".format,
        "percent": "{:.1%}".format,
    }
    return environment


def label(name: str) -> str:
    """The name of a metric, gate or setting as people read it."""
    return {"rouge_l": "ROUGE-L", "lora": "LoRA"}.get(name) or name.replace("_", " ")
