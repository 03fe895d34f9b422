"""Read `params.yaml` and apply `--set`: what stages, flows and commands work with."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.core.errors import BadInput
from tasks.core.plugins import load_plugins
from tasks.curate.settings import Curate
from tasks.evaluate.settings import Evaluate
from tasks.settings import messages, migration
from tasks.settings.members import chosen_by, section_of
from tasks.settings.model_files import model_file, registered_name, registered_names
from tasks.settings.overlay import Key, free_keys, has_free_keys, lay_over
from tasks.settings.project import Project
from tasks.settings.settings import Settings, plugins_of
from tasks.settings.yaml_values import BadYaml, Document, parse

log = logging.getLogger(__name__)

DEFAULT_FILE = Path("params.yaml")


def load_settings(
    path: Path = DEFAULT_FILE, overrides: Iterable[str] = (), model: str | None = None
) -> Settings:
    """Read and validate `path`, with `section.key=value` overrides applied first.

    The keys of `models/MODEL.yaml` beside `path` go before its own; see
    docs/how-to/several-models.md. Where no file is named and there is no `params.yaml` here, the
    defaults hold. The project's plugins are loaded. A key of an earlier version is read as what it
    is called now, and the log says so.

    Raises:
        BadInput: the file is missing or no YAML, a key is unknown, a value is of the wrong type or
            out of range. The message names the key's path, what was given and what is allowed. Or
            there is no such model, or another one has its `project.name`.
    """
    settings, told = read_settings(path, overrides, model)
    for message in told:
        if message not in _told:
            _told.add(message)
            log.warning("%s", message)
    return settings


_told: set[str] = set()
"""What this process has said: a flow reads the settings that its command has read already."""


def read_settings(
    path: Path, overrides: Iterable[str] = (), model: str | None = None
) -> tuple[Settings, list[str]]:
    """As `load_settings`, with a sentence for each key of an earlier version, and each setting
    that is left out because another method was chosen.

    Raises:
        BadInput: as `load_settings`.
    """
    source = _Source(path)
    if path != DEFAULT_FILE or path.exists():
        source.read()
    if model is not None:
        source.read_model(model)
    source.override(overrides)
    load_plugins(plugins_of(source.values))
    source.fit_method()
    try:
        settings = Settings.model_validate(source.values)
    except ValidationError as error:
        found = messages.problems(error, Settings, source.values)
        raise BadInput("\n".join(f"{source.place(p.path)}: {p.sentence}" for p in found)) from None
    return settings, source.told


@dataclass
class _Source:
    """What a file and `--set` give, and which of them gave what."""

    file: Path
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    """File and line of each key."""
    of_model: set[Key] = field(default_factory=set)
    """Keys that the model's own file gives."""
    overridden: dict[Key, str] = field(default_factory=dict)
    """What `--set` gave, with the key as it was written."""
    carried: set[str] = field(default_factory=set)
    """Settings of methods that were given by an old key, which every method had."""
    told: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Read the file.

        Raises:
            BadInput: there is none, or it is no YAML with sections.
        """
        self.values, self.places = self._read(self.file)

    def read_model(self, name: str) -> None:
        """Lay the file of a model over what was read.

        Where it does not say otherwise, the model has a registered name, traffic and feedback of
        its own.

        Raises:
            BadInput: there is no such model; its file is no YAML with sections; or another model
                is registered under the same name.
        """
        params, file = self.file, model_file(self.file, name)
        default = registered_name(self.values, Project().name)
        values, places = self._read(file)
        if isinstance(_given(values, "tune", "method", None), str):  # short for its name
            places["tune", "method", "name"] = places["tune", "method"]
        own = registered_name(values, name)
        for other, path in [(default, params), *registered_names(params)]:
            if other.casefold() == own.casefold() and path != file:
                place = places.get(("project", "name"), str(file))
                raise BadInput(
                    f"{place}: project.name: {own} is the name of the model of {path}, too: two "
                    "models that are registered under one name would decide for each other"
                )
        self.of_model = set(places)
        lay_over(self.values, values, self.places, places)
        self.file = file
        self._of_its_own(("project", "model"), name)
        self._of_its_own(("project", "name"), name)
        self._of_its_own(("watch", "traffic"), f"data/{name}/traffic")
        self._of_its_own(("curate", "feedback"), f"data/{name}/feedback")
        self._judge_on_own_windows(f"data/{name}/benchmarks")

    def _judge_on_own_windows(self, folder: str) -> None:
        """Windows that the model has answered become benchmarks of this model, not of others.

        It is judged on the project's benchmarks as well, unless its file names its own.
        """
        if ("evaluate", "benchmarks") in self.of_model:
            return
        self._of_its_own(("watch", "benchmarks"), folder)
        if _given(self.values, "watch", "benchmarks", None) != folder or not Path(folder).is_dir():
            return  # no window has been answered yet
        for section, default in (("evaluate", Evaluate()), ("curate", Curate())):
            shared = _given(self.values, section, "benchmarks", default.benchmarks)
            if isinstance(shared, list):
                self._of_its_own((section, "benchmarks"), [*shared, folder])

    def _read(self, file: Path) -> tuple[dict[str, Any], dict[Key, str]]:
        document = _read_yaml(file)
        migrated = migration.migrate(document.value, str(file), document.lines)
        self.carried |= migrated.carried
        self.told += migrated.messages
        return migrated.values, {key: f"{file}:{line}" for key, line in migrated.lines.items()}

    def _of_its_own(self, key: Key, value: Any) -> None:
        """Set what the model's file does not set; a malformed section is left to validation."""
        section = self.values.setdefault(key[0], {})
        if key not in self.of_model and isinstance(section, dict):
            section[key[1]] = value
            self.places[key] = str(self.file)

    def override(self, overrides: Iterable[str]) -> None:
        """Apply `section.key=value`, one after another.

        Raises:
            BadInput: one is malformed, or two that are the same setting disagree.
        """
        for text in overrides:
            key, value = _parsed(text)
            if gone := migration.removed(key):
                self.told.append(f"--set {gone}")
                continue
            new, carried, message = migration.migrate_key(key, value)
            if carried:
                self.carried.add(carried)
            if message:
                self.told.append(message)
            path = self._path(new)
            if isinstance(value, str) and _chosen(path):
                path = (*path, "name")
            other = self.overridden.get(path, key)
            target = self._target(path, text)
            if other != key and target.get(path[-1]) != value:
                raise BadInput(
                    f"--set {text}: {other} is the same setting, and is given another value; "
                    f"give {'.'.join(path)} once"
                )
            if path[:2] == ("sweep", "space") and len(path) > 2:
                migration.set_axis(target, path[-1], value)
            else:
                target[path[-1]] = value
            self.overridden[path] = key

    def _path(self, key: str) -> Key:
        """A key's parts. What is below a setting that has free keys is one part."""
        parts = key.split(".")
        model: type[BaseModel] | None = Settings
        given: Any = self.values
        for i, part in enumerate(parts[:-1]):
            if model is None:
                break
            if has_free_keys(model, part):
                return (*parts[: i + 1], ".".join(parts[i + 1 :]))
            given = given.get(part) if isinstance(given, dict) else None
            model = section_of(model, part, given)
        return tuple(parts)

    def _target(self, path: Key, text: str) -> dict[str, Any]:
        """The mapping that a key is in, made where it is missing."""
        target: dict[str, Any] = self.values
        model: type[BaseModel] | None = Settings
        for part in path[:-1]:
            if target.get(part) is None:
                target[part] = free_keys(model, part)
            elif isinstance(target[part], str) and model and chosen_by(model, part):
                target[part] = {"name": target[part]}
            inner = target[part]
            if not isinstance(inner, dict):
                raise BadInput(f"--set {text}: {part} is a value, not a section")
            model = section_of(model, part, inner) if model else None
            target = inner
        return target

    def fit_method(self) -> None:
        """Leave out settings of other methods that nobody gave for this one.

        They are those of the file where `--set` chooses another method, and those that an old key
        gave. Where the sweep tries a method that has them, they are set there.
        """
        tune = self.values.get("tune")
        method = tune.get("method") if isinstance(tune, dict) else None
        model = section_of(section_of(Settings, "tune"), "method", method)  # type: ignore[arg-type]
        if not isinstance(method, dict) or model is None:
            return
        chosen = self._level(("tune", "method", "name"))
        left = {
            key: method.pop(key)
            for key in [*method]
            if key not in model.model_fields
            and (key in self.carried or self._level(("tune", "method", key)) < chosen)
        }
        for key in self._given_to_trials(left):
            del left[key]
        if left:
            name = method.get("name", "lora")
            self.told.append(f"tune.method: {name} does not use {', '.join(left)}: left out")

    def _level(self, key: Key) -> int:
        """What gave a key: 2 is `--set`, 1 the model's file, 0 the project's file or nothing."""
        if key in self.overridden:
            return 2
        return int(key in self.of_model)

    def _given_to_trials(self, left: dict[str, Any]) -> set[str]:
        """Give settings to the methods of the sweep that have them; returns which."""
        sweep = self.values.get("sweep")
        space = sweep.get("space") if isinstance(sweep, dict) else None
        found = space.get("tune.method") if isinstance(space, dict) else None
        methods = found if isinstance(found, list) else []
        used: set[str] = set()
        for i, name in enumerate(methods):
            model = section_of(section_of(Settings, "tune"), "method", name)  # type: ignore[arg-type]
            own = {key: value for key, value in left.items() if model and key in model.model_fields}
            if own and isinstance(name, str):
                methods[i] = {"name": name, **own}
                used |= set(own)
        return used

    def place(self, path: Key) -> str:
        """Where a setting was given, as messages begin."""
        known = [path[:count] for count in range(len(path), 0, -1)]
        if any(part in self.overridden for part in known):
            return "--set"
        return next((self.places[part] for part in known if part in self.places), str(self.file))


def _given(values: Any, section: str, key: str, default: Any) -> Any:
    """What a file gives a key of a section; the default where it does not."""
    inner = values.get(section)
    return inner.get(key, default) if isinstance(inner, dict) else default


def _chosen(path: Key) -> bool:
    """Whether the key is that of a section which is chosen by name."""
    model: type[BaseModel] | None = Settings
    for part in path[:-1]:
        model = section_of(model, part) if model else None
    return model is not None and chosen_by(model, path[-1]) is not None


def _parsed(text: str) -> tuple[str, Any]:
    """An override's key and value."""
    key, equals, value = text.partition("=")
    key = ".".join(part.strip() for part in key.split("."))
    if not equals or "." not in key or not all(key.split(".")):
        raise BadInput(f"--set {text}: expected section.key=value, as in tune.learning_rate=0.001")
    try:
        return key, parse(value).value if value.strip() else None
    except BadYaml as error:
        raise BadInput(f"--set {text}: the value is not valid YAML: {error}") from None


def _read_yaml(path: Path) -> Document:
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; name one with --params FILE") from None
    except BadYaml as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise BadInput(f"{where}: not valid YAML: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # no UTF-8, or a path with a NUL
        raise BadInput(f"{path}: cannot be read: {error}") from None
    if document.value is None:
        return Document({}, {})
    if not isinstance(document.value, dict):
        found = messages.short(document.value)
        raise BadInput(f"{path}: expected sections (`tune:` and so on), found {found}")
    return document
