"""A project that was moved or copied: where its artifacts are now.

MLflow records artifacts by absolute path. In a project's own database, every recorded location that
leads into a folder `mlartifacts` other than that of the present state folder is one of before the
project was moved, or of the project that this one was copied from, which is never written into.
Who reads translates such locations in memory; who writes has them rewritten first.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tasks.core.values import Value

ARTIFACTS = "mlartifacts"
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
_ONLY = {"trace_tags": "key = 'mlflow.artifactLocation'"}


class Relocation(Value):
    """What a moved or copied project has recorded of its place before."""

    here: str
    """Where its artifacts are."""
    elsewhere: tuple[str, ...] = ()
    """Other folders to which recorded locations lead."""
    locations: int = 0
    """How many do."""


def local_path(location: str) -> Path | None:
    """The path of a location on this machine, given as `file:` URI or as path; None of others."""
    if not location.startswith("file:"):
        return Path(location) if location.startswith("/") else None
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.netloc in ("", "localhost") else None


def located(location: str, here: Path) -> str:
    """A recorded location as it is now that artifacts are in the folder `here`.

    What leads to no folder `mlartifacts` was put there by somebody, and stays.
    """
    path = local_path(location)
    if path is None or path.is_relative_to(here) or ARTIFACTS not in path.parts:
        return location
    inside = path.parts[len(path.parts) - path.parts[::-1].index(ARTIFACTS) :]
    return here.joinpath(*inside).as_uri()


def examine(database: Path, here: Path) -> Relocation:
    """Which locations in MLflow's SQLite file lead to another place; reads only.

    Args:
        database: the file.
        here: absolute path of the present folder `mlartifacts`.
    """
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as store:
        found = list(_misplaced(store, here))
    folders = {_root(location) for _, _, _, location in found}
    return Relocation(here=str(here), elsewhere=tuple(sorted(folders)), locations=len(found))


def rewrite(database: Path, here: Path) -> Relocation:
    """Have every such location lead to `here`, all or none; returns what was changed."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        found = list(_misplaced(store, here))
        for table, column, row, location in found:
            store.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = ?",  # noqa: S608 (names of ours)
                (located(location, here), row),
            )
        store.execute("COMMIT")
    folders = {_root(location) for _, _, _, location in found}
    return Relocation(here=str(here), elsewhere=tuple(sorted(folders)), locations=len(found))


def _misplaced(store: sqlite3.Connection, here: Path) -> Iterator[tuple[str, str, int, str]]:
    """Table, column, row and location of what leads elsewhere."""
    tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
    for table, column in _COLUMNS:
        if table not in tables:
            continue
        where = _ONLY.get(table, f"{column} IS NOT NULL")
        for row, location in store.execute(
            f"SELECT rowid, {column} FROM {table} WHERE {where}"  # noqa: S608 (names of ours)
        ):
            if located(location, here) != location:
                yield table, column, row, location


def _root(location: str) -> str:
    path = local_path(location)
    assert path is not None
    return str(Path(*path.parts[: len(path.parts) - path.parts[::-1].index(ARTIFACTS)]))
