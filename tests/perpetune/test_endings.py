"""However a command ends: one sentence, the right exit code, one JSON object, no traceback."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perpetune.cli.main import main

WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in ("st", "rn", "lk", "p", "nd")]


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    """A project with two files of 4,000 records."""
    (tmp_path / "params.yaml").write_text(f"base: {{model: {tiny_base}, dtype: float32}}\n")
    draw = random.Random(0)
    for name in ("a", "b"):
        rows = [
            {
                "id": f"{name}-{number}",
                "prompt": f"{' '.join(draw.choices(WORDS, k=12))} {number}?",
                "completion": " ".join(draw.choices(WORDS, k=30)),
                "group": str(number % 40),
            }
            for number in range(4000)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def started(folder: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "perpetune", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def in_session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def tree(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if ".perpetune" not in path.parts}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("everybody", [True, False], ids=["terminal", "kill"])
def test_an_interrupted_curation_ends_with_130_and_leaves_nothing(
    folder: Path, as_json: bool, everybody: bool
) -> None:
    before = tree(folder)
    options = ["--out", "out", "--workers", "2", *(["--json"] if as_json else [])]
    process = started(folder, "curate", "a.jsonl", "b.jsonl", *options)
    end = time.monotonic() + 120
    # Until workers are at work.
    while time.monotonic() < end and len(in_session(process.pid)) < 3:
        time.sleep(0.05)
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert err.strip().splitlines()[-1] == "perpetune: interrupted"
    assert "Traceback" not in err
    # The children of a process that has ended are reaped a moment later.
    end = time.monotonic() + 20
    while time.monotonic() < end and in_session(process.pid):
        time.sleep(0.05)
    assert in_session(process.pid) == []
    assert tree(folder) == before


@pytest.mark.parametrize("delay", [0.3, 0.7, 1.2])
def test_an_interrupt_at_any_moment_ends_with_130(folder: Path, delay: float) -> None:
    process = started(folder, "plan", "--data", ".", "--json")
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err


def one_sentence(done: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stdout.splitlines()
    error = json.loads(line)
    assert error["exit_code"] == 1
    assert "\n" not in error["error"]
    for part in parts:
        assert part in error["error"]


def test_a_file_that_a_worker_may_not_make_larger(folder: Path) -> None:
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = ["curate", "a.jsonl", "b.jsonl", "--out", "out", "--workers", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "perpetune", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    one_sentence(done, "out: ", "File too large")
    assert not (folder / "out").exists()


@pytest.fixture
def full_disk(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte, as `out` in the project."""
    path = folder / "out"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_one_sentence(folder: Path, full_disk: Path, workers: str) -> None:
    command = ["curate", "a.jsonl", "b.jsonl", "--out", "out", "--workers", workers, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "perpetune", *command], cwd=folder, capture_output=True, text=True
    )
    one_sentence(done, "out: ", "No space left on device")
    assert list(full_disk.iterdir()) == []


def test_an_unreadable_input_is_not_an_output_that_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    for workers in ("1", "2"):
        with pytest.raises(SystemExit) as end:
            main(["curate", "a.jsonl", "loop.jsonl", "--out", "o", "--workers", workers, "--json"])
        assert end.value.code == 2
        error = json.loads(capsys.readouterr().out)["error"]
        assert "loop.jsonl" in error
        assert "written" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        *(["curate"], ["train", "--data", "x"], ["curate", "a", "--out", "o", "--nope"]),
        *(["nope"], [], ["approve", "x", "--by", "A"], ["approve", "1"], ["--json"]),
        *(["collect", "--role", "nobody"], ["curate", "a", "--out", "o", "--workers", "-1"]),
        *(["status", "--set"], ["rollback", "extra", "--by", "A"]),
    ],
)
def test_wrong_arguments_give_one_json_object(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 2
    assert json.loads(out)["error"].strip()
    assert "Traceback" not in err


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device", "/x/y"), 1, "/x/y: No space left on device"),
        (OSError(18, "Cross-device link", "a", None, "b"), 1, "a to b: Cross-device link"),
        (TimeoutError(), 1, "TimeoutError"),
        (KeyError("x"), 1, "internal error: KeyError: 'x'"),
        (MemoryError(), 1, "internal error: MemoryError"),
        (RecursionError("too deep\x1b[31m"), 1, "internal error: RecursionError: too deep"),
    ],
)
def test_whatever_a_command_raises_is_one_sentence(
    error: Exception,
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks.registry import Registry

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Registry, "status", failing(error))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(["status", "--json"])
    out, err = capsys.readouterr()
    assert end.value.code == code
    assert json.loads(out)["error"].startswith(message)
    assert "Traceback" not in err
    assert "\x1b" not in err
    for report in tmp_path.glob("perpetune-error-*"):
        assert "Traceback" in report.read_text()


def test_what_libraries_print_does_not_mix_with_the_json_object(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "from tasks.registry import Pending, Registry, Status\n"
        "def status(self):\n"
        "    print('python'); os.write(1, b'native\\n')\n"
        "    subprocess.run(['echo', 'child'])\n"
        "    waits = Pending(version=1, verdict='passed', round=None, created='', run_id='',\n"
        "                    metrics={'loss': float('nan')}, digest='')\n"
        "    return Status(model='\x1b[31m', pending=(waits,))\n"
        "Registry.status = status\n"
        "from perpetune.cli.main import main\n"
        "main(['status', '--json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["model"] == "\x1b[31m"
    assert value["pending"][0]["metrics"] == {"loss": None}
    assert value["platform"] is None
    assert {"python", "native", "child"} <= set(done.stderr.split())
