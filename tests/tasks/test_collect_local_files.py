"""A user's own data: every format, from files and from hub data sets, or a clear refusal."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import records
from tasks.collect import collect_files
from tasks.core import files
from tasks.core.errors import BadInput

Lines = Callable[..., Path]
PAIR = {"prompt": "Say hello.", "completion": "Hello!"}


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def test_files_of_every_format_are_copied_byte_for_byte(tmp_path: Path, write_lines: Lines) -> None:
    write_lines("in/a.jsonl", PAIR)
    (tmp_path / "in" / "b.json").write_text(json.dumps([PAIR, {"text": "Some text."}]))
    (tmp_path / "in" / "c.csv").write_text("instruction,output\nSay hello.,Hello!\n")
    (tmp_path / "in" / "d.jsonl.gz").write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    pq.write_table(pa.Table.from_pylist([PAIR]), tmp_path / "in" / "e.parquet")
    (tmp_path / "in" / "notes.txt").write_text("not data")

    folder = collect_files([str(tmp_path / "in")], tmp_path / "data", "train")

    assert folder == tmp_path / "data" / "train"
    wanted = files.file_hashes(tmp_path / "in")
    del wanted["notes.txt"]
    assert files.file_hashes(folder) == wanted
    assert len(records.load([folder])) == 6


def test_globs_and_single_files_are_inputs_too(tmp_path: Path, write_lines: Lines) -> None:
    for name in ("in/a-1.jsonl", "in/a-2.jsonl", "in/b.jsonl"):
        write_lines(name, PAIR)
    inputs = [str(tmp_path / "in" / "a-*.jsonl"), str(tmp_path / "in" / "b.jsonl")]
    folder = collect_files(inputs, tmp_path / "data", "benchmarks")
    assert sorted(files.file_hashes(folder)) == ["a-1.jsonl", "a-2.jsonl", "b.jsonl"]


def test_bad_lines_are_reported_and_kept(
    tmp_path: Path, write_lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_lines("mixed.jsonl", PAIR, "{broken", {"prompt": "no answer"}, PAIR)
    folder = collect_files([str(source)], tmp_path / "data", "train")
    assert (folder / "mixed.jsonl").read_bytes() == source.read_bytes()
    warned = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    assert [message.split(": ")[0] for message in warned] == [f"{source}:2", f"{source}:3"]


def test_only_traffic_may_lack_answers(tmp_path: Path, write_lines: Lines) -> None:
    source = write_lines("window-1.jsonl", {"prompt": "no answer"}, {"prompt": "none either"})
    with pytest.raises(BadInput, match=r"window-1\.jsonl:1: missing_field.*none of its 2 lines"):
        collect_files([str(source)], tmp_path / "data", "train")
    assert not (tmp_path / "data" / "train").exists()
    assert collect_files([str(source)], tmp_path / "data", "traffic").name == "traffic"


def test_the_folder_is_replaced_as_a_whole_or_added_to(tmp_path: Path, write_lines: Lines) -> None:
    one, two = write_lines("one.jsonl", PAIR), write_lines("two.jsonl", PAIR)
    data = tmp_path / "data"
    collect_files([str(one)], data, "train")
    collect_files([str(two)], data, "train", add=True)
    assert sorted(files.file_hashes(data / "train")) == ["one.jsonl", "two.jsonl"]
    with pytest.raises(BadInput, match="same name"):
        collect_files([str(two)], data, "train", add=True)
    collect_files([str(two)], data, "train")
    assert sorted(files.file_hashes(data / "train")) == ["two.jsonl"]


def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path, write_lines: Lines) -> None:
    good, bad = write_lines("good.jsonl", PAIR), write_lines("worse.jsonl", "{broken")
    data = tmp_path / "data"
    collect_files([str(good)], data, "train")
    with pytest.raises(BadInput, match=r"worse\.jsonl:1"):
        collect_files([str(good), str(bad)], data, "train")
    assert [path.relative_to(data).as_posix() for path in sorted(data.rglob("*"))] == [
        "train",
        "train/good.jsonl",
    ]


def test_inputs_of_one_name_clash(tmp_path: Path, write_lines: Lines) -> None:
    first, second = write_lines("x/data.jsonl", PAIR), write_lines("y/Data.jsonl", PAIR)
    with pytest.raises(BadInput, match=r"x/data\.jsonl has the same name"):
        collect_files([str(first), str(second)], tmp_path / "data", "train")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no-such.jsonl", "no such file"),
        ("no-such-*.jsonl", "holds no file of a known format"),
        ("empty.jsonl", "holds no record"),
        ("hub:./no-such-folder", r"^hub:\./no-such-folder: cannot be loaded"),
    ],
)
def test_what_cannot_be_collected_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(BadInput, match=message):
        collect_files([spec], tmp_path / "data", "train")
    with pytest.raises(BadInput, match="at least one"):
        collect_files([], tmp_path / "data", "train")


def test_hub_data_becomes_jsonl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_lines: Lines
) -> None:
    chat = {
        "messages": [
            {"role": "user", "content": "Wie geht es?"},
            {"role": "assistant", "content": "Schön, danke."},
        ]
    }
    write_lines("set/train.jsonl", *[chat | {"id": f"r{n}"} for n in range(5)])
    write_lines("set/test.jsonl", chat | {"id": "t0"})
    monkeypatch.chdir(tmp_path)
    folder = collect_files(["hub:./set"], tmp_path / "data", "train")
    assert [path.name for path in folder.iterdir()] == ["set-train.jsonl"]
    assert [row.id for row in records.load([folder])] == ["r0", "r1", "r2", "r3", "r4"]
    assert records.load([folder])[0].target == "Schön, danke."

    collect_files(["hub:./set"], tmp_path / "data", "train", add=True, split="test")
    assert sorted(path.name for path in folder.iterdir()) == ["set-test.jsonl", "set-train.jsonl"]
    with pytest.raises(BadInput, match=r"hub:\./set: cannot be loaded.*the split \(nope\)"):
        collect_files(["hub:./set"], tmp_path / "data", "train", split="nope")


def test_hub_data_in_parquet_with_times_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = pa.array([0, 10**9], pa.timestamp("us"))
    table = pa.table({"prompt": ["a", "b"], "completion": ["x", "y"], "timestamp": times})
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set" / "train.parquet")
    monkeypatch.chdir(tmp_path)
    folder = collect_files(["hub:./set"], tmp_path / "data", "benchmarks")
    assert [row.timestamp for row in records.load([folder])] == [
        "1970-01-01T00:00:00",
        "1970-01-01T00:16:40",
    ]


def test_hub_data_that_is_no_record_is_refused(tmp_path: Path, write_lines: Lines) -> None:
    folder = write_lines("set/train.jsonl", {"question": "?", "reply": "!"}).parent
    with pytest.raises(BadInput, match=r"hub:.*set:1: missing_field"):
        collect_files([f"hub:{folder}"], tmp_path / "data", "train")
    assert not (tmp_path / "data" / "train").exists()
