"""A model's file laid over the project's: keys that it names replace, mappings merge."""

from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from tasks.core.errors import BadInput
from tasks.settings.members import chosen_by, section_of
from tasks.settings.model_files import OF_THE_PROJECT
from tasks.settings.settings import Settings

Key: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[str, Any]


def lay_over(below: Values, above: Values, places: dict[Key, str], own: Mapping[Key, str]) -> None:
    """Change `below` to what `above` makes of it, and `places` accordingly.

    Lists and plain values replace. Where the keys of a mapping are the user's (`sweep.space`), null
    or an empty list removes one.

    Args:
        below: values of the project's file.
        above: values of the model's file.
        places: where the keys of `below` were given, by path.
        own: where those of `above` were.

    Raises:
        BadInput: a key holds for the whole project.
    """
    for section, key in OF_THE_PROJECT:
        if isinstance(above.get(section), dict) and key in above[section]:
            raise BadInput(
                f"{own.get((section, key), section)}: {section}.{key} holds for the whole project, "
                "whose models share one platform: set it in params.yaml"
            )
    _merge(below, above, (), Settings, places)
    places |= own


def _merge(
    below: Values, above: Values, path: Key, model: type[BaseModel] | None, places: dict[Key, str]
) -> None:
    for key, value in above.items():
        here = (*path, key)
        chosen = bool(model and chosen_by(model, key))
        free = bool(model and has_free_keys(model, key))
        old, new = (
            {"name": given} if chosen and isinstance(given, str) else given
            for given in (below.get(key), value)
        )
        if old is None and isinstance(new, dict):
            old = free_keys(model, key)  # nothing, where it is a section
        if not isinstance(new, dict) or not isinstance(old, dict):
            _forget(places, here)
            below[key] = new
            continue
        below[key] = old
        if free:
            for name, item in new.items():
                _forget(places, (*here, name))
                if item is None or item == []:
                    old.pop(name, None)
                else:
                    old[name] = item
        else:
            _merge(old, new, here, section_of(model, key, old) if model else None, places)


def _forget(places: dict[Key, str], path: Key) -> None:
    for key in [known for known in places if known[: len(path)] == path]:
        del places[key]


def has_free_keys(model: type[BaseModel], part: str) -> bool:
    """Whether a setting is a mapping whose keys are the user's."""
    field = model.model_fields.get(part)
    if field is None:
        return False
    kinds = get_args(field.annotation) if NoneType in get_args(field.annotation) else ()
    return any(get_origin(kind) is dict for kind in kinds or (field.annotation,))


def free_keys(model: type[BaseModel] | None, part: str) -> Values:
    """The default of a setting that has free keys; nothing for a section."""
    if model is None or not has_free_keys(model, part):
        return {}
    defaults: Values = model().model_dump(mode="json")[part]
    return defaults or {}
