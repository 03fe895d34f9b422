"""Packages whose modules are imported when something of them is first used."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`, which imports what the package exports when it is asked for.

    Settings, `--help` and `status` import packages without the libraries that their work takes.

        if TYPE_CHECKING:
            from tasks.curate.run.pipeline import curate

        __all__ = ["curate"]
        __getattr__ = lazy_exports(__name__, {"curate": "run.pipeline"})

    No export has the name of a module in the package: importing the module would hide it.

    Args:
        package: `__name__` of the package.
        modules: where each exported name is, relative to the package.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
