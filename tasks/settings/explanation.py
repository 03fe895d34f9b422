"""What a setting is for: one key explained, from the docstrings, defaults and types of sections."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from tasks.core.errors import BadInput
from tasks.core.values import Value
from tasks.settings import migration
from tasks.settings.members import Chosen, chosen_by, section_of
from tasks.settings.section import Unit
from tasks.settings.settings import Settings
from tasks.settings.types_in_words import allowed_values, listed


class Explanation(Value):
    """A key of `params.yaml`.

    Attributes:
        key: its whole path.
        description: what it does.
        allowed: the values that it can have, in words.
        unit: what it counts, where the key does not say it.
        default: the value that holds where the file has none.
        value: the value in force; None where the chosen method (or objective) has no such key.
        members: of which methods or objectives it is a setting; empty where it is of none alone.
        keys: of a section, the keys in it.
        read_by: the commands that read it.
    """

    key: str
    description: str
    allowed: str
    unit: str = ""
    default: Any = None
    value: Any = None
    members: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A field of a section, with what is around it.

    Attributes:
        key: its whole path.
        field: pydantic's description of it.
        section: the class of the section that it holds; None: it holds a plain value.
        allowed: see `Explanation`.
        default: the value of a section made with defaults.
        members: see `Explanation`.
        read_by: see `Explanation`.
    """

    key: str
    field: FieldInfo
    section: type[BaseModel] | None
    allowed: str
    default: Any
    members: tuple[str, ...]
    read_by: tuple[str, ...]

    @property
    def unit(self) -> str:
        """What it counts; empty where the key says it."""
        return next((mark.name for mark in self.field.metadata if isinstance(mark, Unit)), "")


def entries() -> Iterator[Entry]:
    """Every key, each section before what is in it; those of every method and objective."""
    defaults = Settings()
    for name in Settings.model_fields:
        section = type(getattr(defaults, name))
        yield from _entries(Settings, name, name, section.READ_BY, getattr(defaults, name))


def _entries(
    model: type[BaseModel],
    name: str,
    key: str,
    read_by: tuple[str, ...],
    default: Any,
    members: tuple[str, ...] = (),
) -> Iterator[Entry]:
    field = model.model_fields[name]
    section = section_of(model, name, default)
    allowed, plain = allowed_values(field), to_jsonable_python(default)
    yield Entry(key, field, section, allowed, plain, members, read_by)
    chosen = chosen_by(model, name)
    if chosen:
        yield from _of_members(chosen, key, read_by)
    elif section:
        for inner in section.model_fields:
            value = getattr(default, inner)
            yield from _entries(section, inner, f"{key}.{inner}", read_by, value, members)


def _of_members(chosen: Chosen[Any], key: str, read_by: tuple[str, ...]) -> Iterator[Entry]:
    """The keys of all members, those with one meaning once."""
    kinds: dict[type[BaseModel], list[str]] = {}
    for member in chosen.registry:
        kinds.setdefault(member.settings, []).append(member.name)
    seen: dict[tuple[str, str], tuple[type[BaseModel], list[str]]] = {}
    for kind, names in kinds.items():
        for name, field in kind.model_fields.items():
            known = seen.setdefault((name, field.description or ""), (kind, []))
            known[1].extend(names)
    for (name, _), (kind, names) in seen.items():
        if name == "name":
            allowed = " or ".join(listed(map(repr, chosen.names())))
            field = kind.model_fields[name]
            yield Entry(f"{key}.name", field, None, allowed, chosen.default, (), read_by)
            continue
        default = getattr(kind.model_validate({"name": names[0]}), name)
        yield from _entries(kind, name, f"{key}.{name}", read_by, default, tuple(names))


def explain(settings: Settings, key: str) -> list[Explanation]:
    """What a key is for; more than one where it means different things to different methods.

    Args:
        settings: those in force.
        key: of a setting or a section, as `tune.learning_rate`.

    Raises:
        BadInput: there is no such key; the message names the closest one.
    """
    known = list(entries())
    asked = "sweep.space" if key.startswith("sweep.space.") else key
    found = [entry for entry in known if entry.key == asked]
    if not found:
        renamed = dict(migration.known_keys()).get(key)
        if renamed:
            raise BadInput(f"{key}: is called {renamed} now")
        names = list(dict.fromkeys(entry.key for entry in known))
        ends = {name.rpartition(".")[2]: name for name in names}
        close = difflib.get_close_matches(key, names, n=1) or [
            ends[end] for end in difflib.get_close_matches(key.rpartition(".")[2], ends, n=1)
        ]
        hint = (
            f"did you mean {close[0]}?"
            if close
            else f"sections: {', '.join(Settings.model_fields)}"
        )
        raise BadInput(f"{key}: no such setting; {hint}")
    return [_explained(entry, settings, known) for entry in found]


def _explained(entry: Entry, settings: Settings, known: list[Entry]) -> Explanation:
    value: Any = settings.plain()
    for part in entry.key.split("."):
        member = value.get("name") if isinstance(value, dict) else None
        value = value.get(part) if isinstance(value, dict) else None
    if entry.members and member not in entry.members:
        value = None
    inside = [
        other.key
        for other in known
        if other.key.startswith(f"{entry.key}.") and "." not in other.key[len(entry.key) + 1 :]
    ]
    doc = entry.field.description or (entry.section.__doc__ if entry.section else "") or ""
    return Explanation(
        key=entry.key,
        description=" ".join(doc.split()),
        allowed=entry.allowed,
        unit=entry.unit,
        default=entry.default,
        value=value,
        members=entry.members,
        keys=tuple(dict.fromkeys(inside)),
        read_by=entry.read_by,
    )
