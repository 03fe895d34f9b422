"""The walls of the house: who may know whom."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCES = sorted([*PROJECT.glob("flows/**/*.py"), *PROJECT.glob("tasks/**/*.py")])


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """`tasks/curate/x.py` → `tasks.curate`; `tasks/files.py` → `tasks.files`."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts[:2])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_walls(path: Path) -> None:
    for module in imports(path):
        top = module.split(".")[0]
        if top == "prefect":
            assert path.is_relative_to(PROJECT / "flows"), "only flows/ knows Prefect"
        if top == "mlflow":
            assert path.is_relative_to(PROJECT / "tasks/registry"), (
                "only tasks/registry knows MLflow"
            )
        if top == "flows":
            assert path.is_relative_to(PROJECT / "flows"), "tasks never reach back into flows"
        parts = module.split(".")
        if top == "tasks" and len(parts) > 2 and (PROJECT / "tasks" / parts[1]).is_dir():
            inside = ".".join(parts[:2]) == room(path)
            public = importlib.import_module(".".join(parts[:2])).__all__
            assert inside or parts[2:] in ([name] for name in public), f"{module} is private"


def test_rooms_form_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in SOURCES:
        if path.is_relative_to(PROJECT / "tasks") and path.name != "__init__.py":
            targets = {".".join(m.split(".")[:2]) for m in imports(path) if m.startswith("tasks.")}
            arrows.setdefault(room(path), set()).update(targets - {room(path)})

    def reach(start: str, seen: frozenset[str]) -> None:
        assert start not in seen, f"circle through {start}"
        for target in arrows.get(start, ()):
            reach(target, seen | {start})

    for start in arrows:
        reach(start, frozenset())


@pytest.mark.parametrize("command", [["--help"], ["status", "--json"]])
def test_quick_commands_do_not_import_torch(command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flows.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
