"""What comes in kinds (methods, objectives, metrics, filters, formats): one registry shape.

A kind is a Protocol (or a base class) and a `PluginRegistry` of its members. A member is found in
one of three places:

- a module of the kind's own package: adding one to Perpetune is adding a file there;
- an installed package with an entry point in the group `perpetune.KIND`, such as
  `perpetune.metrics`, that names a module;
- a user's file or module, by a line in params.yaml: `project.plugins: [my_metric.py]`.

Each of these modules registers its members when it is imported:

    @METRICS.register
    class WordCount:
        name = "word_count"
        ...
"""

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, Protocol, TypeVar

from tasks.core.errors import BadInput


class Named(Protocol):
    """What every member has."""

    @property
    def name(self) -> str:
        """By which settings, reports and documentation know it."""
        ...


T = TypeVar("T", bound=Named)


class PluginRegistry(Generic[T]):
    """The members of one kind, in the order of their names' registration.

    Args:
        kind: what a member is called in messages, in the singular: "metric".
        package: the package whose modules hold the members that Perpetune brings; they are imported
            when a member is first asked for. None: the members register themselves.
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self.group = f"perpetune.{plural.replace(' ', '_')}"
        self._package = package
        self._members: dict[str, T] = {}
        self._complete = False

    def register(self, member: Callable[[], T]) -> Callable[[], T]:
        """Decorate a class without arguments: an instance of it becomes a member."""
        self.add(member())
        return member

    def add(self, member: T) -> T:
        """Make `member` known.

        Raises:
            BadInput: another member has its name.
        """
        other = self._members.get(member.name)
        if other is not None and _origin(other) != _origin(member):
            raise BadInput(
                f"two {self.kind}s are called {member.name}: one of {_origin(other)}, one of "
                f"{_origin(member)}; rename one of them"
            )
        self._members[member.name] = member
        return member

    def get(self, name: str) -> T:
        """The member of that name.

        Raises:
            BadInput: there is none; the message names those there are.
        """
        members = self.members()
        if name not in members:
            close = difflib.get_close_matches(name, members, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(members)}"
            raise BadInput(
                f"{name}: no such {self.kind}; {hint} "
                "(one of your own: name its file in project.plugins)"
            )
        return members[name]

    def members(self) -> dict[str, T]:
        """All members by name."""
        if not self._complete:
            self._complete = True
            if self._package:
                package = importlib.import_module(self._package)
                for module in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{self._package}.{module.name}")
            for point in importlib.metadata.entry_points(group=self.group):
                point.load()
        return dict(self._members)

    def __iter__(self) -> Iterator[T]:
        return iter(self.members().values())


def _origin(member: object) -> str:
    return getattr(member, "__module__", None) or type(member).__module__


_PREFIX = "perpetune_plugin_"


def load_plugins(plugins: Iterable[str]) -> None:
    """Import the user's modules, which register their members. Each is imported once a process.

    Processes that receive members by pickle call this first.

    Args:
        plugins: paths of Python files, or dotted names of importable modules
            (`project.plugins`).

    Raises:
        BadInput: there is no such file or module, or it fails when it is imported.
    """
    for plugin in plugins:
        if plugin.endswith(".py"):
            _load_file(Path(plugin))
            _loaded[str(Path(plugin).resolve())] = None
        else:
            _import(plugin, lambda name=plugin: importlib.import_module(name))  # type: ignore[misc]
            _loaded[plugin] = None


_loaded: dict[str, None] = {}


def loaded_plugins() -> list[str]:
    """What this process has loaded, in that order, with absolute paths: what a process that gets
    members or settings from this one gives to `load_plugins` first."""
    return list(_loaded)


def plugin_hashes(plugins: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each plugin's source, by how it is named in the settings: part of a round's key.

    Raises:
        BadInput: as `load_plugins`.
    """
    hashes = {}
    for plugin in plugins:
        path = Path(plugin)
        if not plugin.endswith(".py"):
            try:
                found = importlib.util.find_spec(plugin)
            except ImportError:  # a package of the dotted name is missing
                found = None
            if found is None or found.origin is None:
                raise BadInput(_missing(plugin))
            path = Path(found.origin)
        try:
            hashes[plugin] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise BadInput(f"project.plugins: {plugin}: {error.strerror}") from None
    return hashes


def _load_file(path: Path) -> None:
    resolved = path.resolve()
    name = _PREFIX + hashlib.sha256(str(resolved).encode()).hexdigest()[:12]
    if name in sys.modules:
        return
    if not resolved.is_file():
        raise BadInput(_missing(str(path)))
    found = importlib.util.spec_from_file_location(name, resolved)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    loader = found.loader

    def execute() -> ModuleType:
        loader.exec_module(module)
        return module

    try:
        _import(str(path), execute)
    except BaseException:
        del sys.modules[name]
        raise


def _import(plugin: str, load: Callable[[], ModuleType]) -> None:
    try:
        load()
    except BadInput:
        raise
    except ModuleNotFoundError as error:
        if error.name and plugin.split(".")[0] == error.name.split(".")[0]:
            raise BadInput(_missing(plugin)) from None
        raise BadInput(f"project.plugins: {plugin}: {error}; install it") from None
    except Exception as error:  # noqa: BLE001 (a user's code may raise anything)
        frames = traceback.extract_tb(error.__traceback__)
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno
        raise BadInput(
            f"project.plugins: {plugin}, line {line}: {type(error).__name__}: {error}"
        ) from None


def _missing(plugin: str) -> str:
    return (
        f"project.plugins: {plugin}: no such file or module; give the path of a .py file "
        "(relative to this folder) or the name of an installed module"
    )
