"""The decision log as one table of a database; its primary key admits each number once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput, PerpetuneError, first_line
from tasks.decisions.log import Conflict, Stored
from tasks.decisions.values import Entry

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table


class SqlLog:
    """A `DecisionLog` in the table `perpetune_decisions`, which may hold several models."""

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model
        self._opened: tuple[Engine, Table] | None = None

    @property
    def where(self) -> str:
        """The database, without a password."""
        from sqlalchemy import make_url

        return make_url(self._url).render_as_string(hide_password=True)

    def stored(self) -> Sequence[Stored]:
        """Everything in the log, in its order."""
        from sqlalchemy import inspect, select

        with self._connected(writes=False) as connection:
            table = self._table
            if not inspect(connection).has_table(table.name):
                return []
            mine = select(table).where(table.c.model == self._model).order_by(table.c.number)
            return [
                Stored(
                    text=row.entry,
                    place=f"row {row.number} of {table.name}",
                    finished=bool(row.finished),
                )
                for row in connection.execute(mine)
            ]

    def begin(self, entry: Entry) -> None:
        """Append an entry; see `DecisionLog.begin`."""
        from sqlalchemy.exc import IntegrityError

        try:
            with self._connected(writes=True) as connection:
                connection.execute(self._table.insert().values(**_row(entry)))
        except IntegrityError:
            raise Conflict(f"entry {entry.number} is in {self.where} already") from None

    def finish(self, entry: Entry) -> None:
        """Note that the aliases are as the entry says."""
        with self._connected(writes=True) as connection:
            connection.execute(self._table.update().where(*self._key(entry)).values(finished=True))

    def restore(self, entry: Entry) -> None:
        """Put back an entry that was changed or taken out; it has the hash that it had."""
        with self._connected(writes=True) as connection:
            connection.execute(self._table.delete().where(*self._key(entry)))
            connection.execute(self._table.insert().values(**_row(entry)))

    @property
    def _table(self) -> "Table":
        return self._open()[1]

    def _key(self, entry: Entry) -> tuple:  # type: ignore[type-arg]
        columns = self._table.c
        return columns.model == self._model, columns.number == entry.number

    def _open(self) -> "tuple[Engine, Table]":
        if self._opened is None:
            from sqlalchemy import (
                Boolean,
                Column,
                Integer,
                MetaData,
                String,
                Table,
                Text,
                create_engine,
            )
            from sqlalchemy.exc import ArgumentError, NoSuchModuleError

            try:
                engine = create_engine(self._url)
            except (ArgumentError, NoSuchModuleError, ImportError) as error:
                raise BadInput(
                    f"decisions.log: {first_line(error)}; give `mlflow`, a file, or the SQLAlchemy "
                    "URL of a database whose driver is installed"
                ) from None
            table = Table(
                "perpetune_decisions",
                MetaData(),
                Column("model", String(200), primary_key=True),
                Column("number", Integer, primary_key=True, autoincrement=False),
                Column("entry", Text, nullable=False),
                Column("finished", Boolean, nullable=False),
            )
            self._opened = engine, table
        return self._opened

    @contextmanager
    def _connected(self, *, writes: bool) -> "Iterator[Connection]":
        """A transaction; the table is made by the first that writes."""
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        engine, table = self._open()
        try:
            if writes:
                table.create(engine, checkfirst=True)
            with engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise PerpetuneError(f"decision log at {self.where}: {first_line(error)}") from None


def _row(entry: Entry) -> dict[str, object]:
    return {
        "model": entry.model,
        "number": entry.number,
        "entry": entry.canonical(),
        "finished": False,
    }
