"""JSON that we write can be read everywhere, and what we wrote before can be read, too."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core import files
from tasks.core.errors import PerpetuneError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=40, deadline=None)
@given(value=VALUES)
def test_what_is_written_is_json_and_comes_back(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    text = path.read_bytes().decode()
    assert json.loads(text, parse_constant=refuse) == without_nan(value)
    assert json.loads(files.to_json(value), parse_constant=refuse) == without_nan(value)


def test_scalars_of_numpy_are_numbers_and_paths_are_text() -> None:
    value = {"a": np.float32(0.5), "b": np.int64(3), "c": np.float64("nan"), "d": Path("x/y")}
    assert json.loads(files.to_json(value)) == {"a": 0.5, "b": 3, "c": None, "d": "x/y"}
    assert json.loads(files.to_json([np.float32("inf"), (np.bool_(True), -math.inf)])) == [
        None,
        [True, None],
    ]
    with pytest.raises(TypeError):
        files.to_json({"a": object()})


def test_nan_of_an_older_version_is_read_as_null(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"loss": NaN, "list": [Infinity, -Infinity, 1.5]}')
    assert files.read_json(path) == {"loss": None, "list": [None, None, 1.5]}
    lines = tmp_path / "old.jsonl"
    lines.write_text('{"loss": 1}\n\n{"loss": NaN}\n')
    assert files.read_jsonl(lines) == [{"loss": 1}, {"loss": None}]


@pytest.mark.parametrize("content", ["", "{", '{"a": 1', "\x00", "[" * 100_000, "\udc80"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(PerpetuneError, match=r"cut\.json: damaged"):
        files.read_json(path)
    lines = tmp_path / "cut.jsonl"
    lines.write_bytes(b'{"a": 1}\n' + (content or "x").encode(errors="surrogateescape") + b"\n")
    with pytest.raises(PerpetuneError, match=r"cut\.jsonl:2: damaged"):
        files.read_jsonl(lines)
