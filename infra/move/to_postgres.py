#!/usr/bin/env python
"""Moves MLflow's data from a project's SQLite file to PostgreSQL, for a server's artifacts.

    python infra/move/to_postgres.py .perpetune/mlflow.db postgresql://mlflow@HOST/mlflow

MLflow has no command for it. Both databases have to be at the same version of MLflow's tables
(`mlflow db upgrade`), and the new one has to be empty. Rows are copied table by table in one
transaction, the counters of PostgreSQL are set, and the numbers of rows compared: all or nothing.

Recorded places of artifacts (`file:///…/mlartifacts/1/…`) become those that a server with
`--artifacts-destination` hands out (`mlflow-artifacts:/1/…`): copy the folder there as it is, say
`rclone copy .perpetune/mlartifacts store:mlflow/artifacts`. Afterwards `perpetune audit` compares
every file with the digest that the decision log has. Nothing is changed in the SQLite file.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, create_engine, func, inspect, select, text

_VERSION = "alembic_version"
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_BATCH = 1000


def main() -> int:
    """Move, and say how many rows of which table."""
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_file():
        sys.stderr.write(f"usage: {sys.argv[0]} .perpetune/mlflow.db postgresql://…\n")
        return 2
    source = create_engine(f"sqlite:///{Path(sys.argv[1]).absolute()}")
    target = create_engine(sys.argv[2])
    tables = MetaData()
    tables.reflect(target)
    with source.connect() as old, target.begin() as new:
        problem = _problem(old, new, tables)
        if problem:
            sys.stderr.write(f"{problem}\n")
            return 2
        for table in reversed(tables.sorted_tables):
            if table.name != _VERSION:
                new.execute(table.delete())  # what MLflow has put into its new database
        known = set(inspect(old).get_table_names())
        for table in tables.sorted_tables:
            if table.name in known and table.name != _VERSION:
                sys.stdout.write(f"{table.name}: {_copy(old, new, table)}\n")
    return 0


def _problem(old: Connection, new: Connection, tables: MetaData) -> str | None:
    """Why nothing can be moved; None: it can."""
    versions = [
        connection.execute(text(f"SELECT version_num FROM {_VERSION}")).scalar()  # noqa: S608
        for connection in (old, new)
        if inspect(connection).has_table(_VERSION)
    ]
    if len(versions) != 2 or versions[0] != versions[1]:
        return f"the tables are of different versions ({versions}): run `mlflow db upgrade` on both"
    missing = set(inspect(old).get_table_names()) - tables.tables.keys()
    if missing:
        return f"the new database lacks {', '.join(sorted(missing))}"
    for name in ("runs", "registered_models"):
        if new.execute(select(func.count()).select_from(tables.tables[name])).scalar():
            return f"the new database is not empty: {name} has rows"
    return None


def _copy(old: Connection, new: Connection, table: Table) -> int:
    """Copy all rows; returns their number.

    Raises:
        RuntimeError: fewer rows have arrived than there were.
    """
    there = MetaData()
    source = Table(table.name, there, autoload_with=old)
    columns = [column.name for column in table.columns if column.name in source.columns]
    batch: list[dict[str, Any]] = []
    for row in old.execute(select(*(source.c[name] for name in columns))):
        batch.append(dict(zip(columns, row, strict=True)))
        if len(batch) == _BATCH:
            new.execute(table.insert(), list(_adapted(batch, table)))
            batch.clear()
    if batch:
        new.execute(table.insert(), list(_adapted(batch, table)))
    wanted = old.execute(select(func.count()).select_from(source)).scalar()
    found = new.execute(select(func.count()).select_from(table)).scalar()
    if wanted != found:
        raise RuntimeError(f"{table.name}: {found} of {wanted} rows have arrived")
    for column in table.primary_key.columns:
        _set_counter(new, table, column.name)
    return int(found or 0)


def _adapted(rows: list[dict[str, Any]], table: Table) -> Iterator[dict[str, Any]]:
    """Rows with places as the server has them, and with types as PostgreSQL wants them."""
    places = _PLACES.get(table.name, ())
    flags = [column.name for column in table.columns if column.type.python_type is bool]
    for row in rows:
        for name in places:
            row[name] = _place(row.get(name))
        for name in flags:
            if row.get(name) is not None:
                row[name] = bool(row[name])
        yield row


def _place(location: str | None) -> str | None:
    if location is None or not location.startswith(("file:", "/")):
        return location
    _, found, inside = location.rpartition("/mlartifacts")
    return f"mlflow-artifacts:{inside or '/'}" if found else location


def _set_counter(new: Connection, table: Table, column: str) -> None:
    """Let numbers that PostgreSQL gives go on after those that were copied."""
    found = new.execute(
        text("SELECT pg_get_serial_sequence(:name, :column)"),
        {"name": table.name, "column": column},
    ).scalar()
    if found:
        highest = new.execute(select(func.max(table.c[column]))).scalar()
        if highest is not None:
            new.execute(text("SELECT setval(:name, :value)"), {"name": found, "value": highest})


if __name__ == "__main__":
    sys.exit(main())
