"""Records: every format is read alike, and no line is lost, whatever its bytes."""

import csv
import datetime
import gzip
import hashlib
import json
import pickle
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from unittest import mock

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.records import BadLine, Chunk, Record, json_text
from tasks.records.file_kinds import file_kind

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
    return [(item.content(), item.meta, item.line) for item in items]


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
    assert record.content() == {"messages": ASKED}
    assert (record.prompt, record.target, record.text) == ("Ask", "Answer", "Ask\nAnswer")
    assert record.id == parsed({"messages": ASKED}).id


def test_an_instruction_with_input_asks_both() -> None:
    record = parsed({"instruction": "Add", "input": "1 2", "output": "3"})
    assert record.prompt == "Add\n\n1 2"


def test_a_text_is_its_own_prompt_and_has_no_answer() -> None:
    record = parsed({"text": "Once"})
    assert (record.content(), record.prompt, record.target) == ({"text": "Once"}, "Once", None)


def test_a_preference_answers_with_the_chosen_text() -> None:
    value = {"prompt": "Ask", "chosen": "Good", "rejected": "Bad"}
    record = parsed(value)
    assert record.content() == value
    assert (record.prompt, record.target, record.text) == ("Ask", "Good", "Ask\nGood\nBad")


def test_prompt_and_completion_are_the_last_turns() -> None:
    turns = [{"role": "system", "content": "Be"}, *ASKED, *[t | {"content": "2"} for t in ASKED]]
    record = parsed({"messages": turns})
    assert (record.prompt, record.target) == ("2", "2")
    assert parsed({"messages": turns[:-1]}).target is None


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
        ({"prompt": 5, "completion": "a"}, "wrong_type", "prompt"),
        ({"prompt": "a", "completion": True}, "wrong_type", "completion"),
        ({"prompt": "a", "chosen": "b", "rejected": []}, "wrong_type", "rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": True}, "wrong_type", "rejected"),
        ({"messages": []}, "wrong_type", "at least one turn"),
        ({"messages": "hello"}, "wrong_type", "a list"),
        ({"messages": ["hello"]}, "missing_field", "messages[0]"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0]"),
        ({"messages": [{"role": "cat", "content": "a"}]}, "wrong_type", "'cat'"),
        ({"messages": [{"role": [], "content": "a"}]}, "wrong_type", "unknown role []"),
        ({"messages": [{"role": "assistant", "content": None}]}, "wrong_type", "nothing"),
        ({"messages": ASKED[:1]}, "missing_field", "assistant"),
        ({"conversations": [{"from": "human"}]}, "missing_field", "conversations[0]"),
        ({"conversations": [{"from": {}, "value": "a"}]}, "wrong_type", "conversations[0].from"),
        ({"conversations": {"from": "gpt"}}, "wrong_type", "conversations"),
        ({"text": "a", "id": 1e23}, "wrong_type", "id"),
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
    assert parsed({"prompt": "Ask"}, labelled=False).target is None
    assert parsed({"messages": ASKED[:1]}, labelled=False).prompt == "Ask"
    assert parsed({"instruction": "Ask"}, labelled=False).prompt == "Ask"


# Identity, groups, meta


def test_ids_and_groups_are_text_and_zero_is_an_id() -> None:
    record = parsed({"text": "a", "id": 0, "group": 3})
    assert (record.id, record.group) == ("0", "3")


def test_without_an_id_equal_contents_have_equal_ids() -> None:
    first, same = parsed({"text": "a", "x": 1}), parsed({"text": "a", "id": None})
    assert first.id == same.id != parsed({"text": "b"}).id


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
        (b'{"text": "\\ud800"}', "not_utf8"),
        (b'{"text": "\\udc00 \\ud800\\u0041"}', "not_utf8"),
        (b'{"text": "\xed\xa0\x80"}', "not_utf8"),
        (b'{"text": NaN}', "missing_field"),
        (b'{"text": "a\x00b"}', "invalid_json"),
        (b"\x00" * 50, "invalid_json"),
        (b'{"text": "\xff"}', "not_utf8"),
        (b'\xff\xfe{\x00"\x00', "not_utf8"),
        (b"[" * 10_000 + b"]" * 10_000, "invalid_json"),
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


def test_huge_integers_and_duplicate_keys_mean_the_same_in_lines_and_arrays(tmp_path: Path) -> None:
    line = b'{"text": "a", "text": "b", "n": 123456789012345678901234567890, "f": 0.1}'
    (tmp_path / "a.jsonl").write_bytes(line)
    (tmp_path / "a.json").write_bytes(b"[" + line + b"]")
    meta = {"n": 1.2345678901234568e29, "f": 0.1}
    for path in records.expand([tmp_path]):
        assert contents(path) == [({"text": "b"}, meta, 1)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_lines_of_another_encoding_are_all_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "a"}\n{"text": "ü"}\n'.encode(encoding))
    items = list(records.read(path))
    assert len(items) >= 2 and all(isinstance(item, BadLine) for item in items)


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
        {"text": "c", "timestamp": None, "score": float("inf"), "raw": b"bytes"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second, third = records.read(path)
    assert isinstance(first, Record) and isinstance(second, Record) and isinstance(third, Record)
    assert (first.timestamp, first.meta) == ("2024-05-01T00:00:00", {})
    assert second.meta == {"score": 0.5, "raw": {"base64": "/w=="}}
    assert third.meta == {"raw": "bytes"}


def _parquet_with_bad_text(path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
    column = pa.StringArray.from_buffers(1, offsets, data)
    pq.write_table(pa.table({"text": column}), path)


# Long enough for several blocks of each compression.
LINES = b"".join(b'{"text": "%032x"}\n' % (n * 0x9E3779B97F4A7C15**2) for n in range(20_000))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "holds no record"),
        ("a.jsonl", b"\n \r\n", "holds no record"),
        ("a.json", b"[]", "holds no record"),
        ("a.csv", b"text\n", "holds no record"),
        ("a.jsonl.gz", b"", "holds no record"),
        ("a.json", b"[{]", "the file ends before the array does"),
        ("a.json", "\ufeff[]".encode("utf-16"), "holds no record"),
        ("a.json", b'"text"', "expected a JSON array"),
        ("a.json", "[1]".encode("utf-16")[:-1], "UTF-16"),
        ("a.xlsx", b"PK", "save it as CSV"),
        ("a.arrow", b"no", "not a readable Arrow file"),
        ("a.csv", b"prompt;completion;prompt\na;b;c\n", "two columns are named 'prompt'"),
        ("a.parquet", b"PAR1 no", "Parquet"),
        ("a.parquet.gz", b"", "decompress"),
        ("a.csv", b"text\xff\na\n", "a.csv:1: not UTF-8"),
        ("a.txt", b"hello", "unknown format"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:15], "cannot be read"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.jsonl.zst", zstandard.compress(LINES)[:20], "cannot be read"),
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


# Arrays and tables


def _decoded(path: Path) -> list[object]:
    """What the file's rows are decoded to, with `BadLine`s by their reason."""
    if path.suffix == ".jsonl":
        found = json_text.json_lines(path, Chunk.whole(path), 2**20)
    else:
        found = file_kind(path).rows(path, Chunk.whole(path), 2**20)
    return [value.reason if isinstance(value, BadLine) else value for _, value in found]


ELEMENTS = st.one_of(
    st.builds(json.dumps, LIKE_RECORDS | JSON),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False), LIKE_RECORDS),
    st.sampled_from([r'"\\"', r'"\\\""', r'{"a": "]},{[\""}', "1", '" "', "[[], {}]", r'"\ud800"']),
)


@hypothesis(deadline=None, max_examples=300)
@given(
    elements=st.lists(ELEMENTS, max_size=5),
    space=st.sampled_from(["", " ", "\r\n\t"]),
    block=st.sampled_from([1, 2, 7, 2**18]),
)
def test_an_array_gives_what_its_elements_give_as_lines(
    elements: list[str], space: str, block: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(json_text, "BLOCK", block):
        array, lines = Path(folder) / "a.json", Path(folder) / "a.jsonl"
        joined = f"{space},{space}".join(elements)
        array.write_text(f"{space}[{space}{joined}{space}]{space}", "utf-8", "surrogatepass")
        lines.write_text("\n".join(elements), "utf-8", "surrogatepass")
        assert repr(_decoded(array)) == repr(_decoded(lines))


def test_a_bad_element_is_named_and_its_neighbours_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a"}, {"x": NAN}, {"text": "\xff"}, {"a": 1]}, , {"text": "b"},]')
    reasons = [None, "invalid_json", "not_utf8", "invalid_json", "invalid_json", None]
    items = list(records.read(path))
    assert [getattr(item, "reason", None) for item in items] == [*reasons, "invalid_json"]
    assert [item.line for item in items] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "rest", [b"", b",\n{]", b', {"text": "b', b"] [", b'], "b"]', b', {"text": "b"}}']
)
def test_what_stands_before_the_break_of_an_array_is_kept(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a"}' + rest)
    first, last = records.read(path)
    assert isinstance(first, Record) and isinstance(last, BadLine)
    assert (last.line, last.reason) == (2, "invalid_json") and "rest of the file" in last.detail


def test_a_table_row_that_is_not_utf8_is_named_and_its_neighbours_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,topic\n"a\nb",1\n"\xe4\nc",2\r\nd,\x00\n\ne,5\n')
    items = list(records.read(path))
    assert [item.line for item in items] == [3, 5, 6, 8]
    assert [item.reason for item in items if isinstance(item, BadLine)] == ["not_utf8"]
    assert [item.text for item in items if isinstance(item, Record)] == ["a\nb", "d", "e"]


def test_a_quote_left_open_does_not_swallow_the_table_unseen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\na\n"b\nc\nd\n')
    first, rest = records.read(path)
    assert isinstance(first, Record) and isinstance(rest, BadLine)
    assert (rest.line, rest.reason) == (5, "truncated") and "quote" in rest.detail


@hypothesis(deadline=None, max_examples=200)
@given(text=st.text(st.sampled_from('ab",\r\n \x00é\u2028'), max_size=30))
def test_a_table_is_what_the_csv_module_makes_of_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(b"text,b\n" + text.encode())
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = _decoded(path)
    if found and found[-1] == "truncated":
        rows, found = rows[:-1], found[:-1]
    assert found == [
        "wrong_type" if None in row else {k: v for k, v in row.items() if v} for row in rows
    ]


@hypothesis(deadline=None, max_examples=200)
@given(data=st.binary(max_size=60), name=st.sampled_from(["a.csv", "a.json"]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes({"a.csv": b"text\n", "a.json": b"["}[name] + data)
        try:
            assert all(isinstance(item, Record | BadLine) for item in records.read(path))
        except BadInput as refusal:
            assert str(path) in str(refusal)


# Lines without end, files that break off


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b'{"text": "b"}\n{"text": "%b"}\n{"text": "a"}'),
        ("a.jsonl", b'{"text": "b"}\r\n{"text": "%b"}'),
        ("a.json", b'[{"text": "b"}, {"text": "%b"}, {"text": "a"}]'),
        ("a.json", b'[{"text": "b"}, {"text": "%b"}]'),
        ("a.csv", b"text\nb\n%b\na\n"),
        ("a.csv", b'text\nb\n"%b\n"",\n%b"\na\n'),
        ("a.csv", b"text\nb\n%b"),
    ],
)
def test_an_endless_line_is_named_but_not_held(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    long = 24 * 2**20
    path.write_bytes(data.replace(b"%b", b'x\\"\\\\ ' * (long // 6)))
    if name == "a.csv":
        path.write_bytes(data.replace(b"%b", b"words " * (long // 6)))
    tracemalloc.start()
    try:
        first, bad, *after = records.read(path, max_line_bytes=2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20
    assert isinstance(first, Record) and isinstance(bad, BadLine)
    assert bad.reason == "too_long_line" and str(2**20) in bad.detail
    size = int(bad.detail.split()[0])
    assert long <= size <= 2 * long + 100 and len(bad.excerpt) <= 200
    assert [item.text for item in after if isinstance(item, Record)] == ["a"] * len(after)
    assert len(after) == data.count(b"a", data.rindex(b"%b"))
    many = data.count(b"\n", data.index(b"%b"), data.rindex(b"%b"))
    assert bad.line == (3 if name == "a.csv" else 2) + many


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(("name", "head"), [("a.jsonl", b""), ("a.json", b"["), ("a.csv", b"t\n")])
def test_a_line_as_long_as_the_limit_is_read(
    tmp_path: Path, name: str, head: bytes, end: bytes
) -> None:
    path = tmp_path / name
    line = b'"xxxx"'
    path.write_bytes(head + line + (b"]" if head == b"[" else end))
    for limit, reason in ((6, None), (5, "too_long_line")):
        items = [value for _, value in file_kind(path).rows(path, Chunk.whole(path), limit)]
        assert [getattr(item, "reason", None) for item in items] == [reason]


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.ZstdCompressor().compress)],
)
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_what_stands_before_the_damage_of_a_file_is_kept(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes], damage: str
) -> None:
    path = tmp_path / name
    packed = bytearray(compress(LINES))
    middle = len(packed) * 2 // 3
    if damage == "cut":
        del packed[middle:]
    else:
        packed[middle : middle + 64] = bytes(64)
    path.write_bytes(packed)
    *kept, rest = records.read(path)
    assert isinstance(rest, BadLine) and rest.reason == "truncated" and rest.detail
    assert rest.line == len(kept) + 1 > 1000
    good = [item.text for item in kept if isinstance(item, Record)]
    lines = [orjson.loads(line)["text"] for line in LINES.splitlines()]
    if damage == "flip":
        # Deflate goes on for a while in damaged data before it is noticed.
        assert good[:1000] == lines[:1000]
        return
    assert good == lines[: len(kept)]
    if name == "a.jsonl.gz":
        assert len(good) == zlib.decompressobj(31).decompress(packed).count(b"\n")
    else:
        found = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        assert len(good) == found.count(b"\n")


# Chunks

BYTES = st.lists(
    st.binary(max_size=30)
    | st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n", b"\xef\xbb\xbf", b"\x00", b"\n" * 9])
    | st.sampled_from([b'{"text": "a"}\n', b'{"text": "b", "id": 1}\r\n', b'{"text": "c"}']),
    max_size=12,
).map(b"".join)


def outcome(items: Iterable[Record | BadLine]) -> object:
    try:
        return [*items]
    except BadInput as refusal:
        assert "holds no record" in str(refusal)
        return []


@hypothesis(deadline=None, max_examples=300)
@given(
    data=BYTES,
    target=st.integers(1, 60),
    block=st.sampled_from([1, 2, 13, 2**18]),
    limit=st.sampled_from([3, 14, 100]),
)
def test_chunks_in_order_are_the_file(data: bytes, target: int, block: int, limit: int) -> None:
    assume(not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(data)
        with mock.patch.object(json_text, "BLOCK", block):
            chunks = records.chunks(path, target)
        parts = [records.read_chunk(chunk, max_line_bytes=limit) for chunk in chunks]
        assert list(chain(*parts)) == outcome(records.read(path, max_line_bytes=limit))
    if chunks and chunks[0].size < 0:  # not told by its beginning to be lines: read as a whole
        assert len(chunks) == 1
        return
    position = 0
    for chunk in chunks:
        part = data[chunk.start : chunk.start + chunk.size]
        assert chunk.start == position and chunk.first_line == data[:position].count(b"\n") + 1
        assert chunk is chunks[-1] or (part.endswith(b"\n") and len(part) >= target)
        assert b"\n" not in part[max(target - 1, 0) : -1]
        position += chunk.size
    assert position == len(data)


def test_a_chunk_of_a_file_that_has_shrunk_is_refused(write_lines: Callable[..., Path]) -> None:
    path = write_lines("a.jsonl", {"text": "a"}, {"text": "b"})
    (chunk,) = records.chunks(path)
    write_lines("a.jsonl", {"text": "a"})
    with pytest.raises(BadInput, match="shorter"):
        list(records.read_chunk(chunk))


@pytest.mark.parametrize("target", [1, 700, 10**9])
def test_parquet_chunks_are_runs_of_row_groups(tmp_path: Path, target: int) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"text": f"text {n}", "x": n if n % 7 else None} for n in range(103)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    chunks = records.chunks(path, target)
    assert len(chunks) == 11 if target == 1 else len(chunks) < 11
    parts = [list(records.read_chunk(chunk)) for chunk in chunks]
    assert [part[0].line for part in parts] == [chunk.first_line for chunk in chunks]
    assert [*chain(*parts)] == list(records.read(path))


def test_other_formats_are_one_chunk(tmp_path: Path) -> None:
    for name in ("a.json", "a.csv", "a.jsonl.gz", "a.jsonl.zst"):
        (tmp_path / name).write_bytes(b"[]")
        assert records.chunks(tmp_path / name) == [Chunk(str(tmp_path / name), 1, 0, -1)]
    (tmp_path / "empty.jsonl").touch()
    assert records.chunks(tmp_path / "empty.jsonl") == []
    for name in ("none.jsonl", "none.parquet"):
        with pytest.raises(BadInput, match="no such file"):
            records.chunks(tmp_path / name)


# Addresses


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/shelf", recursive=True)


def test_files_of_a_store_read_as_local_ones(
    tmp_path: Path, store: fsspec.AbstractFileSystem
) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    table = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(lines)
    store.pipe(
        {
            "/shelf/a.jsonl": lines,
            "/shelf/a.jsonl.gz": gzip.compress(lines),
            "/shelf/deep/a.jsonl.zst": zstandard.compress(lines),
            "/shelf/a.json": json.dumps(ROWS).encode(),
            "/shelf/a.parquet": table,
            "/shelf/notes.txt": b"",
        }
    )
    expected = contents(tmp_path / "a.jsonl")
    paths = records.expand(["memory://shelf"])
    assert sorted(path.name for path in paths) == [
        "a.json",
        "a.jsonl",
        "a.jsonl.gz",
        "a.jsonl.zst",
        "a.parquet",
    ]
    for path in [*paths, *records.expand([(tmp_path / "a.jsonl").as_uri()])]:
        assert contents(path) == expected
        (chunk,) = records.chunks(path)
        assert str(pickle.loads(pickle.dumps(path))) == chunk.path == str(path)
        assert [item.source for item in records.read_chunk(chunk)] == [str(path)] * 5
        assert "://" in str(path) and not path.is_file()
    assert files.md5(paths[1]) == files.md5(tmp_path / "a.jsonl")


def test_addresses_of_files_pass_and_globs_are_listed(store: fsspec.AbstractFileSystem) -> None:
    for url in (
        "s3://bucket//key.jsonl",
        "hf://datasets/owner/name/file.jsonl.gz",
        "https://host/a.parquet?download=true",
    ):
        (path,) = records.expand([url])
        assert str(path) == url == str(records.expand([path])[0])
    store.pipe({"/shelf/b.jsonl": b'{"text": "b"}', "/shelf/a.csv": b"text\na\n"})
    texts = [record.text for record in records.load(["memory://shelf/*.jsonl", "memory://shelf"])]
    assert texts == ["b", "a"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://shelf/none.jsonl", "no such file"),
        ("memory://shelf/none.jsonl.zst", "no such file"),
        ("memory://shelf/none.parquet", "no such file"),
        ("memory://shelf/*.jsonl", "no file of a known format"),
        ("memory://nowhere", "no file of a known format"),
        ("nosuchscheme://a/b.jsonl", "Protocol not known"),
    ],
)
def test_an_address_without_a_file_is_refused_by_name(url: str, says: str) -> None:
    fsspec.filesystem("memory")
    with pytest.raises(BadInput) as refusal:
        records.load([url])
    assert url in str(refusal.value) and says in str(refusal.value)


# Ids


@hypothesis(deadline=None, max_examples=300)
@given(value=LIKE_RECORDS | st.fixed_dictionaries({"text": st.text()}))
def test_an_id_is_the_hash_of_the_content_as_sorted_json(value: dict) -> None:
    item = records.parse({**value, "id": None}, "file.jsonl", 7, labelled=False)
    if isinstance(item, Record):
        text = json.dumps(item.content(), sort_keys=True)
        assert item.id == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_an_id_stays_what_it_was() -> None:
    value = {"prompt": 'Ask \x7f \\ " \x1b', "completion": "é 😀\n"}
    assert records.content_id(parsed(value).content()) == "61f3f8261d1785bc"
    assert records.content_id({"text": "a"}) == "8b5cb36823fb6c59"
