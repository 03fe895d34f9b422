"""A drifted window's labelled records: a part trains, the other measures, always the same ones."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from tasks import records
from tasks.collect import Adopted, adopt_window
from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.settings import Settings

Lines = Callable[..., Path]


def watch(data: Path, share: float = 0.5, least: int = 2) -> Settings:
    return Settings.model_validate(
        {
            "watch": {"heldout_share": share, "min_labelled": least},
            "curate": {"feedback": str(data / "feedback")},
            "evaluate": {"benchmarks": [str(data / "benchmarks")]},
        }
    )


def row(number: int, group: str | None = None, answer: str | None = "Fine.") -> dict:
    messages = [{"role": "user", "content": f"Question {number}?"}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"id": f"r{number}", "messages": messages} | ({"group": group} if group else {})


def ids(path: Path) -> set[str]:
    return {record.id for record in records.load([path])}


@property_settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.sampled_from([None, *"abcdefgh"]), min_size=2, max_size=60),
    share=st.floats(0.05, 0.95),
    seed=st.randoms(use_true_random=False),
)
def test_the_parts_are_a_fair_split(
    groups: list[str | None], share: float, seed: random.Random
) -> None:
    rows = [row(number, group) for number, group in enumerate(groups)]
    with TemporaryDirectory() as folder:
        window, data = Path(folder, "window-9.jsonl"), Path(folder, "data")

        def adopt() -> Adopted:
            window.write_text("".join(f"{json.dumps(value)}\n" for value in rows))
            return adopt_window(window, watch(data, share))

        adopted = adopt()
        training, heldout = ids(adopted.feedback), ids(adopted.benchmark)
        first = files.file_hashes(data)
        assert adopted.labelled == len(rows)
        assert training | heldout == {value["id"] for value in rows}
        assert not training & heldout
        wanted = min(max(1, round(share * len(rows))), len(rows) - 1)
        assert 0.75 * wanted <= len(heldout) <= wanted
        assert training
        assert adopt() == adopted
        assert files.file_hashes(data) == first
        seed.shuffle(rows)
        adopt()
        assert (ids(adopted.feedback), ids(adopted.benchmark)) == (training, heldout)


def test_groups_stay_together(tmp_path: Path, write_lines: Lines) -> None:
    window = write_lines("window-4.jsonl", *[row(n, f"g{n % 20}") for n in range(200)])
    adopted = adopt_window(window, watch(tmp_path / "data", 0.3))
    training = {record.group for record in records.load([adopted.feedback])}
    heldout = {record.group for record in records.load([adopted.benchmark])}
    assert not training & heldout
    assert len(heldout) == 6


def test_one_group_is_split_by_record(tmp_path: Path, write_lines: Lines) -> None:
    window = write_lines("window-4.jsonl", *[row(n, "all") for n in range(40)])
    adopted = adopt_window(window, watch(tmp_path / "data", 0.25))
    assert (len(ids(adopted.feedback)), len(ids(adopted.benchmark))) == (30, 10)


def test_records_of_one_id_stay_together(tmp_path: Path, write_lines: Lines) -> None:
    rows = [row(n) | {"id": f"r{n // 2}"} for n in range(40)]
    adopted = adopt_window(write_lines("w.jsonl", *rows), watch(tmp_path / "data"))
    assert not ids(adopted.feedback) & ids(adopted.benchmark)
    assert len(records.load([adopted.feedback, adopted.benchmark])) == 40


def test_only_labelled_records_count(tmp_path: Path, write_lines: Lines) -> None:
    rows = [row(n, answer=None if n % 2 else "Yes.") for n in range(40)]
    window = write_lines("window-4.jsonl", *rows, "{broken", row(99, answer=""))
    adopted = adopt_window(window, watch(tmp_path / "data", least=20))
    assert adopted.labelled == 20
    assert ids(adopted.feedback) | ids(adopted.benchmark) == {f"r{n}" for n in range(0, 40, 2)}
    with pytest.raises(Refused, match=r"20 of 42 records are labelled, 21 are needed") as caught:
        adopt_window(window, watch(tmp_path / "other", least=21))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "other").exists()


def test_files_are_named_by_the_window_and_know_their_origin(tmp_path: Path) -> None:
    window = tmp_path / "2026.11-window.csv"
    window.write_text("prompt,completion\n" + "".join(f"q{n},a{n}\n" for n in range(20)))
    adopted = adopt_window(window, watch(tmp_path / "data"))
    assert sorted(files.file_hashes(tmp_path / "data")) == [
        "benchmarks/2026.11-window.jsonl",
        "feedback/2026.11-window.jsonl",
    ]
    # Where the window lay is this machine's business: the bytes must not depend on it.
    rows = files.read_jsonl(adopted.feedback)
    assert {row["meta"]["window"] for row in rows} == {window.name}
    # Read again, they come from the feedback folder: `tune.source_weights` draws by that.
    assert {record.row()["source"] for record in records.load([adopted.feedback])} == {
        str(adopted.feedback)
    }


def test_an_unreadable_window_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        adopt_window(tmp_path / "window-5.jsonl", watch(tmp_path / "data"))


def test_files_go_where_the_settings_say(tmp_path: Path, write_lines: Lines) -> None:
    window = write_lines("window-4.jsonl", *[row(n) for n in range(40)])
    exam = write_lines("exam.jsonl", row(100))
    settings = Settings.model_validate(
        {
            "curate": {"feedback": str(tmp_path / "labelled")},
            "evaluate": {"benchmarks": [str(exam), str(tmp_path / "held out")]},
        }
    )
    adopted = adopt_window(window, settings)
    assert adopted.feedback == tmp_path / "labelled" / "window-4.jsonl"
    assert adopted.benchmark == tmp_path / "held out" / "window-4.jsonl"
    assert adopted.feedback.is_file() and adopted.benchmark.is_file()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("curate", {"feedback": None}),
        ("evaluate", {"benchmarks": ["exam.jsonl", "more/*"]}),
        ("evaluate", {"benchmarks": ["s3://bucket/benchmarks"]}),
    ],
)
def test_without_a_folder_nothing_is_adopted(
    tmp_path: Path, write_lines: Lines, section: str, value: dict
) -> None:
    window = write_lines("window-4.jsonl", *[row(n) for n in range(40)])
    settings = watch(tmp_path / "data")
    settings = Settings.model_validate(settings.model_dump() | {section: value})
    with pytest.raises(BadInput, match=f"{section}.*folder"):
        adopt_window(window, settings)
    assert not (tmp_path / "data").exists()
