"""What is wrong with a setting, in words: its key, what was given, and what is allowed."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from tasks.settings.members import chosen_by, section_of

Path: TypeAlias = tuple[str, ...]

PATTERNS: dict[str, str] = {}
"""What a pattern of a text asks for, in words; `tasks.settings.section.text` fills it."""


@dataclass(frozen=True)
class Problem:
    """One setting at fault."""

    path: Path
    sentence: str


def problems(
    error: ValidationError, model: type[BaseModel], given: Any, prefix: Path = ()
) -> list[Problem]:
    """Each setting at fault once.

    Pydantic has a problem for each type that a setting could be of, under an inner name of that
    type; here they are one problem of the setting.

    Args:
        error: of the validation of `given` as `model`.
        model: the class of the section.
        given: its values, as they were read.
        prefix: the key of the section.
    """
    allowed: dict[Path, list[str]] = {}
    values: dict[Path, Any] = {}
    for problem in error.errors():
        path, value = _path(problem["loc"], given)
        if problem["type"] == "extra_forbidden":
            value, words = _WHOLE, _unknown_key(model, path, given, prefix)
        elif problem["type"] == _SENTENCE:
            path, value, words = tuple(map(str, problem["loc"])), _WHOLE, problem["msg"]
        else:
            words = _words(problem)
        values.setdefault(path, value)
        if words not in allowed.setdefault(path, []):
            allowed[path].append(words)
    return [
        Problem((*prefix, *path), _sentence((*prefix, *path), values[path], words))
        for path, words in allowed.items()
    ]


_SENTENCE = "sentence"


def at(path: Path, words: str) -> ValidationError:
    """What a validator raises about a setting further inside; `words` are the whole message."""
    wrong = PydanticCustomError(_SENTENCE, "{words}", {"words": words})
    details = InitErrorDetails(type=wrong, loc=path, input=None)
    return ValidationError.from_exception_data("settings", [details])


def short(value: Any) -> str:
    """`value` as a message shows it."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


_WHOLE = object()


def _sentence(path: Path, value: Any, allowed: Sequence[str]) -> str:
    # From the plain types to the others, a list last.
    ordered = sorted(allowed, key=lambda words: (words == "a list", words == "null"))
    key, words = ".".join(path), ", or ".join(ordered)
    if not key:
        return words  # about several sections, which it names
    # A section as a whole: what it says is about several of its keys.
    if isinstance(value, Mapping | BaseModel) or value is _WHOLE:
        return f"{key}: {words}"
    return f"{key}: given {short(value)}; allowed: {words}"


def _path(loc: Sequence[str | int], given: Any) -> tuple[Path, Any]:
    """The part of a problem's place that is in the settings, and the value there."""
    path: list[str] = []
    for part in loc:
        if isinstance(given, BaseModel) and part in type(given).model_fields:
            given = getattr(given, str(part))
        elif (isinstance(given, Mapping) and part in given) or (
            isinstance(given, list | tuple) and isinstance(part, int) and part < len(given)
        ):
            given = given[part]  # type: ignore[index]
        elif part == "name" and isinstance(given, str):
            pass  # the name of a member, given as a text
        else:
            continue  # a type's name
        path.append(str(part))
    return tuple(path), given


_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "keys with values",
    "none_required": "null",
    "path_type": "a path",
    "string_type": "a text",
    "tuple_type": "a list",
}
_LIMITS = {
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}


def _words(problem: Any) -> str:
    """What a setting has to be, without the names that types have in Python."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"a text that matches {context['pattern']}")
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "missing":
        return "two values"  # of a pair; every key has a default
    return str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _unknown_key(model: type[BaseModel], path: Path, given: Any, prefix: Path) -> str:
    """That there is no such key, and which one may be meant.

    The section's own keys are looked at first, then those of sections inside it.
    """
    member = ""
    for part in path[:-1]:
        mark = chosen_by(model, part)
        given = given.get(part) if isinstance(given, Mapping) else getattr(given, part, None)
        member = mark.name_in(given) if mark else ""
        inner = section_of(model, part, given)
        assert inner is not None, path
        model = inner
    names = [name for name in model.model_fields if name != "name" or not member]
    close = difflib.get_close_matches(path[-1], names, n=1)
    if not close:
        inside = dict(_inner_keys(model, ".".join((*prefix, *path[:-1]))))
        close = [inside[key] for key in difflib.get_close_matches(path[-1], inside, n=1)]
    if member:
        uses = f"{member} uses {', '.join(names)}" if names else f"{member} has no settings"
        return (
            f"{member} does not use it; " + (f"did you mean {close[0]}? " if close else "") + uses
        )
    return "unknown key; " + (
        f"did you mean {close[0]}?" if close else f"allowed: {', '.join(names)}"
    )


def _inner_keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """The keys of sections inside `model`, with their whole paths."""
    for name in model.model_fields:
        inner = section_of(model, name)
        path = f"{prefix}.{name}".removeprefix(".")
        if inner:
            yield from ((key, f"{path}.{key}") for key in inner.model_fields)
