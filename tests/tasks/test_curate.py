"""Curation as a whole: everything is accounted for, and the same data gives the same bytes."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.curate import curate
from tasks.curate.steps.quality.filters import symbols
from tasks.curate.steps.quality.measurements import Measurements
from tasks.model import base_model, encoding, tokens
from tasks.settings import Settings

SPLITS = ("train.jsonl", "validation.jsonl", "test.jsonl")
DATA = (*SPLITS, "dropped.jsonl")
WORDS = [a + b + c for a in ("ka", "lo", "mi", "ru") for b in "bdgnst" for c in ("a", "eth", "o")]
ONE_FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def bench(write_lines: Callable[..., Path]) -> str:
    return str(write_lines("bench.jsonl", pair(999_999)))


def pair(seed: int, **more: object) -> dict:
    """A record that shares next to nothing with that of another seed."""
    rng = random.Random(seed)
    return {
        "id": f"r{seed}",
        "prompt": " ".join(rng.choices(WORDS, k=20)) + "?",
        "completion": " ".join(rng.choices(WORDS, k=8)) + ".",
        **more,
    }


def rows(out: Path, name: str) -> list[dict]:
    return files.read_jsonl(out / name)


def data(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in DATA}


def homes(out: Path) -> dict[str, str]:
    return {row["id"]: name for name in SPLITS for row in rows(out, name)}


def reasons(out: Path) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in rows(out, "dropped.jsonl")}


# The contract


def test_exactly_these_files_appear_and_the_report_counts_them(
    tmp_path: Path, settings: Settings, bench: str, write_lines: Callable[..., Path]
) -> None:
    lines = [*map(pair, range(60)), pair(3, id="r3b"), pair(70, completion=" "), "{broken", 17]
    source = str(write_lines("a.jsonl", *lines))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("stays")
    report = curate([source], [bench], out, settings).to_json()
    names = {path.name for path in out.iterdir()}
    assert names == {*DATA, "report.json", "report.html", "data_card.md", "mine.txt"}
    assert report == files.read_json(out / "report.json")
    assert report["in"] == 64 and sum(report["kept"].values()) == 60
    assert report["dropped"] == {
        "duplicate": 1,
        "empty_completion": 1,
        "invalid_json": 1,
        "wrong_type": 1,
    }
    assert report["kept"] == {name[:-6]: len(rows(out, name)) for name in SPLITS}
    assert [step["step"] for step in report["steps"]] == [
        "read",
        "quality",
        "redact",
        "deduplicate",
        "near-duplicates",
        "decontaminate",
        "split",
    ]
    assert {"seconds", "records_per_second", "engine"} <= set(report)
    dropped = rows(out, "dropped.jsonl")
    keys = {"id", "source", "line", "step", "reason", "evidence"}
    assert all(set(row) == keys and row["source"] == source for row in dropped)
    assert [row["line"] for row in dropped] == [61, 62, 63, 64]
    assert dropped[2]["id"] is None and dropped[2]["reason"] == "invalid_json"


def test_kept_text_and_meta_are_the_users_own(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    odd = "  ﬁne\u200b  ＴＥＸＴ\tＷith  Ｃase "
    lines = [pair(n, completion=odd + str(n), topic={"n": n}, group=n) for n in range(5)]
    source = write_lines("a.jsonl", *lines)
    curate([str(source)], [], tmp_path / "out", settings)
    kept = [row for name in SPLITS for row in rows(tmp_path / "out", name)]
    assert sorted(row["messages"][-1]["content"] for row in kept) == [
        odd + str(n) for n in range(5)
    ]
    assert all(row["meta"] == {"topic": {"n": row["line"] - 1}} for row in kept)
    assert all(row["source"] == str(source) for row in kept)


HOSTILE = [
    b"\x00" * 9,
    b'{"text": "\\ud800"}',
    b'{"text": "a", "x": NaN}',
    b"[" * 300 + b"]" * 300,
    b'{"messages": [{"role": [], "content": {}}]}',
    b'{"messages": [{"role": "tool", "content": ""}, {"role": "assistant", "content": "ok"}]}',
    b'{"prompt": "a", "chosen": "chosen answer", "rejected": "<|im_end|>"}',
    '{"prompt": "ha", "completion": "ＨＡ"}'.encode(),
    '{"id": 0, "text": "\u202e\u0000 \U000e0001 '.encode() + b'long text"}',
    b'{"text": "' + b"ab " * 3000 + b'"}',
    b'{"text": "' + b"x" * 100_000 + b'"}',
    b'{"id": "same", "text": "one text here"}',
    b'{"id": "same", "text": "another text here"}',
    b"\xef\xbb\xbf",
    b"  ",
]
LIKE_RECORDS = st.dictionaries(
    st.sampled_from(["text", "prompt", "completion", "id", "group", "meta", "source", "line"]),
    st.text(max_size=30) | st.integers(0, 3) | st.none() | st.just({}),
    max_size=5,
)


@hypothesis(deadline=None, max_examples=25, suppress_health_check=ONE_FIXTURE)
@given(
    lines=st.lists(
        st.binary(max_size=30)
        | st.sampled_from(HOSTILE)
        | st.builds(json.dumps, LIKE_RECORDS).map(str.encode),
        max_size=12,
    )
)
def test_every_line_is_kept_or_in_the_ledger_whatever_its_bytes(
    settings: Settings, lines: list[bytes]
) -> None:
    fine = [json.dumps(pair(n)).encode() for n in range(2)]
    content = b"\n".join([*fine, *lines])
    expected = [n for n, line in enumerate(content.split(b"\n"), 1) if line.strip(b" \t\r\n")]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "a.jsonl", Path(folder) / "out"
        source.write_bytes(content)
        report = curate([str(source)], [], out, settings).to_json()
        kept = [row for name in SPLITS for row in rows(out, name)]
        dropped = rows(out, "dropped.jsonl")
        assert report["in"] == len(expected) == len(kept) + len(dropped)
        assert report["dropped"] == Counter(row["reason"] for row in dropped)
        own = [row["line"] for row in [*kept, *dropped] if row["source"] == str(source)]
        assert set(own) <= set(expected)
        # Curating what was kept drops nothing and moves nothing.
        again = Path(folder) / "again"
        second = curate(
            [str(out / name) for name in SPLITS if rows(out, name)], [], again, settings
        ).to_json()
        assert second["dropped"] == {}
        assert all((again / name).read_bytes() == (out / name).read_bytes() for name in SPLITS)


def test_the_order_of_files_and_of_runs_changes_nothing(
    tmp_path: Path, settings: Settings, bench: str, write_lines: Callable[..., Path]
) -> None:
    parts = [
        str(write_lines("a.jsonl", *map(pair, range(30)), "broken", pair(999_999, id="leak"))),
        str(write_lines("b.jsonl", *map(pair, range(20, 50)))),
        str(write_lines("c.jsonl", *[pair(n, id=f"r{n + 1}") for n in range(5)])),
    ]
    first = curate(parts, [bench], tmp_path / "one", settings).to_json()
    assert first["dropped"] == {"contaminated": 1, "duplicate": 15, "invalid_json": 1}
    curate(parts[::-1], [bench], tmp_path / "two", settings)
    assert data(tmp_path / "one") == data(tmp_path / "two")
    curate([str(tmp_path / "[abc].jsonl"), parts[1]], [bench], tmp_path / "two", settings)
    assert data(tmp_path / "one") == data(tmp_path / "two")


# What cannot be curated


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), ("", "holds no record"), ("{}\n[]\n", "none of the file's 2 lines")],
)
@pytest.mark.parametrize("role", ["input", "benchmark"])
def test_inputs_and_benchmarks_without_records_are_refused(
    tmp_path: Path,
    settings: Settings,
    write_lines: Callable[..., Path],
    content: str | None,
    says: str,
    role: str,
) -> None:
    fine, odd = str(write_lines("fine.jsonl", pair(1), pair(2))), tmp_path / "odd.jsonl"
    if content is not None:
        odd.write_text(content)
    inputs, against = ([str(odd)], []) if role == "input" else ([fine], [str(odd)])
    with pytest.raises(BadInput, match=says) as refusal:
        curate(inputs, against, tmp_path / "out", settings)
    assert str(odd) in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_file_without_records_beside_a_good_one_is_in_the_ledger(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    fine, odd = write_lines("fine.jsonl", pair(1), pair(2)), write_lines("odd.jsonl", "{}", "[]")
    (tmp_path / "nothing.jsonl").touch()
    inputs = [str(fine), str(odd), str(tmp_path / "nothing.jsonl")]
    report = curate(inputs, [], tmp_path / "out", settings).to_json()
    assert report["in"] == 4 and report["dropped"] == {"missing_field": 1, "wrong_type": 1}
    assert {row["source"] for row in rows(tmp_path / "out", "dropped.jsonl")} == {str(odd)}


def test_nothing_left_and_nothing_to_validate_on_are_refused(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    empty = write_lines("a.jsonl", pair(1, completion=""), pair(2, completion="?!?!"))
    with pytest.raises(BadInput, match=r"every record.*empty_completion 1, symbol_ratio 1"):
        curate([str(empty)], [], tmp_path / "out", settings)
    alone = write_lines("b.jsonl", *[pair(n, group="g") for n in range(9)])
    with pytest.raises(BadInput, match=r"no validation set.*`group`"):
        curate([str(alone)], [], tmp_path / "out", settings)
    with pytest.raises(BadInput, match="no input"):
        curate([], [], tmp_path / "out", settings)


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    source = str(write_lines("a.jsonl", pair(1), pair(2)))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PerpetuneError, match="out: File exists"):
        curate([source], [], tmp_path / "out", settings)


def test_a_failed_run_leaves_the_old_result_whole(
    tmp_path: Path,
    settings: Settings,
    write_lines: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    curate([str(write_lines("a.jsonl", pair(1), pair(2)))], [], out, settings)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(PerpetuneError, match="No space left"):
        curate([str(write_lines("b.jsonl", pair(3), pair(4)))], [], out, settings)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


# Quality


def answered(text: str, prompt: str = "What is a good answer to this question?") -> dict:
    return {"id": "case", "prompt": prompt, "completion": text}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (answered("\u200b \u00ad\n"), "empty_completion"),
        (answered("ＷＨＡＴ is\u200b it here", "What is it  here"), "repeats_prompt"),
        (answered("=-=-=-=-=-=-= a"), "symbol_ratio"),
        (answered("again and again we say " * 4), "repetition_ratio"),
        (answered("no no no no no no no no"), "repetition_ratio"),
        (answered("word " + " ".join(f"n{n}" for n in range(400))), "too_long"),
        (answered("x" * 200_000), "too_long"),
        ({"id": "case", "text": "tiny text"}, "too_short"),
        ({"id": "case", "prompt": "p", "chosen": "fine one", "rejected": "n7 " * 900}, "too_long"),
        (answered("B"), None),
        (answered("A good answer, which says something."), None),
        (answered("यह एक अच्छा उत्तर है जो कुछ कहता है।"), None),
        (answered("数を二つ受け取り、その和を返す関数です。"), None),
        (answered("def f(a):\n    return [a, a ** 2, a ** 3]"), None),
        ({"id": "case", "prompt": "p", "chosen": "fine one", "rejected": "worse"}, None),
    ],
)
def test_quality_drops_by_name_and_keeps_the_rest(
    tmp_path: Path,
    settings: Settings,
    write_lines: Callable[..., Path],
    value: dict,
    reason: str | None,
) -> None:
    source = write_lines("a.jsonl", pair(1), pair(2), value)
    curate([str(source)], [], tmp_path / "out", settings)
    assert reasons(tmp_path / "out").get("case") == reason


def learned(text: str) -> records.Record:
    record = records.parse({"text": text}, "a.jsonl", 1)
    assert isinstance(record, records.Record)
    return record


def symbol_ratio(record: records.Record, maximum: float) -> dict[str, object] | None:
    settings = symbols.Symbols(max_symbol_ratio=maximum)
    return symbols.SymbolRatio().check(record, settings, Measurements())


def test_only_signs_without_meaning_are_symbols() -> None:
    for answer in ("यह एक अच्छा उत्तर है e\u0301t\u00e9 2", "a_b #", "{}", "C++", ""):
        assert symbol_ratio(learned(answer), 0.0) is None
    assert symbol_ratio(learned("Yes" + "!" * 9), 0.7) == {"share": 0.75, "maximum": 0.7}
    assert symbol_ratio(learned("Yes" + "!" * 9), 0.75) is None


def test_quality_has_figures_as_evidence_and_settings_move_the_line(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    source = str(write_lines("a.jsonl", pair(1), pair(2), answered("short")))
    settings = make_settings(curate={"min_completion_characters": 8})
    curate([source], [], tmp_path / "out", settings)
    (line,) = rows(tmp_path / "out", "dropped.jsonl")
    assert line["evidence"] == {"characters": 5, "minimum": 8}
    report = curate([source], [], tmp_path / "out", make_settings()).to_json()
    assert report["dropped"] == {}


def test_tokens_are_those_that_training_sees(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    source = write_lines("a.jsonl", *map(pair, range(20)))
    settings = make_settings()
    tokenizer = base_model.load_tokenizer(settings)
    counts = [len(encoding.encode(r, tokenizer).input_ids) for r in records.load([source])]
    report = curate([str(source)], [], tmp_path / "out", settings).to_json()
    assert report["tokens"]["total"] == sum(counts)
    assert report["tokens"]["maximum"] == max(counts)
    assert sum(bin["records"] for bin in report["tokens"]["bins"]) == 20
    limit = sorted(counts)[9]
    report = curate(
        [str(source)], [], tmp_path / "out", make_settings(curate={"max_tokens": limit})
    ).to_json()
    assert report["dropped"] == {"too_long": sum(count > limit for count in counts)}


def test_a_chat_that_the_template_refuses_is_dropped_not_fatal(
    tmp_path: Path,
    make_settings: Callable[..., Settings],
    write_lines: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(curate={"check_turns": False})
    tokenizer = tokens.load(tokens.locate(settings))
    strict = "{% if messages[0].role != 'user' %}{{ raise_exception('start with the user') }}"
    monkeypatch.setattr(
        tokenizer, "chat_template", strict + "{% endif %}" + tokenizer.chat_template
    )
    turns = [{"role": "assistant", "content": "I begin, unasked, as I like."}]
    source = write_lines("a.jsonl", pair(1), pair(2), {"id": "case", "messages": turns})
    curate([str(source)], [], tmp_path / "out", settings)
    (line,) = rows(tmp_path / "out", "dropped.jsonl")
    assert line["reason"] == "unrenderable" and "start with the user" in line["evidence"]["error"]


# Duplicates


def test_of_equal_records_the_smallest_id_stays(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    value = pair(1)
    loud = {"prompt": value["prompt"].upper(), "completion": "\u200b" + value["completion"]}
    first = write_lines("a.jsonl", value | {"id": "c"}, pair(2), value | {"id": "b"})
    second = write_lines("b.jsonl", loud | {"id": "a"}, value | {"id": "b"})
    curate([str(first), str(second)], [], tmp_path / "out", settings)
    assert set(homes(tmp_path / "out")) == {"a", "r2"}
    dropped = rows(tmp_path / "out", "dropped.jsonl")
    assert [(row["id"], row["source"], row["line"]) for row in dropped] == [
        ("c", str(first), 1),
        ("b", str(first), 3),
        ("b", str(second), 2),
    ]
    for row in dropped:
        assert row["evidence"] == {
            "kept_id": "a",
            "kept_source": str(second),
            "kept_line": 1,
            "similarity": 1.0,
        }


def test_what_differs_in_answer_role_or_call_is_no_duplicate(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    value = pair(1)
    asked, said = value["prompt"], value["completion"]
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    source = write_lines(
        "a.jsonl",
        value,
        pair(1, completion="Another answer to it."),
        {"text": f"{asked}\n{said}"},
        {"messages": [turns[0] | {"role": "system"}, turns[1]]},
        {"messages": [turns[0], turns[1] | {"tool_calls": [{"name": "add"}]}]},
    )
    template = tmp_path / "template.jinja"
    template.write_text(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ m.tool_calls }}<|im_end|>"
        "{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    settings = make_settings(
        base={"chat_template": str(template)}, curate={"protect_splits": None, "check_turns": False}
    )
    report = curate([str(source)], [], tmp_path / "out", settings).to_json()
    assert report["dropped"] == {}


def test_near_duplicates_name_what_stays_and_how_alike_it_is(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    rng = random.Random(3)
    said = rng.choices(WORDS, k=120)
    changed = [*said[:60], "changed", *said[61:]]
    other = [word if n % 4 else "other" for n, word in enumerate(said)]
    source = write_lines(
        "a.jsonl",
        {"id": "b", "text": " ".join(said)},
        {"id": "c", "text": " ".join(other)},
        {"id": "a", "text": " ".join(changed).upper()},
    )
    out, settings = tmp_path / "out", make_settings(curate={"protect_splits": None})
    curate([str(source)], [], out, settings)
    (line,) = rows(out, "dropped.jsonl")
    assert (line["id"], line["step"], line["reason"]) == ("b", "deduplicate", "near_duplicate")
    # 116 word 5-grams each, five of which the changed word is in.
    assert line["evidence"] == {
        "kept_id": "a",
        "kept_source": str(source),
        "kept_line": 3,
        "similarity": round(111 / 121, 4),
    }
    exact = make_settings(curate={"protect_splits": None, "near_duplicates": None})
    assert curate([str(source)], [], out, exact).dropped == {}


def test_a_template_with_other_labels_or_contents_is_no_duplicate(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    template = " ".join(random.Random(1).choices(WORDS, k=150))
    note = " ".join(random.Random(2).choices(WORDS, k=30))
    labels = [
        pair(n, prompt=f"{template} {note}", completion=f"{label} it is")
        for n, label in enumerate(["positive", "negative", "neutral"])
    ]
    filled = [pair(n, prompt=f"{template} {pair(n)['prompt']}") for n in range(10, 200)]
    source = write_lines("a.jsonl", *labels, *filled)
    report = curate(
        [str(source)], [], tmp_path / "out", make_settings(curate={"protect_splits": None})
    ).to_json()
    assert report["dropped"] == {}


def test_ids_that_clash_lose_no_record(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    first = write_lines("a.jsonl", *[pair(n, id=n) for n in range(10)])
    second = write_lines("b.jsonl", *[pair(n + 100, id=n) for n in range(10)])
    report = curate([str(first), str(second)], [], tmp_path / "out", settings).to_json()
    assert sum(report["kept"].values()) == 20
    assert any("10 records share their id" in sentence for sentence in report["advice"])


# Splits


def test_groups_never_straddle_and_every_split_gets_its_share(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    lines = [pair(n, group=f"g{n % 300}") for n in range(900)]
    report = curate([str(write_lines("a.jsonl", *lines))], [], tmp_path / "out", settings).to_json()
    split_of: dict[str, set[str]] = {}
    for name in SPLITS:
        for row in rows(tmp_path / "out", name):
            split_of.setdefault(row["group"], set()).add(name)
    assert len(split_of) == 300 and all(len(names) == 1 for names in split_of.values())
    assert sum(report["groups"].values()) == 300
    # 5% of 300 groups: 15, with a standard deviation of 3.8
    assert 3 <= report["groups"]["validation"] <= 27 and 3 <= report["groups"]["test"] <= 27


def test_adding_data_moves_no_old_group(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> None:
    old = write_lines("b.jsonl", *map(pair, range(200)))
    curate([str(old)], [], tmp_path / "old", settings)
    more = write_lines("a.jsonl", *map(pair, range(200, 500)))
    curate([str(old), str(more)], [], tmp_path / "new", settings)
    before, after = homes(tmp_path / "old"), homes(tmp_path / "new")
    assert len(set(before.values())) == 3 and len(after) == 500
    assert before.items() <= after.items()


@pytest.mark.parametrize("groups", [2, 3, 5, 8])
@pytest.mark.parametrize("shares", [(0.01, 0.0), (0.49, 0.49)])
def test_few_groups_still_give_training_and_validation(
    tmp_path: Path,
    make_settings: Callable[..., Settings],
    write_lines: Callable[..., Path],
    groups: int,
    shares: tuple[float, float],
) -> None:
    settings = make_settings(curate={"validation_share": shares[0], "test_share": shares[1]})
    for start in range(0, 40, 10):
        lines = [pair(n, group=start + n % groups) for n in range(12)]
        report = curate(
            [str(write_lines("a.jsonl", *lines))], [], tmp_path / "out", settings
        ).to_json()
        assert report["kept"]["train"] and report["kept"]["validation"]


# Report and advice


def test_advice_names_what_is_thin(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path], bench: str
) -> None:
    lines = [*map(pair, range(10)), *[pair(n, id=f"z{n}") for n in range(10)]]
    lines += [pair(n, completion="-=-=-") for n in range(10)]
    source = write_lines("a.jsonl", *lines)
    advice = "\n".join(curate([str(source)], [], tmp_path / "out", settings).advice)
    for words in ("No benchmark", "training examples", "validation examples", "33% of the records"):
        assert words in advice
    assert "duplicates" in advice and "curate.quality.max_symbol_ratio" in advice
    big = write_lines("b.jsonl", *map(pair, range(2300)))
    assert curate([str(big)], [bench], tmp_path / "out", settings).advice == ()


class Page(HTMLParser):
    """Tags in order, headings, and the visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile_page(
    tmp_path: Path, settings: Settings, write_lines: Callable[..., Path]
) -> tuple[str, Page]:
    evil = "<script>alert(1)</script> </style><img src=x onerror=alert(2)> {{ 7 * 7 }} **b** \u202e"
    bench = write_lines("<b>bench</b>.jsonl".replace("/", ""), pair(5, id=evil))
    source = write_lines(
        "<i>a.jsonl",
        *[pair(n, id=f"{evil}{n}", completion=f"{evil} {n}") for n in range(4)],
        pair(5, id=evil),
        pair(6, completion=evil[:3]),
        {"text": evil, "prompt": 5, "messages": evil},
        "<script>broken",
    )
    curate([str(source)], [str(bench)], tmp_path / "out", settings)
    html = (tmp_path / "out/report.html").read_text()
    return html, Page(html)


def test_the_page_shows_hostile_text_and_runs_none_of_it(hostile_page: tuple[str, Page]) -> None:
    html, page = hostile_page
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "i", "b", "iframe", "link", "object"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in page.text and "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in html and "⟨U+202E⟩" in page.text


def test_the_page_tells_the_funnel_and_the_reasons(
    tmp_path: Path, settings: Settings, bench: str, write_lines: Callable[..., Path]
) -> None:
    leak = pair(999_999, id="leak", completion="Something else altogether.")
    source = write_lines("a.jsonl", *map(pair, range(30)), pair(3, id="r3b"), leak)
    curate([str(source)], [bench], tmp_path / "out", settings)
    text = Page((tmp_path / "out/report.html").read_text()).text
    assert "32 records from 1" in " ".join(text.split())
    for words in (
        "Deduplicate",
        "duplicate",
        "contaminated",
        "leak",
        "r999999",
        "100 %",
    ):
        assert words in text
    assert leak["prompt"] in text


# Time, replay, and splits that guard each other


def test_from_a_boundary_in_time_on_groups_validate_or_test(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    times = {"old": "2024-01-31", "next": "2024-06-01T00:00:00", "late": 1719792000_000}
    lines = [
        pair(n, group=f"{name} {n % 4}", timestamp=time)
        for n, (name, time) in enumerate(list(times.items()) * 20)
    ]
    # One late record takes its whole group along; what has no time is old.
    lines += [pair(100, group="old 0", timestamp="2024-07-02"), pair(101), pair(102)]
    source = write_lines("a.jsonl", *lines)
    settings = make_settings(
        curate={
            "validation_from": "2024-06-01",
            "test_from": "2024-07-01",
            "validation_share": 1e-9,
            "test_share": 0,
        }
    )
    curate([str(source)], [], tmp_path / "out", settings)
    found: dict[str, set[str]] = {}
    for name in SPLITS:
        for row in rows(tmp_path / "out", name):
            found.setdefault(str(row.get("group", "none")), set()).add(name)
    assert all(len(names) == 1 for names in found.values())
    for group, names in found.items():
        wanted = {"next": "validation", "late": "test"}.get(group.split()[0], "train")
        assert names == {"test.jsonl" if group == "old 0" else f"{wanted}.jsonl"}, group


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_replay_is_a_share_of_training_and_of_nothing_else(
    tmp_path: Path,
    make_settings: Callable[..., Settings],
    write_lines: Callable[..., Path],
    share: float,
) -> None:
    own = write_lines("own.jsonl", *map(pair, range(120)))
    general = write_lines(
        "general.jsonl", *[pair(n) for n in range(500, 600)], pair(7, id="a copy")
    )
    settings = make_settings(curate={"replay": [str(general)], "replay_share": share})
    report = curate([str(own)], [], tmp_path / "out", settings).to_json()
    train = rows(tmp_path / "out", "train.jsonl")
    mixed = [row for row in train if row["source"] == str(general)]
    assert len(mixed) == round((len(train) - len(mixed)) * share / (1 - share))
    for name in ("validation.jsonl", "test.jsonl"):
        assert {row["source"] for row in rows(tmp_path / "out", name)} == {str(own)}
    # Of a record and its copy in the replay the record stays, whatever the ids.
    assert reasons(tmp_path / "out")["a copy"] == "duplicate"
    assert report["dropped"] == {"duplicate": 1, "replay_surplus": 100 - len(mixed)}
    with pytest.raises(BadInput, match="name it once"):
        curate([str(own), str(general)], [], tmp_path / "twice", settings)


def test_no_split_gives_away_a_record_of_another(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    texts = [
        {"id": f"t{n}", "text": " ".join(random.Random(n).choices(WORDS, k=60))} for n in range(60)
    ]
    alone = write_lines("alone.jsonl", *texts)
    curate([str(alone)], [], tmp_path / "alone", make_settings())
    home = homes(tmp_path / "alone")
    held_out = [text for text in texts if home[text["id"]] != "train.jsonl"]
    assert held_out
    # Long records that hold a held-out one each, found by ids that train.
    around = [
        " ".join(random.Random(-n).choices(WORDS, k=150)) for n in range(1, 1 + 3 * len(held_out))
    ]
    longer = [
        {"id": f"long{n}", "text": f"{before} {held_out[n % len(held_out)]['text']}"}
        for n, before in enumerate(around)
    ]
    both = write_lines("both.jsonl", *texts, *longer)
    report = curate([str(both)], [], tmp_path / "both", make_settings()).to_json()
    after = homes(tmp_path / "both")
    for row in rows(tmp_path / "both", "dropped.jsonl"):
        evidence = row["evidence"]
        assert (row["reason"], row["step"]) == ("leaks_split", "split")
        assert row["id"].startswith("long") and evidence["overlap"] > 0.9
        assert after[evidence["held_out_id"]] == f"{evidence['split']}.jsonl" != "train.jsonl"
    assert report["dropped"]["leaks_split"] >= 2 * len(held_out)
    assert not [i for i, name in after.items() if i.startswith("long") and name == "train.jsonl"]
    assert {i: after[i] for i in home} == home
    free = curate(
        [str(both)], [], tmp_path / "free", make_settings(curate={"protect_splits": None})
    ).to_json()
    assert free["dropped"] == {}


def test_texts_that_the_quick_counter_gives_up_on_are_counted_all_the_same(
    settings: Settings,
) -> None:
    ours, theirs = tokens.load(tokens.locate(settings)), base_model.load_tokenizer(settings)
    texts = ["a word", "字" * 25_000, "🙂" * 20_000, "", "\n\n  x", "e\u0301" * 5_000]
    wanted = [len(ids) for ids in theirs(texts, add_special_tokens=False)["input_ids"]]
    assert ours.count(texts) == wanted


def test_a_time_that_cannot_be_read_is_told_where_time_decides(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    times = [None, "2024-06-01", "1st of June", 1717200000, 1717200000 * 10**9, "1717200000", ""]
    lines = [pair(n, timestamp=time) for n, time in enumerate(times)]
    source = [str(write_lines("a.jsonl", *lines, *map(pair, range(50, 60))))]
    report = curate(source, [], tmp_path / "any", make_settings()).to_json()
    assert report["dropped"] == {}
    settings = make_settings(curate={"test_from": "2024-05-01"})
    report = curate(source, [], tmp_path / "timed", settings).to_json()
    assert report["dropped"] == {"unreadable_timestamp": 1}
    (line,) = rows(tmp_path / "timed", "dropped.jsonl")
    assert (line["id"], line["evidence"]) == ("r2", {"timestamp": "1st of June"})
    assert {"r1", "r3", "r4", "r5"} <= {row["id"] for row in rows(tmp_path / "timed", "test.jsonl")}
