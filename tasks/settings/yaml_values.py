"""YAML that a person wrote, as plain values; whatever it holds, nothing worse than an error."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import count
from typing import Any

_MOST = 100_000
_DEEPEST = 50
_NO_NAME = re.compile("[\0\ud800-\udfff]")


class BadYaml(ValueError):
    """Text that is no YAML, or no YAML that settings can be; `line` counts from 1 where known."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True)
class Document:
    """The values, as `dict`, `list`, `str`, `int`, `float`, `bool`, `None`, `date`; keys are text.

    `lines` gives, by the path of a key, where it is.
    """

    value: Any
    lines: dict[tuple[str, ...], int]


def parse(text: str) -> Document:
    """Read one YAML document.

    Raises:
        BadYaml: it is none; it refers to itself; or it is larger or deeper than settings ever are.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        loaded = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = str(getattr(error, "problem", None) or error).partition("\n")[0]
        raise BadYaml(what, mark.line + 1 if mark else None) from None
    except Exception as error:  # noqa: BLE001
        # The reader's own faults: wrong dates, tags without a value, merges of what is no mapping.
        raise BadYaml(f"a value cannot be read ({type(error).__name__}: {error})") from None
    value = _plain(loaded, count(1))
    return Document(value, dict(_key_lines(loaded, ())))


def _plain(value: Any, number: "count[int]", depth: int = 0) -> Any:
    if next(number) > _MOST or depth > _DEEPEST:
        raise BadYaml("too large, too deep, or it refers to itself")
    if isinstance(value, Mapping):
        items = [(str(key), _plain(item, number, depth + 1)) for key, item in value.items()]
        return dict(items)
    if isinstance(value, list | tuple | set):
        return [_plain(item, number, depth + 1) for item in value]
    if isinstance(value, bool | date) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        if _NO_NAME.search(value):
            raise BadYaml(f"{str(value)!r} holds a character that no name of a file can have")
        return str(value)
    raise BadYaml(f"neither text, number, list nor keys with values ({type(value).__name__})")


def _key_lines(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(value, Mapping) and hasattr(value, "lc"):
        for key, item in value.items():
            place = (*path, str(key))
            position = (value.lc.data or {}).get(key)  # a merged key has none
            if position is not None:
                yield place, position[0] + 1
            yield from _key_lines(item, place)
