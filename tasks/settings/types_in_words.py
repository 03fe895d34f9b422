"""The values that a setting can have, in words: `a whole number of at least 1, or 'auto'`."""

import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from tasks.settings.members import Chosen
from tasks.settings.messages import PATTERNS

_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "null",
    Any: "any value",
}
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


def allowed_values(field: FieldInfo) -> str:
    """What a field of a section takes."""
    return _words(field.annotation, field.metadata)


def _words(kind: Any, metadata: Iterable[Any] = ()) -> str:
    marks = _flat(metadata)
    for mark in marks:
        if isinstance(mark, Chosen):
            return "the keys of one of " + ", ".join(mark.names())
        if isinstance(mark, BeforeValidator) and mark.func.__doc__:
            # Such a function says first what it takes.
            return mark.func.__doc__.partition(".")[0].lower().strip()
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *own = get_args(kind)
        return _words(inner, [*own, *marks])
    if origin is Literal:
        return " or ".join(listed(repr(value) for value in get_args(kind)))
    if origin in (Union, types.UnionType):
        return ", or ".join(_words(part) for part in get_args(kind))
    if origin is list:
        return f"a list, each {_words(*get_args(kind))}"
    if origin is tuple:
        return f"{len(get_args(kind))} values, each {_words(get_args(kind)[0])}"
    if origin in (dict, Mapping):
        return f"keys with values, each {_words(get_args(kind)[1])}"
    return _PLAIN.get(kind, "keys with values") + _bounds(marks)


def listed(values: Iterable[str]) -> list[str]:
    """All values but the last in one text, and the last one: join them by `and` or `or`."""
    *first, last = values
    return [", ".join(first), last] if first else [last]


def _flat(metadata: Iterable[Any]) -> list[Any]:
    """Constraints in a field's own annotation, and those beside them."""
    marks: list[Any] = []
    for mark in metadata:
        marks += _flat(mark.metadata) if isinstance(mark, FieldInfo) else [mark]
    return marks


def _bounds(marks: Iterable[Any]) -> str:
    found = []
    for mark in marks:
        pattern = getattr(mark, "pattern", None)
        if pattern:
            found.append(f" of {PATTERNS.get(pattern, pattern)}")
        for name, words in _BOUNDS.items():
            bound = getattr(mark, name, None)
            if bound is not None:
                found.append(
                    f" {words} {bound:,}" if isinstance(bound, int) else f" {words} {bound:g}"
                )
    return " and".join(found)
