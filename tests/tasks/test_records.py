"""Records: every format is read alike, and no line is lost, whatever its bytes."""

import csv
import datetime
import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks import records
from tasks.errors import BadInput
from tasks.records import BadLine, Record

ASKED = [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Answer"}]
ROWS = [{"prompt": f"Ask {n}", "completion": f"Answer {n}", "topic": "é"} for n in range(5)]


def parsed(value: object, **options: bool) -> Record:
    record = records.parse(value, "file.jsonl", 7, **options)
    assert isinstance(record, Record), record
    return record


def refused(value: object, **options: bool) -> BadLine:
    bad = records.parse(value, "file.jsonl", 7, **options)
    assert isinstance(bad, BadLine), bad
    assert (bad.source, bad.line) == ("file.jsonl", 7)
    assert len(bad.detail) <= 1000 and len(bad.excerpt) <= 200
    return bad


def contents(path: Path) -> list[object]:
    items = list(records.read(path))
    assert all(isinstance(item, Record) for item in items), items
    return [(item.content, item.meta, item.line) for item in items]


# Shapes


@pytest.mark.parametrize(
    "value",
    [
        {"messages": ASKED},
        {"prompt": "Ask", "completion": "Answer"},
        {"prompt": ASKED[:1], "completion": ASKED[1:]},
        {"instruction": "Ask", "output": "Answer"},
        {"instruction": "Ask", "input": "", "output": "Answer"},
        {"conversations": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Answer"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Ask"}]}, ASKED[1]]},
    ],
    ids=["messages", "prompt", "prompt-turns", "alpaca", "alpaca-empty", "sharegpt", "parts"],
)
def test_every_chat_format_becomes_the_same_chat(value: dict) -> None:
    record = parsed(value)
    assert record.content == {"messages": ASKED}
    assert (record.prompt, record.completion, record.text) == ("Ask", "Answer", "Ask\nAnswer")
    assert record.id == parsed({"messages": ASKED}).id


def test_an_instruction_with_input_asks_both() -> None:
    record = parsed({"instruction": "Add", "input": "1 2", "output": "3"})
    assert record.prompt == "Add\n\n1 2"


def test_a_text_is_its_own_prompt_and_has_no_answer() -> None:
    record = parsed({"text": "Once"})
    assert (record.content, record.prompt, record.completion) == ({"text": "Once"}, "Once", None)


def test_a_preference_answers_with_the_chosen_text() -> None:
    value = {"prompt": "Ask", "chosen": "Good", "rejected": "Bad"}
    record = parsed(value)
    assert record.content == value
    assert (record.prompt, record.completion, record.text) == ("Ask", "Good", "Ask\nGood\nBad")


def test_prompt_and_completion_are_the_last_turns() -> None:
    turns = [{"role": "system", "content": "Be"}, *ASKED, *[t | {"content": "2"} for t in ASKED]]
    record = parsed({"messages": turns})
    assert (record.prompt, record.completion) == ("2", "2")
    assert parsed({"messages": turns[:-1]}).completion is None


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (5, "wrong_type", "int"),
        (None, "wrong_type", "NoneType"),
        ([{"text": "a"}], "wrong_type", "list"),
        ({}, "missing_field", "found nothing"),
        ({"prompt": "Ask"}, "missing_field", "prompt"),
        ({"text": None, "topic": "a"}, "missing_field", "text, topic"),
        ({"text": 5}, "wrong_type", "text: expected text, found int"),
        ({"prompt": "a", "completion": 1}, "wrong_type", "completion"),
        ({"prompt": "a", "chosen": "b", "rejected": []}, "wrong_type", "rejected"),
        ({"messages": []}, "wrong_type", "at least one turn"),
        ({"messages": "hello"}, "wrong_type", "a list"),
        ({"messages": ["hello"]}, "missing_field", "messages[0]"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0]"),
        ({"messages": [{"role": "cat", "content": "a"}]}, "wrong_type", "'cat'"),
        ({"messages": [{"role": [], "content": "a"}]}, "wrong_type", "unknown role []"),
        ({"messages": [{"role": "assistant", "content": None}]}, "wrong_type", "NoneType"),
        ({"messages": ASKED[:1]}, "missing_field", "assistant"),
        ({"conversations": [{"from": "human"}]}, "missing_field", "conversations[0]"),
        ({"conversations": [{"from": {}, "value": "a"}]}, "wrong_type", "conversations[0].from"),
        ({"conversations": {"from": "gpt"}}, "wrong_type", "conversations"),
        ({"text": "a", "id": 1.5}, "wrong_type", "id"),
        ({"text": "a", "id": True}, "wrong_type", "id"),
        ({"text": "a", "group": ["x"]}, "wrong_type", "group"),
        ({"text": "a", "timestamp": {}}, "wrong_type", "timestamp"),
        ({"text": "a", "raw": b"bytes"}, "wrong_type", "cannot be written as JSON"),
        ({"text": "a \ud800"}, "wrong_type", "cannot be written as JSON"),
    ],
)
def test_what_is_no_record_says_why(value: object, reason: str, says: str) -> None:
    bad = refused(value)
    assert bad.reason == reason
    assert says in bad.detail


def test_a_complaint_stays_short_whatever_the_line() -> None:
    refused({"messages": [{"role": "r" * 10_000, "content": ""}]})
    refused({f"key {n}": n for n in range(10_000)})


def test_traffic_needs_no_answer() -> None:
    assert parsed({"prompt": "Ask"}, labelled=False).completion is None
    assert parsed({"messages": ASKED[:1]}, labelled=False).prompt == "Ask"
    assert parsed({"instruction": "Ask"}, labelled=False).prompt == "Ask"


# Identity, groups, meta


def test_ids_and_groups_are_text_and_zero_is_an_id() -> None:
    record = parsed({"text": "a", "id": 0, "group": 3})
    assert (record.id, record.group) == ("0", "3")


def test_without_an_id_equal_contents_have_equal_ids() -> None:
    one, same = parsed({"text": "a", "x": 1}), parsed({"text": "a", "id": None})
    assert one.id == same.id != parsed({"text": "b"}).id


def test_other_keys_are_carried_in_meta() -> None:
    record = parsed({"text": "a", "topic": "t", "meta": {"n": 1}, "timestamp": 5, "gone": None})
    assert (record.meta, record.timestamp) == ({"n": 1, "topic": "t"}, 5)
    assert parsed({"text": "a", "meta": 5}).meta == {"meta": 5}


def test_a_row_keeps_its_first_place_through_a_second_reading() -> None:
    first = parsed({"text": "a", "source": "the web"})
    assert first.meta == {"source": "the web"}
    row = first.row()
    again = records.parse(row, "curated.jsonl", 99)
    assert isinstance(again, Record)
    assert (again.source, again.line) == ("curated.jsonl", 99)
    assert again.origin == ("file.jsonl", 7)
    assert again.row() == row


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "cat"]), "content": st.text()},
        optional={"name": JSON},
    ),
    max_size=4,
)
NAMES = ["messages", "prompt", "completion", "text", "chosen", "rejected", "instruction", "input"]
NAMES += ["output", "conversations", "id", "group", "timestamp", "meta", "source", "line"]
LIKE_RECORDS = st.dictionaries(st.sampled_from(NAMES), st.text() | TURNS | JSON, max_size=8)


@hypothesis(deadline=None, max_examples=400)
@given(value=JSON | LIKE_RECORDS, labelled=st.booleans())
def test_any_value_is_a_record_that_can_be_written_and_read_alike_or_a_bad_line(
    value: object, labelled: bool
) -> None:
    item = records.parse(value, "file.jsonl", 7, labelled=labelled)
    assert isinstance(item, Record | BadLine)
    if isinstance(item, Record):
        row = orjson.dumps(item.row())
        again = records.parse(orjson.loads(row), "elsewhere.jsonl", 1, labelled=labelled)
        assert isinstance(again, Record), again
        assert orjson.dumps(again.row()) == row


# Files


def test_all_file_formats_say_the_same(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.ndjson").write_bytes(lines)
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines[:100]) + gzip.compress(lines[100:]))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "a.jsonl.zst").write_bytes(compress(lines[:100]) + compress(lines[100:]))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode()))
    (tmp_path / "a.JSONL").write_bytes(lines)
    paths = records.expand([tmp_path])
    assert len(paths) == 8
    expected = contents(tmp_path / "a.jsonl")
    assert [line for _, _, line in expected] == [1, 2, 3, 4, 5]
    for path in paths:
        assert contents(path) == expected, path
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    assert contents(tmp_path / "a.csv") == [(c, m, line + 1) for c, m, line in expected]


def test_bom_crlf_and_blank_lines_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n   \r\n{"text": "b\\u2028\xe2\x80\xa8"}')
    assert contents(path) == [({"text": "a"}, {}, 1), ({"text": "b\u2028\u2028"}, {}, 4)]
    array = tmp_path / "a.json"
    array.write_bytes(b'\xef\xbb\xbf[{"text": "a"}]')
    assert contents(array) == [({"text": "a"}, {}, 1)]
    table = tmp_path / "a.csv"
    table.write_bytes(b'\xef\xbb\xbftext,topic\r\n"a\r\nb",\r\n')
    assert contents(table) == [({"text": "a\r\nb"}, {}, 3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "invalid_json"),
        (b'{"text": "a"} {"text": "b"}', "invalid_json"),
        (b'{"text": "a", "x": NaN}', "invalid_json"),
        (b'{"text": "a", "x": 1e999}', "invalid_json"),
        (b'{"text": "\\ud800"}', "invalid_json"),
        (b'{"text": "a\x00b"}', "invalid_json"),
        (b"\x00" * 50, "invalid_json"),
        (b'{"text": "\xff"}', "not_utf8"),
        (b'\xff\xfe{\x00"\x00', "not_utf8"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"text": "a", "x": ' + b"[" * 400 + b"]" * 400 + b"}", "wrong_type"),
        (b"[" * 900 + b"]" * 900, "wrong_type"),
        (b'"text"', "wrong_type"),
    ],
)
def test_a_bad_line_is_named_and_its_neighbours_are_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    before, bad, after = records.read(path)
    assert isinstance(before, Record) and isinstance(after, Record)
    assert isinstance(bad, BadLine)
    assert (bad.source, bad.line, bad.reason) == (str(path), 2, reason)
    assert bad.detail and len(bad.excerpt) <= 200
    assert after.line == 3


@pytest.mark.parametrize("depth", [240, 250, 251, 252, 253, 254, 255, 256, 300])
def test_what_is_read_can_be_written_however_deep(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "x": ' + "[" * depth + "]" * depth + "}\n")
    (item,) = records.read(path)
    if isinstance(item, Record):
        orjson.dumps(item.row())
    else:
        assert depth > 250


def test_of_duplicate_keys_the_last_counts(write_lines: Callable[..., Path]) -> None:
    path = write_lines("a.jsonl", '{"text": "a", "text": "b"}')
    assert contents(path) == [({"text": "b"}, {}, 1)]


def test_csv_rows_with_too_many_fields_are_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nfine\na,b\n" + "long" * 50_000 + "\n")
    fine, bad, long = records.read(path)
    assert isinstance(fine, Record) and isinstance(long, Record)
    assert isinstance(bad, BadLine) and (bad.line, bad.reason) == (3, "wrong_type")


def test_parquet_rows_are_what_their_json_would_be(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [
        {
            "text": "a",
            "timestamp": datetime.datetime(2024, 5, 1),
            "score": float("nan"),
            "raw": None,
        },
        {"text": "b", "timestamp": None, "score": 0.5, "raw": b"\xff"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second = records.read(path)
    assert isinstance(first, Record)
    assert (first.timestamp, first.meta) == ("2024-05-01T00:00:00", {})
    assert isinstance(second, BadLine) and (second.line, second.reason) == (2, "wrong_type")


def _parquet_with_bad_text(path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
    column = pa.StringArray.from_buffers(1, offsets, data)
    pq.write_table(pa.table({"text": column}), path)


LINES = b"".join(b'{"text": "%d"}\n' % n for n in range(1000))


def _flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 255]) + data[101:]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "holds no record"),
        ("a.jsonl", b"\n \r\n", "holds no record"),
        ("a.json", b"[]", "holds no record"),
        ("a.csv", b"text\n", "holds no record"),
        ("a.jsonl.gz", b"", "holds no record"),
        ("a.json", b'[{"text":\n"' + "é".encode() * 40 + b'"},\n{]', "a.json:3: not a JSON"),
        ("a.json", b'{"text": "a"}', "expected a JSON array"),
        ("a.json", b'{"text": "a"}\n{"text": "b"}', ".jsonl"),
        ("a.parquet", b"PAR1 no", "Parquet"),
        ("a.parquet.gz", b"", "decompress"),
        ("a.csv", b"text\n\xff\n", "not UTF-8"),
        ("a.txt", b"hello", "unknown format"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-20], "cannot be read"),
        ("a.jsonl.gz", _flipped(gzip.compress(LINES)), "cannot be read"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(LINES)[:-20], "cannot be read"),
        ("a.jsonl.zst", b"no zstandard", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput) as refusal:
        list(records.read(path))
    assert str(path) in str(refusal.value) and says in str(refusal.value)


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    _parquet_with_bad_text(path)
    with pytest.raises(BadInput, match=r"a\.parquet: not a readable Parquet file"):
        list(records.read(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        list(records.read(tmp_path / "none.jsonl"))


@hypothesis(deadline=None, max_examples=200)
@given(
    lines=st.lists(
        st.binary(max_size=40)
        | st.builds(json.dumps, LIKE_RECORDS).map(str.encode)
        | st.sampled_from([b'{"text":"a"}', b"\r", b"\xef\xbb\xbf", b"\x1a", b" \t ", b"\x0b"]),
        min_size=1,
        max_size=8,
    )
)
def test_every_line_of_any_file_comes_out_once(lines: list[bytes]) -> None:
    data = b"\n".join([b'{"text": "first"}', *lines])
    expected = [n for n, line in enumerate(data.split(b"\n"), 1) if line.strip(b" \t\r\n")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(data)
        assert [item.line for item in records.read(path)] == expected


# Finding files, and loading whole ones


def test_paths_folders_and_globs_expand_to_each_file_once(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.gz", "deep/c.csv", "notes.txt", "[d].json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names = [path.name for path in records.expand([tmp_path, str(tmp_path / "*.jsonl")])]
    assert names == ["[d].json", "a.jsonl.gz", "b.jsonl", "c.csv"]
    assert records.expand([str(tmp_path / "**/*.csv")]) == [tmp_path / "deep/c.csv"]
    assert records.expand([tmp_path / "[d].json"]) == [tmp_path / "[d].json"]


@pytest.mark.parametrize("spec", ["none", "none/*.jsonl", "empty"])
def test_an_input_without_files_is_refused(tmp_path: Path, spec: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme.txt").touch()
    with pytest.raises(BadInput, match=spec.replace("*", r"\*")):
        records.expand([tmp_path / spec])


def test_load_takes_no_bad_line(write_lines: Callable[..., Path]) -> None:
    path = write_lines("a.jsonl", {"text": "a"}, {"text": 5})
    with pytest.raises(BadInput, match=r"a\.jsonl:2: wrong_type.*perpetune curate"):
        records.load([path])
    assert [r.text for r in records.load([write_lines("b.jsonl", {"text": "b"})])] == ["b"]
