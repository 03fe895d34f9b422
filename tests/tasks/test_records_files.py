"""Files as pandas, `datasets`, Excel and labelling tools write them: read, or refused in words."""

import datetime
import decimal
import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tasks import records
from tasks.core.errors import BadInput
from tasks.records import BadLine, Chat, Record

ROWS = [{"prompt": f"Ask {i}, and söme?", "completion": f'Say "{i}";\nmore'} for i in range(3)]
CHATS = [
    [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["completion"]},
    ]
    for row in ROWS
]


def asked(*places: Path) -> list[str]:
    """The prompts of all records; every line has to be one."""
    found = []
    for record in records.load(places):
        assert isinstance(record, Chat)
        found.append(record.prompt)
    return found


ALL = [row["prompt"] for row in ROWS]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS)


# JSON


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(row) for row in ROWS),
        "\n\n".join(json.dumps(row, indent=2) for row in ROWS),
        " ".join(json.dumps(row, indent=1) for row in ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4),
        "[\n" + ",\n".join(json.dumps(row) for row in ROWS) + "\n]\n",
        json.dumps({"version": "1", "data": ROWS}, indent=2),
        json.dumps({"rows": [{"row_idx": i, "row": row} for i, row in enumerate(ROWS)]}, indent=2),
    ],
    ids=[
        "lines",
        "pretty",
        "together",
        "array",
        "pretty array",
        "array of lines",
        "data",
        "viewer",
    ],
)
def test_json_is_read_by_its_content(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert asked(tmp_path / name) == ALL
    # Cut into chunks it is the same.
    chunks = records.chunks(tmp_path / name, 20)
    parts = [item for chunk in chunks for item in records.read_chunk(chunk)]
    assert [item.prompt for item in parts if not isinstance(item, BadLine)] == ALL


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
def test_json_of_pandas_is_read(tmp_path: Path, frame: pd.DataFrame, orient: Any) -> None:
    frame.to_json(tmp_path / "a.json", orient=orient)
    assert asked(tmp_path / "a.json") == ALL


def test_one_object_of_one_record_is_that_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"messages": CHATS[0]}, indent=2))
    assert asked(tmp_path / "a.json") == ALL[:1]


def test_what_follows_broken_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS[0], indent=2) + "\n{oh")
    first, rest = records.read(tmp_path / "a.json")
    assert isinstance(first, Chat) and isinstance(rest, BadLine)
    assert "{oh" in rest.detail


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_json_has_not_spoil_no_record(tmp_path: Path, number: str) -> None:
    line = f'{{"prompt": "Ask", "completion": "Say", "score": {number}, "big": 1.5}}\n'
    (tmp_path / "a.jsonl").write_text(line * 2)
    for record in records.load([tmp_path / "a.jsonl"]):
        json.loads(json.dumps(record.row(), allow_nan=False))
        assert record.meta["big"] == 1.5
        assert record.meta.get("score") == (None if number == "NaN" else number)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_compression_is_told_by_content(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str, frame: pd.DataFrame
) -> None:
    text = frame.to_csv(index=False) if name == "a.csv" else json.dumps(ROWS)
    (tmp_path / name).write_bytes(pack(text.encode()))
    assert asked(tmp_path / name) == ALL


# Text encodings and separators


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_a_byte_order_mark_tells_the_encoding(
    tmp_path: Path, encoding: str, name: str, frame: pd.DataFrame
) -> None:
    if name.endswith("sv"):
        frame.to_csv(tmp_path / name, index=False, sep="\t", encoding=encoding)
    else:
        lines = name == "a.jsonl"
        frame.to_json(tmp_path / "plain", orient="records", lines=lines)
        text = (tmp_path / "plain").read_text("utf-8")
        (tmp_path / name).write_text(text, encoding)
    assert asked(tmp_path / name) == ALL


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_separator_is_told_by_the_header(
    tmp_path: Path, separator: str, name: str, frame: pd.DataFrame
) -> None:
    frame["note"] = "a,b;c|d"
    frame.to_csv(tmp_path / name, sep=separator)  # with pandas' index
    assert asked(tmp_path / name) == ALL
    assert records.load([tmp_path / name])[0].meta["note"] == "a,b;c|d"


def test_excel_names_its_separator(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\r\nPrompt ;COMPLETION\r\nAsk;Say\r\n")
    assert asked(tmp_path / "a.csv") == ["Ask"]


@pytest.mark.parametrize("write", [json.dumps, str])
def test_lists_in_cells_are_read(tmp_path: Path, write: Callable[[Any], str]) -> None:
    pd.DataFrame({"messages": map(write, CHATS)}).to_csv(tmp_path / "a.csv", index=False)
    assert asked(tmp_path / "a.csv") == ALL
    (tmp_path / "b.csv").write_text('messages\n"[{role: user}]"\n')
    (bad,) = records.read(tmp_path / "b.csv")
    assert isinstance(bad, BadLine) and "messages" in bad.detail and "JSON" in bad.detail


# Tables


def test_columns_that_nobody_uses_spoil_no_record(tmp_path: Path) -> None:
    more = {
        "price": [decimal.Decimal("1.50")] * 3,
        "raw": [b"\xff\xfe", b"text", None],
        "day": [datetime.date(2024, 6, 1)] * 3,
        "wait": [datetime.timedelta(seconds=3)] * 3,
        "nan": [float("nan"), 1.0, float("inf")],
        "tags": [["a"], [], None],
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    }
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]} | more
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert asked(tmp_path / "a.parquet") == ALL
    first = records.load([tmp_path / "a.parquet"])[0].meta
    assert (first["price"], first["day"], first["map"]) == ("1.50", "2024-06-01", {"a": 1})


def test_ids_that_pandas_made_float_are_whole_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["id"] = [0.0, 1.0, None]
    frame["group"] = [7.0, None, 7.0]
    frame.to_parquet(tmp_path / "a.parquet")
    read = records.load([tmp_path / "a.parquet"])
    assert [record.id for record in read[:2]] == ["0", "1"] and len(read[2].id) == 16
    assert [record.group for record in read] == ["7", None, "7"]


def test_nulls_that_a_column_pads_are_no_arguments(tmp_path: Path) -> None:
    def call(**arguments: Any) -> list[dict[str, Any]]:
        function = {"name": "f", "arguments": arguments}
        calls = [{"type": "function", "function": function}]
        return [CHATS[0][0], {"role": "assistant", "content": None, "tool_calls": calls}]

    rows = [{"messages": call(city="Oslo")}, {"messages": call(a=1, b=[None, 2])}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = [record.turns[1].tool_calls[0].arguments for record in records.load([tmp_path])]
    assert read == [{"city": "Oslo"}, {"a": 1, "b": [None, 2]}]


@pytest.mark.parametrize("shards", [1, 3])
def test_data_sets_saved_to_disk_are_read(tmp_path: Path, shards: int) -> None:
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(tmp_path / "one", num_shards=shards)
    (tmp_path / "one" / "cache-123.arrow").write_bytes(b"what datasets has cached")
    assert asked(tmp_path / "one") == ALL
    (tmp_path / "in").mkdir()
    (tmp_path / "one").rename(tmp_path / "in" / "one")
    assert asked(tmp_path / "in") == ALL
    datasets.DatasetDict(train=saved, test=saved).save_to_disk(tmp_path / "splits")
    with pytest.raises(BadInput, match=r"splits test, train.*splits/test"):
        records.expand([tmp_path / "splits"])
    assert asked(tmp_path / "splits" / "train") == ALL


# Folders


def test_a_folder_gives_data_and_says_what_it_leaves_out(
    tmp_path: Path, write_lines: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    kept = [write_lines("in/a.jsonl", ROWS[0]), write_lines("in/sub/b.jsonl", ROWS[1])]
    for name in (".a.jsonl", "._a.jsonl", ".ipynb_checkpoints/a.jsonl", "__MACOSX/a.jsonl"):
        write_lines(f"in/{name}", ROWS[2])
    for name in ("train.jsonl", "dropped.jsonl", "report.json"):
        write_lines(f"in/curated/{name}", ROWS[2])
    (tmp_path / "in" / "table.xlsx").write_bytes(b"PK")
    with caplog.at_level(logging.WARNING):
        assert records.expand([tmp_path / "in"]) == kept
    assert "table.xlsx" in caplog.text and "CSV" in caplog.text
    assert "in/curated: is left out" in caplog.text
    # A curation's own folder gives what it has kept.
    assert [p.name for p in records.expand([tmp_path / "in/curated"])] == ["train.jsonl"]


def test_what_is_collected_is_what_is_curated(
    tmp_path: Path, write_lines: Callable[..., Path], frame: pd.DataFrame
) -> None:
    from tasks.collect import collect_files

    inside = tmp_path / "in"
    write_lines("in/a.jsonl", ROWS[0])
    write_lines("in/._a.jsonl", "junk")
    frame.to_csv(inside / "b.csv", sep=";", encoding="utf-16", index=False)
    (inside / "c.jsonl").write_bytes(gzip.compress(json.dumps(ROWS[0]).encode()))
    datasets.Dataset.from_list(ROWS).save_to_disk(inside / "d")
    datasets.Dataset.from_list(ROWS).save_to_disk(inside / "e")
    folder = collect_files([str(inside)], tmp_path / "data", "train")

    def contents(place: Path) -> list[dict[str, Any]]:
        found: list[Record] = records.load([place])
        return sorted((record.content() for record in found), key=str)

    assert len(contents(folder)) == 11 and contents(folder) == contents(inside)
