"""Bad input at the command line: a clear message, the right exit code, nothing half-written."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PERPETUNE = str(Path(sys.executable).parent / "perpetune")


def perpetune(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PERPETUNE, *arguments], cwd=folder, capture_output=True, text=True, **options
    )


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    (tmp_path / "params.yaml").write_text(f"base: {{model: {tiny_base}, dtype: float32}}\n")
    return tmp_path


GOOD = {"prompt": "What does the function do, given a list?", "completion": "It sorts the list."}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["status", "--set", "tune.rnk=3"],
            "tune.rnk: unknown key; did you mean tune.method.rank?",
        ),
        (
            ["status", "--set", "tune.method.rank=0"],
            "tune.method.rank: given 0; allowed: a number of at least 1",
        ),
        (["status", "--set", "tune"], "expected section.key=value"),
        (
            ["status", "--set", "project.tracking_uri=postgresql://ann:" + "hidden@db/mlflow"],
            "--set project.tracking_uri=postgresql://ann:***@db/mlflow: the address holds",
        ),
        (["status", "--params", "none.yaml"], "none.yaml: no such file"),
        (["curate", "none.jsonl", "--out", "out"], "none.jsonl: no such file"),
        (["curate", "empty.jsonl", "--out", "out"], "empty.jsonl: holds no record"),
        (["curate", "good.jsonl", "--against", "none.jsonl", "--out", "out"], "none.jsonl"),
        (["curate", "good.jsonl", "--against", "empty.jsonl", "--out", "out"], "empty.jsonl"),
        (["train", "--data", "none", "--out", "out"], "none"),
        (["evaluate", "none", "--data", "good.jsonl"], "none: no such adapter folder"),
        (["evaluate", "models:/nothing@champion", "--data", "good.jsonl"], "nothing"),
        (
            ["evaluate", "base", "--data", "good.jsonl", "--set", "base.model=./gone"],
            "base.model: './gone' is no folder here",
        ),
        (
            ["evaluate", "base", "--data", "good.jsonl", "--set", "base.model=package:gone"],
            "the package gone is not installed",
        ),
        (["drift", "--reference", "good.jsonl", "--current", "broken.jsonl"], "broken.jsonl:2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_named_with_its_remedy(
    folder: Path, write_lines: Callable[..., Path], arguments: list[str], message: str
) -> None:
    write_lines("good.jsonl", *[GOOD] * 3)
    write_lines("broken.jsonl", GOOD, '{"prompt": "no end')
    (folder / "empty.jsonl").write_text("")
    before = {path.name for path in folder.iterdir()}
    done = perpetune(folder, *arguments, "--json")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert message in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr
    assert {path.name for path in folder.iterdir()} - before <= {".perpetune"}


def test_malformed_lines_are_dropped_and_listed(
    folder: Path, write_lines: Callable[..., Path]
) -> None:
    rows = [
        GOOD | {"id": str(n), "completion": f"It sorts list number {n}.", "group": str(n % 9)}
        for n in range(30)
    ]
    write_lines("mixed.jsonl", *rows[:5], '{"prompt": "no end', *rows[5:])
    done = perpetune(folder, "curate", "mixed.jsonl", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["in"] == 31
    dropped = [json.loads(line) for line in (folder / "out/dropped.jsonl").read_text().splitlines()]
    broken = [row for row in dropped if row["reason"] == "invalid_json"]
    assert [(Path(row["source"]).name, row["line"]) for row in broken] == [("mixed.jsonl", 6)]


def hash_words(number: int) -> str:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return " ".join(digest[i : i + 4] for i in range(0, 64, 4))


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, write_lines: Callable[..., Path]
) -> None:
    rows = [
        GOOD | {"id": str(n), "completion": f"It sorts list {n} by {hash_words(n)}."}
        for n in range(400)
    ]
    write_lines("many.jsonl", *rows)

    def small_files() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = perpetune(folder, "curate", "many.jsonl", "--out", "out", preexec_fn=small_files)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert not (folder / "out").exists() or not list((folder / "out").rglob("*"))
    again = perpetune(folder, "curate", "many.jsonl", "--out", "out")
    assert again.returncode == 0, again.stderr


def test_against_takes_every_benchmark_up_to_the_next_option(
    folder: Path, write_lines: Callable[..., Path]
) -> None:
    rows = [
        GOOD | {"id": str(n), "completion": f"It sorts list number {n}.", "group": str(n % 9)}
        for n in range(30)
    ]
    write_lines("in.jsonl", *rows)
    for name in ("a", "b"):
        write_lines(f"{name}.jsonl", {"text": f"a benchmark that shares nothing with it {name}"})
    done = perpetune(
        folder, *("curate", "in.jsonl", "--against", "a.jsonl", "b.jsonl", "--out", "out", "--json")
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["in"] == 30


def test_a_downloaded_archive_is_told_at_once_that_it_needs_git(folder: Path) -> None:
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    done = perpetune(folder, "run", "--json")
    assert done.returncode == 2
    assert "in no git repository, which DVC needs" in json.loads(done.stdout)["error"]
    assert "git init" in done.stderr
    assert not (folder / ".perpetune/prefect/prefect.db").exists()  # no server was started


def test_names_with_any_letter_work_whatever_the_locale(
    folder: Path, write_lines: Callable[..., Path]
) -> None:
    write_lines("träin ?#%41.jsonl", *({"text": f"word {n} " * 3} for n in range(3)))
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ["label", "träin ?#%41.jsonl", "--budget", "2", "--out", "hinaus ü.jsonl"]
    done = perpetune(folder, *arguments, "--json", env=os.environ | locale)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == "hinaus ü.jsonl"
    assert (folder / "hinaus ü.jsonl").is_file()
