"""Keys of earlier versions of `params.yaml`: read as what they are called now, with a message each.

An old key and the new one together are refused where they disagree.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tasks.core.errors import BadInput
from tasks.settings.messages import short
from tasks.tune.settings import Sweep

Path: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[str, Any]

_QUALITY = (
    *("min_tokens", "max_tokens", "min_completion_characters", "drop_repeated_prompts"),
    *("check_turns", "drop_refusals", "max_symbol_ratio", "max_repetition", "drop_mojibake"),
    *("max_duplicate_lines", "mean_word_length", "min_alphabetic_words", "max_bullet_lines"),
    *("max_ellipsis_lines", "drop_placeholder_text", "languages", "min_language_score"),
)
_METHOD = (
    *("rank", "alpha", "dropout", "target_modules", "virtual_tokens", "ptuning_version"),
    *("bottleneck_size", "trained_modules"),
)
_RENAMED: dict[str, str] = {
    "judge": "evaluate",
    "evaluate.max_regression": "evaluate.gates.no_regression.loss",
    "evaluate.max_general_loss_increase": "evaluate.gates.general.loss",
    "curate.against": "curate.benchmarks",
    "curate.replay": "curate.replay.inputs",
    "curate.replay_share": "curate.replay.share",
    **{f"curate.{key}": f"curate.quality.{key}" for key in _QUALITY},
    "curate.personal_data": "curate.privacy",
    "curate.near_duplicates": "curate.duplicates.similarity",
    "curate.ngram": "curate.contamination.ngram",
    "curate.max_contamination": "curate.contamination.max_overlap",
    "curate.max_paraphrase": "curate.contamination.max_paraphrase",
    "curate.min_information": "curate.contamination.min_information",
    "curate.protect_splits": "curate.splits.max_overlap",
    "curate.validation_share": "curate.splits.validation_share",
    "curate.test_share": "curate.splits.test_share",
    "curate.validation_from": "curate.splits.validation_from",
    "curate.test_from": "curate.splits.test_from",
    "tune.method": "tune.method.name",
    **{f"tune.{key}": f"tune.method.{key}" for key in _METHOD},
    "tune.mix": "tune.source_weights",
    "sweep.packed": "sweep.adapters_per_pass",
    "sweep.seeds_top": "sweep.reseed_top",
}
_REMOVED = {
    "evaluate.resamples": "intervals are computed, and no longer drawn",
}
_NOW_SECTIONS = ("curate.replay", "tune.method")
"""Old keys whose name is a section's now: a mapping there is new."""
_AXES = {
    "sweep.rank": "tune.method.rank",
    "sweep.alpha": "tune.method.alpha",
    "sweep.method": "tune.method",
    "sweep.target_modules": "tune.method.target_modules",
    "sweep.dropout": "tune.method.dropout",
    "sweep.learning_rate": "tune.learning_rate",
}
"""Old lists of the sweep, which are keys of `sweep.space` now."""


@dataclass
class Migrated:
    """The values of a file under the keys of this version."""

    values: Values
    lines: dict[Path, int]
    """Where each key is, by its path of this version."""
    carried: set[str] = field(default_factory=set)
    """Settings of methods that were given beside `tune.method`, whichever the method."""
    messages: list[str] = field(default_factory=list)


def migrate(values: Values, file: str, lines: Mapping[Path, int]) -> Migrated:
    """Read a file's old keys as what they are called now; `values` is changed in place.

    Raises:
        BadInput: an old key and the new one disagree.
    """
    found = Migrated(values, dict(lines))
    for old, new in _RENAMED.items():
        path = tuple(old.split("."))
        section = _section(values, path[:-1])
        if path[-1] not in section:
            continue
        if old in _NOW_SECTIONS and isinstance(section[path[-1]], Mapping):
            continue
        value = section.pop(path[-1])
        place = _place(file, found.lines, path)
        target = _target(values, tuple(new.split("."))[:-1], place)
        _put(target, new, value, old, place)
        _move_lines(found.lines, path, tuple(new.split(".")))
        found.messages.append(f"{place}: {_is_now(old, new)}")
        if carried := _carried(old):
            found.carried.add(carried)
    for old in _REMOVED:
        path = tuple(old.split("."))
        if _section(values, path[:-1]).pop(path[-1], None) is not None:
            found.messages.append(f"{_place(file, found.lines, path)}: {removed(old)}")
    _migrate_axes(found, file)
    return found


def removed(key: str) -> str:
    """A sentence on a key that has nothing to say in this version; empty for every other key."""
    key = _new_key(key, None) or key
    return f"{key} has no effect any more: {_REMOVED[key]}" if key in _REMOVED else ""


def migrate_key(key: str, value: Any) -> tuple[str, str | None, str]:
    """An override's key as it is called now.

    Args:
        key: as it was given.
        value: that it is given.

    Returns:
        The key; the setting of a method that was given beside `tune.method`, or None; and a
        message, empty where the key is one of this version.
    """
    new = _new_key(key, value)
    return (key, None, "") if new is None else (new, _carried(key), f"--set {_is_now(key, new)}")


def _new_key(key: str, value: Any) -> str | None:
    if key in _AXES:
        return f"sweep.space.{_AXES[key]}"
    if key == "tune.method" or (key in _NOW_SECTIONS and isinstance(value, Mapping)):
        return None  # of this version: a method's name is short for a mapping with it
    if key in _RENAMED:
        return _RENAMED[key]
    for old in ("judge", "curate.personal_data", "tune.mix"):
        if key.startswith(f"{old}."):
            new = _RENAMED[old] + key.removeprefix(old)
            return _RENAMED.get(new, new)
    return None


def _migrate_axes(found: Migrated, file: str) -> None:
    """Move the sweep's old lists into `sweep.space`; an empty one varies nothing."""
    sweep = _section(found.values, ("sweep",))
    given = {old: sweep.pop(name) for old in _AXES if (name := old.split(".")[1]) in sweep}
    if not given:
        return
    written = sweep.get("space")
    if written is not None and not isinstance(written, dict):
        raise BadInput(
            f"{_place(file, found.lines, ('sweep', 'space'))}: sweep.space: keys with values"
        )
    space = dict(Sweep().plain()["space"] if written is None else written)
    for old, value in given.items():
        key, path = _AXES[old], tuple(old.split("."))
        place = _place(file, found.lines, path)
        if written is not None and key in written and written[key] != value:
            raise _disagree(place, old, value, f"sweep.space.{key}", written[key])
        set_axis(space, key, value)
        _move_lines(found.lines, path, ("sweep", "space", key))
        found.messages.append(f"{place}: {_is_now(old, f'sweep.space.{key}')}")
    sweep["space"] = space


def set_axis(space: Values, key: str, value: Any) -> None:
    """Vary `key` over `value`; an empty list or nothing: do not vary it."""
    if value is None or value == []:
        space.pop(key, None)
    else:
        space[key] = value


def _carried(old: str) -> str | None:
    section, _, key = old.partition(".")
    return key if section == "tune" and key in _METHOD else None


def _is_now(old: str, new: str) -> str:
    return f"{old} is called {new} now"


def _section(values: Values, path: Path) -> Values:
    """The mapping at a path; an empty one that belongs to nothing where there is none."""
    for part in path:
        inner = values.get(part)
        if not isinstance(inner, dict):
            return {}
        values = inner
    return values


def _target(values: Values, path: Path, place: str) -> Values:
    for count, part in enumerate(path, start=1):
        if values.get(part) is None:
            values[part] = {}
        if not isinstance(values[part], dict):
            raise BadInput(f"{place}: {'.'.join(path[:count])}: keys with values")
        values = values[part]
    return values


def _put(target: Values, new: str, value: Any, old: str, place: str) -> None:
    """Enter an old key's value under its new name.

    Raises:
        BadInput: there is another value already.
    """
    name = new.rpartition(".")[2]
    if name not in target:
        target[name] = value
    elif isinstance(target[name], dict) and isinstance(value, Mapping):
        for key, inner in value.items():
            _put(target[name], f"{new}.{key}", inner, f"{old}.{key}", place)
    elif target[name] != value:
        raise _disagree(place, old, value, new, target[name])


def _disagree(place: str, old: str, value: Any, new: str, other: Any) -> BadInput:
    return BadInput(
        f"{place}: {old} ({short(value)}) is called {new} now, which is given too, and is "
        f"{short(other)}; remove {old}"
    )


def _move_lines(lines: dict[Path, int], old: Path, new: Path) -> None:
    for path in [*lines]:
        if path[: len(old)] == old and path[: len(new)] != new:
            lines.setdefault((*new, *path[len(old) :]), lines[path])


def _place(file: str, lines: Mapping[Path, int], path: Path) -> str:
    line = lines.get(path)
    return f"{file}:{line}" if line else file


def known_keys() -> Iterator[tuple[str, str]]:
    """Every key of an earlier version, and what it is called now."""
    yield from _RENAMED.items()
    yield from ((old, f"sweep.space.{new}") for old, new in _AXES.items())
