"""`params.yaml` with a comment for each key."""

import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.settings.members import section_of
from tasks.settings.settings import Settings

_WIDTH = 100
_HEAD = (
    "Every setting and its default. An unknown key or an impossible value is refused with what is "
    "allowed; `--set section.key=value` overrides a key for one command; `perpetune settings KEY` "
    "explains one. DVC reads the same file: a section is what one stage depends on."
)


def write_params(path: Path, settings: Settings, *, replace: bool = False) -> None:
    """Write `settings` to a file that `load_settings` reads as equal ones.

    Args:
        path: the file.
        settings: all of them are written, with comments.
        replace: a file that is there is overwritten; it is lost with all its comments.

    Raises:
        BadInput: there is a file, and `replace` is false.
    """
    if path.exists() and not replace:
        raise BadInput(f"{path} exists; give --replace to overwrite it, or another name")
    files.write_text(path, commented_yaml(settings))


def commented_yaml(settings: Settings) -> str:
    """`settings` as YAML with a comment for each key."""
    lines = [*_comment(_HEAD, 0)]
    for name in Settings.model_fields:
        section = getattr(settings, name)
        lines += ["", *_comment(type(section).__doc__ or "", 0), f"{name}:"]
        lines += _section_lines(section, 1)
    return "\n".join(lines) + "\n"


def _section_lines(section: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        yield from _comment(field.description or "", depth)
        value = getattr(section, name)
        if section_of(type(section), name, value):
            yield f"{indent}{name}:"
            yield from _section_lines(value, depth + 1)
            continue
        plain = section.model_dump(mode="json", include={name})[name]
        if isinstance(plain, dict) and len(flow(plain)) > _WIDTH // 2:
            yield f"{indent}{name}:"
            yield from (f"{indent}  {flow(key)}: {flow(item)}" for key, item in plain.items())
        else:
            yield f"{indent}{name}: {flow(plain)}"


def _comment(text: str, depth: int) -> Iterator[str]:
    prefix = "  " * depth + "# "
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - len(prefix) - 2):
        yield prefix + line


def flow(value: Any) -> str:
    """`value` as YAML in one line."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 10_000
    written = io.StringIO()
    yaml.dump(value, written)
    return written.getvalue().removesuffix("\n").removesuffix("\n...")
