"""Who may import whom: `perpetune → flows → tasks`, no circles, each tool in its own package."""

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
TOP = ("perpetune", "flows", "tasks")
SOURCES = sorted(path for top in TOP for path in (PROJECT / top).rglob("*.py"))
OPEN = ("core", "settings", "records", "model", "rendering")
"""Packages of tasks whose modules every other package may import."""
BASIS = {
    "core": (),
    "settings": ("core",),
    "records": ("core", "settings"),
    "rendering": ("core",),
    "model": ("core", "settings", "records", "rendering"),
}
"""What the open packages may import themselves; settings also composes the others' `settings`."""
OWNERS = {
    "prefect": ("flows",),
    "mlflow": ("tasks/registry",),
    "click": ("perpetune",),
    "rich": ("perpetune",),
}
"""Tools that one part of the project knows."""


def module_name(path: Path) -> str:
    """`tasks/curate/x.py` → `tasks.curate.x`; `tasks/curate/__init__.py` → `tasks.curate`."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, at the top or inside a function, once each."""
    found: dict[str, None] = {}
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found[full if full in MODULES else node.module or ""] = None
    return tuple(found)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from _running(node)


def own_imports(path: Path) -> Iterator[str]:
    """Those of `imports` that are modules of this project."""
    yield from (module for module in imports(path) if module.split(".")[0] in TOP)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    here = module_name(path).split(".")
    for module in imports(path):
        parts = module.split(".")
        owners = OWNERS.get(parts[0])
        if owners:
            allowed = [PROJECT / owner for owner in owners]
            assert any(path.is_relative_to(owner) for owner in allowed), (
                f"only {' and '.join(owners)} know {parts[0]}"
            )
        if parts[0] in TOP:
            assert TOP.index(here[0]) <= TOP.index(parts[0]), f"{here[0]} imports {module}"
        if parts[0] != "tasks" or len(parts) < 2:
            continue
        if here[0] == "tasks" and len(here) > 1 and here[1] in BASIS and parts[1] != here[1]:
            composes = here[1] == "settings" and parts[2:] == ["settings"]
            assert parts[1] in BASIS[here[1]] or composes, f"{module} stands on {here[1]}"
        inside = here[:2] == parts[:2]
        if not inside and parts[1] not in OPEN and len(parts) > 2 and parts[2:] != ["settings"]:
            public = importlib.import_module(".".join(parts[:2])).__all__
            assert parts[2:] in ([name] for name in public), f"{module} is private"


def test_modules_form_no_circle() -> None:
    arrows = {
        name: [module for module in own_imports(path) if module != name]
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target in arrows.get(name, ()):
            visit(target, (*path, name))
        done.add(name)

    for name in arrows:
        visit(name, ())


@pytest.mark.parametrize("command", [["--help"], ["status", "--json"], ["settings", "--json"]])
def test_quick_commands_do_not_import_torch(command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from perpetune.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
