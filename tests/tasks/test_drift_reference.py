import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks import records
from tasks.core.errors import BadInput
from tasks.drift import detect, write_reference
from tasks.drift.reference import Draw
from tasks.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "curate": {"feedback": "data/feedback", "replay": {"inputs": ["data/general"]}},
        "drift": {"permutations": 200, "max_rows": 60, "reference_rows": 60},
    }
)
KINDS = {
    "data": ["sort the rows", "join two frames", "fill missing values", "drop a column"],
    "songs": ["write a ballad", "rhyme on winter", "sing of the sea", "hum a slow tune"],
    "law": ["cite the statute", "draft a clause", "appeal the ruling", "sign a lease"],
}


def chats(kind: str, count: int, seed: int, source: str) -> list[dict]:
    """Curated lines, as curation writes them."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        ask = f"{draw.choice(KINDS[kind])} and {draw.choice(KINDS[kind])} {draw.randrange(10**6)}"
        lines.append(
            {
                "id": f"{kind}-{seed}-{number}",
                "messages": [
                    {"role": "system", "content": "secret instructions"},
                    {"role": "user", "content": ask},
                    {"role": "assistant", "content": "a confidential answer"},
                ],
                "group": f"g{number}",
                "meta": {"customer": "someone"},
                "source": source,
                "line": number + 1,
            }
        )
    return lines


@pytest.fixture
def curated(write_lines: Callable[..., Path]) -> Callable[..., Path]:
    def write(train: list[dict], validation: list[dict]) -> Path:
        write_lines("curated/validation.jsonl", *validation)
        return write_lines("curated/train.jsonl", *train).parent

    return write


def test_holds_whole_conversations_drawn_down_from_every_split(
    curated: Callable[..., Path], tmp_path: Path
):
    train = chats("data", 70, 1, "data/train/a.jsonl")
    validation = chats("data", 30, 2, "data/train/a.jsonl")
    out = write_reference(curated(train, validation), tmp_path / "x" / "reference.jsonl", SETTINGS)
    assert out == tmp_path / "x" / "reference.jsonl"
    text = out.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 60
    assert all(row.keys() == {"id", "messages", "group", "drift_regime"} for row in rows)
    roles = [[turn["role"] for turn in row["messages"]] for row in rows]
    assert roles == [["system", "user", "assistant"]] * 60
    assert {row["id"].split("-")[1] for row in rows} == {"1", "2"}
    assert "someone" not in text
    again = write_reference(curated(train[::-1], validation), tmp_path / "again.jsonl", SETTINGS)
    assert again.read_bytes() == out.read_bytes()


def test_what_curation_dropped_is_read_again_and_masked(
    curated: Callable[..., Path], write_lines: Callable[..., Path], tmp_path: Path
):
    raw = chats("data", 60, 1, "")
    for line in raw:
        del line["source"], line["line"], line["group"]
    raw[1]["messages"][1]["content"] = "sort the rows for ada@perpetune.dev"
    raw[2]["messages"][1]["content"] = "password of the root account"
    raw[3]["messages"][1]["content"] = "general knowledge"
    source = write_lines("data/train/a.jsonl", *raw)
    kept = [line | {"source": str(source), "line": n + 1} for n, line in enumerate(raw)][10:]
    folder = curated(kept, [])
    reasons = {1: "near_duplicate", 2: "short_completion", 3: "personal_data", 4: "replay_surplus"}
    dropped = [
        {"id": str(line), "source": str(source), "line": line, "step": "s", "reason": reason}
        for line, reason in reasons.items()
    ]
    dropped.append(dropped[0] | {"source": str(tmp_path / "gone.jsonl")})
    write_lines("curated/dropped.jsonl", *dropped)
    text = write_reference(folder, tmp_path / "reference.jsonl", SETTINGS).read_text()
    prompts = [json.loads(line)["messages"][1]["content"] for line in text.splitlines()]
    assert len(prompts) == 52
    assert raw[0]["messages"][1]["content"] in prompts
    assert "sort the rows for [EMAIL]" in prompts
    assert "password" not in text and "general knowledge" not in text


def test_replay_is_not_what_traffic_looks_like(curated: Callable[..., Path], tmp_path: Path):
    train = chats("data", 40, 1, "data/train/a.jsonl") + chats("law", 40, 2, "data/general/b.jsonl")
    out = write_reference(curated(train, []), tmp_path / "reference.jsonl", SETTINGS)
    assert {json.loads(line)["id"].split("-")[0] for line in out.read_text().splitlines()} == {
        "data"
    }


def test_repeats_are_counted_and_signals_kept(curated: Callable[..., Path], tmp_path: Path):
    train = [
        line | {"group": None, "meta": {"loss": 0.5, "feedback": True, "customer_number": 77}}
        for line in chats("data", 30, 1, "a.jsonl")
    ]
    repeats = [train[0] | {"id": f"again-{n}"} for n in range(8)]
    out = write_reference(curated(train + repeats, []), tmp_path / "reference.jsonl", SETTINGS)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 30
    assert all(row["meta"] == {"loss": 0.5, "feedback": True} for row in rows)
    assert {row["id"]: row["drift_count"] for row in rows if "drift_count" in row} == {"again-0": 9}


@hypothesis_settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), min_size=1), st.randoms())
def test_groups_are_drawn_whole_whatever_the_order(
    pairs: list[tuple[int, int]], order: random.Random
):
    found = [
        records.parse(
            {"prompt": f"ask {text}", "id": str(n), "group": f"g{group}"}, "a", n, labelled=False
        )
        for n, (group, text) in enumerate(pairs)
    ]
    shuffled = order.sample(found, len(found))
    limit = 40
    one, other = Draw(limit, 0), Draw(limit, 0)
    for record in found:
        one.add(record)
    for record in shuffled:
        other.add(record)
    assert one.rows() == other.rows()
    drawn = {record.group: 0 for record in one.rows()}
    for record in one.rows():
        drawn[record.group] += 1
    assert len(one.rows()) <= limit
    for group, count in drawn.items():
        texts = {record.prompt for record in found if record.group == group}
        assert count == min(len(texts), limit // 10)


def test_after_a_drift_round_both_old_and_new_traffic_are_normal(
    curated: Callable[..., Path], write_lines: Callable[..., Path], tmp_path: Path
):
    train = chats("data", 120, 1, "data/train/a.jsonl")
    train += chats("songs", 40, 2, "data/feedback/window-4.jsonl")
    out = write_reference(curated(train, []), tmp_path / "reference.jsonl", SETTINGS)
    outcomes = {}
    for kind in KINDS:
        window = write_lines(f"{kind}.jsonl", *chats(kind, 40, 9, "traffic"))
        result = detect(out, window, SETTINGS)
        outcomes[kind] = (result.drift, result.regime)
        assert [regime.rows for regime in result.regimes] == [40, 60]
        assert result.p_value == max(regime.p_value for regime in result.regimes)
        assert result.rows.reference == {"training": 60}.get(result.regime, 40)
    assert outcomes["data"] == (False, "training")
    assert outcomes["songs"] == (False, "data/feedback/window-4.jsonl")
    assert outcomes["law"][0] is True


def test_a_regime_too_small_to_tell_does_not_silence_the_alarm(
    curated: Callable[..., Path], write_lines: Callable[..., Path], tmp_path: Path
):
    rows = [row | {"drift_regime": "training"} for row in chats("data", 60, 1, "a")]
    rows += [row | {"drift_regime": "tiny"} for row in chats("songs", 3, 2, "b")]
    window = write_lines("songs.jsonl", *chats("songs", 40, 9, "traffic"))
    result = detect(write_lines("reference.jsonl", *rows), window, SETTINGS)
    assert result.drift
    assert [regime.name for regime in result.regimes] == ["training"]


def test_the_report_names_the_regime_that_the_window_is_nearest_to(
    curated: Callable[..., Path], write_lines: Callable[..., Path], tmp_path: Path
):
    train = chats("data", 60, 1, "data/train/a.jsonl")
    train += chats("songs", 40, 2, "data/feedback/<window>.jsonl")
    out = write_reference(curated(train, []), tmp_path / "reference.jsonl", SETTINGS)
    window = write_lines("songs.jsonl", *chats("songs", 40, 9, "traffic"))
    detect(out, window, SETTINGS, report=tmp_path / "drift.html")
    page = (tmp_path / "drift.html").read_text()
    assert "<b>data/feedback/&lt;window&gt;.jsonl</b>" in page
    assert "<window>" not in page


def test_feedback_is_recognised_by_an_absolute_path_too(
    curated: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    absolute = str(tmp_path / "data" / "feedback" / "window-4.jsonl")
    train = chats("data", 40, 1, "data/train/a.jsonl") + chats("songs", 40, 2, absolute)
    out = write_reference(curated(train, []), tmp_path / "reference.jsonl", SETTINGS)
    regimes = {json.loads(line)["drift_regime"] for line in out.read_text().splitlines()}
    assert regimes == {"training", absolute}


def test_feedback_too_small_to_compare_with_is_left_out(
    curated: Callable[..., Path], tmp_path: Path
):
    train = chats("data", 40, 1, "data/train/a.jsonl")
    train += chats("songs", 10, 2, "data/feedback/window-4.jsonl")
    out = write_reference(curated(train, []), tmp_path / "reference.jsonl", SETTINGS)
    assert "songs" not in out.read_text()


def test_a_small_training_source_is_written_and_refused_only_when_it_is_compared(
    curated: Callable[..., Path], write_lines: Callable[..., Path], tmp_path: Path
):
    folder = curated(chats("data", 10, 1, "a"), [])
    out = write_reference(folder, tmp_path / "reference.jsonl", SETTINGS)
    assert len(out.read_text().splitlines()) == 10
    with pytest.raises(BadInput, match=r"reference\.jsonl: holds 10 rows to compare"):
        detect(out, write_lines("window.jsonl", *chats("data", 40, 2, "b")), SETTINGS)


def test_training_data_without_a_prompt_is_refused(curated: Callable[..., Path], tmp_path: Path):
    out = tmp_path / "reference.jsonl"
    with pytest.raises(BadInput, match="curated: no record has a prompt"):
        write_reference(curated([{"id": 1, "text": " "}], []), out, SETTINGS)
    with pytest.raises(BadInput, match="no such file"):
        write_reference(tmp_path / "nowhere", out, SETTINGS)
    assert not out.exists()


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        ({"min_rows": 100, "max_rows": 50}, "min_rows"),
    ],
)
def test_settings_under_which_nothing_could_alarm_are_refused(drift: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Settings.model_validate({"drift": drift})


def test_a_small_regime_does_not_excuse_what_is_new(write_lines: Callable[..., Path]):
    rows = [row | {"drift_regime": "training"} for row in chats("data", 200, 1, "a")]
    rows += [row | {"drift_regime": "small"} for row in chats("songs", 20, 2, "b")]
    reference = write_lines("reference.jsonl", *rows)
    mixed = [*chats("law", 30, 3, "c"), *chats("songs", 30, 4, "c")]
    for window, drift in ((chats("law", 60, 5, "c"), True), (chats("songs", 60, 6, "c"), False),
                          (mixed, True)):  # fmt: skip
        result = detect(reference, write_lines("window.jsonl", *window), SETTINGS)
        assert result.drift is drift
        assert len(result.regimes) == 2
