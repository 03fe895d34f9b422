"""Curation replaces its own files and nobody else's, and reads none of them as input."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.curate import curate
from tasks.curate.run import outputs
from tasks.settings import Settings

Lines = Callable[..., Path]


def pair(seed: int) -> dict[str, str]:
    words = random.Random(seed)
    said = [" ".join(words.choices(WORDS, k=12)) for _ in range(2)]
    return {"id": f"r{seed}", "prompt": f"{said[0]}?", "completion": f"{said[1]}."}


WORDS = ("river", "stone", "bread", "cloud", "piano", "engine", "silver", "garden", "winter")


@pytest.fixture
def source(write_lines: Lines) -> Path:
    return write_lines("in/a.jsonl", *map(pair, range(12)))


@pytest.fixture
def bench(write_lines: Lines) -> Path:
    return write_lines("bench.jsonl", pair(999))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_input_or_a_benchmark_is_never_overwritten(
    tmp_path: Path, settings: Settings, write_lines: Lines
) -> None:
    train = write_lines("d/train.jsonl", *map(pair, range(12)))
    test = write_lines("d/test.jsonl", pair(999))
    before = content(tmp_path / "d")
    other = write_lines("other.jsonl", *map(pair, range(12)))
    for inputs, against in (([train], [test]), ([other], [test]), ([train], [other])):
        with pytest.raises(BadInput, match="another --out"):
            curate(
                [str(path) for path in inputs],
                [str(path) for path in against],
                tmp_path / "d",
                settings,
            )
    assert content(tmp_path / "d") == before


@pytest.mark.parametrize("name", outputs.OUTPUTS)
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_somebody_elses_file_stops_the_run(
    name: str, kind: str, tmp_path: Path, settings: Settings, source: Path, bench: Path
) -> None:
    theirs = tmp_path / "out" / name
    theirs.parent.mkdir()
    if kind == "file":
        theirs.write_text('{"kept": "mine"}')
    elif kind == "folder":
        theirs.mkdir()
    else:
        theirs.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=f"{name}.*another --out"):
        curate([str(source)], [str(bench)], tmp_path / "out", settings)
    assert list((tmp_path / "out").iterdir()) == [theirs]
    assert kind != "file" or theirs.read_text() == '{"kept": "mine"}'


def test_what_was_changed_since_is_not_replaced(
    tmp_path: Path, settings: Settings, source: Path, bench: Path
) -> None:
    out = tmp_path / "out"
    curate([str(source)], [str(bench)], out, settings)
    with (out / "train.jsonl").open("a") as file:
        file.write('{"text": "a note of mine"}\n')
    with pytest.raises(BadInput, match="was changed since"):
        curate([str(source)], [str(bench)], out, settings)
    assert "a note of mine" in (out / "train.jsonl").read_text()


def test_a_second_run_into_the_folder_of_its_input_is_the_first(
    tmp_path: Path, settings: Settings, source: Path, bench: Path
) -> None:
    inside = source.parent
    first = curate([str(inside)], [str(bench)], inside, settings).to_json()
    before = content(inside)
    again = curate([str(inside)], [str(bench)], inside, settings).to_json()
    beside = curate([str(inside)], [str(bench)], inside / "sub", settings).to_json()
    third = curate([str(inside)], [str(bench)], tmp_path / "out", settings).to_json()
    assert first["in"] == again["in"] == 12
    # Below another folder, and from there, what was curated is data like any other.
    assert beside["in"] == third["in"] == 12 + sum(first["kept"].values())
    after = content(inside)
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "dropped.jsonl", "a.jsonl"):
        assert after[name] == before[name]


@pytest.mark.parametrize("killed_at", range(1, 7))
def test_a_run_that_is_killed_while_it_publishes_goes_on(
    killed_at: int,
    tmp_path: Path,
    settings: Settings,
    source: Path,
    bench: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    curate([str(source)], [str(bench)], out, settings)
    reference = content(out)
    moved = Path.replace
    count = iter(range(1, 100))

    def replace(self: Path, target: Path) -> Path:
        if self.parent.name == ".curating" and target.parent == out and next(count) == killed_at:
            raise KeyboardInterrupt
        return moved(self, target)

    other = source.with_name("b.jsonl")
    files.write_jsonl(other, [pair(n) for n in range(30, 50)])
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        curate([str(other)], [str(bench)], out, settings)
    monkeypatch.undo()
    curate([str(source)], [str(bench)], out, settings)
    assert content(out)["train.jsonl"] == reference["train.jsonl"]
    assert not (out / ".curating").exists()


def test_other_files_in_the_folder_stay(
    tmp_path: Path, settings: Settings, source: Path, bench: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.md").write_text("mine")
    curate([str(source)], [str(bench)], out, settings)
    assert (out / "notes.md").read_text() == "mine"
