"""What holds for every decision log: in MLflow, in a file, in a table of a database."""

import resource
import signal
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.core.errors import PerpetuneError
from tasks.decisions import (
    Conflict,
    DecisionLog,
    Entry,
    FileLog,
    Registration,
    Request,
    SqlLog,
    State,
    advance,
    decide,
    replay,
    restorable,
    seal,
)
from tasks.registry.connection import Connection, _create
from tasks.registry.decision_log import ENTRY, MlflowDecisionLog
from tasks.settings import Settings


@dataclass
class Kept:
    """A log, and how somebody tampers with the entry of a number."""

    open: Callable[[str], DecisionLog]
    edit: Callable[[int], None]
    delete: Callable[[int], None]
    there: Callable[[], bool]


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    _create(path)
    return path.read_bytes()


def in_file(tmp_path: Path) -> Kept:
    path = tmp_path / "decisions.jsonl"

    def change(number: int, text: str | None) -> None:
        lines = path.read_text().splitlines()
        hit = next(n for n, line in enumerate(lines) if f'"number":{number},' in line)
        lines[hit : hit + 1] = [] if text is None else [lines[hit].replace('"by":"', text)]
        path.write_text("".join(f"{line}\n" for line in lines))

    return Kept(
        lambda model: FileLog(path, model),
        lambda number: change(number, '"by":"x'),
        lambda number: change(number, None),
        path.exists,
    )


def in_sql(tmp_path: Path) -> Kept:
    path = tmp_path / "decisions.db"

    def run(statement: str, number: int) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(f"{statement} WHERE number = ? AND model = 'm'", (number,))
        connection.close()

    return Kept(
        lambda model: SqlLog(f"sqlite:///{path}", model),
        lambda number: run(
            'UPDATE perpetune_decisions SET entry = replace(entry, \'"by":"\', \'"by":"x\')',
            number,
        ),
        lambda number: run("DELETE FROM perpetune_decisions", number),
        lambda: path.exists() and path.stat().st_size > 0,
    )


def in_mlflow(tmp_path: Path, database: bytes) -> Kept:
    (tmp_path / "mlflow.db").write_bytes(database)
    project = {"name": "m", "state_dir": str(tmp_path)}
    connection = Connection(Settings.model_validate({"project": project}))

    def version(number: int) -> tuple[str, str]:
        with connection.client() as client:
            found = client.search_model_versions("name = 'm decisions'")
        hit = next(item for item in found if item.tags["number"] == str(number))
        return hit.version, hit.tags[ENTRY]

    def edit(number: int) -> None:
        with connection.client() as client:
            place, text = version(number)
            changed = text.replace('"by":"', '"by":"x')
            client.set_model_version_tag("m decisions", place, ENTRY, changed)

    def delete(number: int) -> None:
        with connection.client() as client:
            client.delete_model_version("m decisions", version(number)[0])

    def there() -> bool:
        with connection.client() as client:
            return bool(client.search_registered_models())

    return Kept(lambda model: MlflowDecisionLog(connection, model), edit, delete, there)


@pytest.fixture(params=["file", "sql", "mlflow"])
def kept(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_mlflow: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = {"file": in_file, "sql": in_sql, "mlflow": lambda path: in_mlflow(path, empty_mlflow)}
    return made[request.param](tmp_path)


def register(state: State, comment: str = "", files: int = 1) -> Entry:
    number = len(state.versions) + 1
    made = Registration(
        round=f"k{number}",
        outcome="passed",
        run_id="r",
        model_id="x",
        model={f"file {n}": "00" * 32 for n in range(files)},
        evidence={},
    )
    asked = Request(
        action="register", version=number, by="Ann", at="now", registration=made, comment=comment
    )
    return seal(state, decide(state, asked))


def written(kept: Kept, count: int, model: str = "m") -> State:
    state, log = State(model), kept.open(model)
    for _ in range(count):
        entry = register(state)
        log.begin(entry)
        log.finish(entry)
        state = advance(state, entry)
    return state


def test_reading_makes_nothing(kept: Kept) -> None:
    assert list(kept.open("m").stored()) == []
    assert not kept.there()


def test_what_is_begun_counts_and_what_is_finished_says_so(kept: Kept) -> None:
    one = register(State("m"), 'Ä 判断 🙂 \x1b[31m [link](http://x) "quoted"\n<b>')
    kept.open("m").begin(one)
    state = replay("m", kept.open("m").stored())
    assert (state.entries, state.unfinished) == ((one,), (one,))
    kept.open("m").finish(one)
    kept.open("m").finish(one)
    state = replay("m", kept.open("m").stored())
    assert (state.entries, state.unfinished, state.problems) == ((one,), (), ())


def test_an_entry_of_many_files_comes_back_whole(kept: Kept) -> None:
    entry = register(State("m"), files=1500)
    kept.open("m").begin(entry)
    assert len(entry.canonical()) > 100_000
    assert replay("m", kept.open("m").stored()).entries == (entry,)


def test_a_number_is_given_once(kept: Kept) -> None:
    state = written(kept, 1)
    late = register(State("m"), "too late")
    with pytest.raises(Conflict):
        kept.open("m").begin(late)
    assert replay("m", kept.open("m").stored()) == state


def test_models_in_one_log_are_apart(kept: Kept) -> None:
    states = [written(kept, 2, model) for model in ("m", "other")]
    for state in states:
        assert replay(state.model, kept.open(state.model).stored()) == state


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("how", ["edit", "delete"])
def test_tampering_is_seen_and_a_copy_puts_it_right(kept: Kept, number: int, how: str) -> None:
    state = written(kept, 3)
    getattr(kept, how)(number)
    stored = kept.open("m").stored()
    found = replay("m", stored)
    assert len(found.entries) == number - 1
    last_is_gone = how == "delete" and number == 3
    assert bool(found.problems) != last_is_gone
    if how == "edit":
        assert "was changed" in found.problems[0].what
    elif found.problems:
        assert f"entry {number} is missing before entry {number + 1}" in found.problems[0].what
    (lacking,) = restorable(stored, state.entries)
    assert lacking.number == number
    kept.open("m").restore(lacking)
    whole = replay("m", kept.open("m").stored())
    assert (whole.entries, whole.problems) == (state.entries, ())
    entry = register(whole)
    kept.open("m").begin(entry)
    assert replay("m", kept.open("m").stored()).entries[-1] == entry


def test_many_writers_at_once_make_one_chain(kept: Kept) -> None:
    written(kept, 1)
    conflicts, start = [], threading.Barrier(6)

    def write(name: str) -> None:
        log = kept.open("m")
        start.wait()
        while True:
            entry = register(replay("m", log.stored()), name)
            try:
                log.begin(entry)
            except Conflict:
                conflicts.append(name)
                continue
            except PerpetuneError as error:
                if "locked" not in str(error):  # SQLite, whose writers wait for one another
                    raise
                continue
            log.finish(entry)
            return

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = replay("m", kept.open("m").stored())
    assert state.problems == () == state.unfinished
    assert [entry.number for entry in state.entries] == list(range(1, 8))
    assert sorted(entry.comment for entry in state.entries[1:]) == list("012345")


def test_a_file_without_space_is_as_it_was(tmp_path: Path) -> None:
    kept = in_file(tmp_path)
    state = written(kept, 2)
    before = (tmp_path / "decisions.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        with pytest.raises(PerpetuneError, match="nothing was changed"):
            kept.open("m").begin(register(state))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "decisions.jsonl").read_bytes() == before
    kept.open("m").begin(register(state))


@pytest.mark.parametrize("url", ["nonsense://x/y", "postgresql+nodriver://u:secret@h/d"])
def test_a_database_that_cannot_be_used_is_bad_input(url: str) -> None:
    with pytest.raises(PerpetuneError, match=r"decisions\.log") as caught:
        SqlLog(url, "m").stored()
    assert "secret" not in str(caught.value)
