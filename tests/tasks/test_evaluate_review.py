"""The blind review: which items, in which order, the page, and what marks say."""

import base64
import hashlib
import html
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.core.errors import BadInput, Refused
from tasks.evaluate import KEY_FILE, METRICS, comparison_table, count_marks, model_card
from tasks.evaluate.pages.differences import pieces
from tasks.evaluate.review import ReviewSheet, draw
from tasks.evaluate.review.selection import select
from tasks.settings import Settings
from tests.sheets import HOSTILE, answers, item, systems, write_sheet

CONTENT = {name: [METRICS.get("rouge_l"), METRICS.get("loss")] for name in ("held", "general", "b")}
DEFAULT = Settings()


# Which items


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(["held", "general", "b"]), st.integers(0, 6), st.booleans()),
        max_size=60,
    ),
    count=st.integers(1, 40),
)
def test_every_group_has_its_turn_and_no_item_is_alike(
    kinds: list[tuple[str, int, bool]], count: int
) -> None:
    ours, theirs = [], []
    for number, (benchmark, group, alike) in enumerate(kinds):
        more = {"benchmark": benchmark, "group": f"g{group}"}
        ours.append(item(number, f"answer {number}", **more))
        theirs.append(item(number, f"answer {number}" if alike else f"other {number * 7}", **more))
    chosen = select(ours, theirs, CONTENT, count)
    differing = [i for i, (_, _, alike) in enumerate(kinds) if not alike]
    assert len(chosen) == len(set(chosen)) == min(count, len(differing))
    assert set(chosen) <= set(differing)
    # With places for all groups of a benchmark none is left out while another is there twice.
    shown = Counter((kinds[i][0], kinds[i][1]) for i in chosen)
    for name in ("held", "b"):
        there = Counter(kinds[i][1] for i in differing if kinds[i][0] == name)
        found = {group: shown[name, group] for group in there}
        twice = [group for group in there if found[group] > 1]
        left_out = [group for group in there if found[group] == 0]
        # Each half spreads by itself: at most one half may repeat what the other has shown.
        assert not (twice and left_out) or max(found.values()) <= 2


def test_half_are_the_largest_changes_and_a_fifth_is_the_general_probe() -> None:
    base = answers(50, lambda i: "entirely other words here")
    candidate = answers(50, lambda i: f"The right answer {i}." if i < 10 else "no word is shared")
    probe = [item(i, f"yes {i}", benchmark="general", id=f"p{i}") for i in range(12)]
    asked = [item(i, f"no {i}", benchmark="general", id=f"p{i}") for i in range(12)]
    chosen = select([*candidate, *probe], [*base, *asked], CONTENT, 20)
    assert sum(i >= 50 for i in chosen) == 4
    assert sum(i < 10 for i in chosen) >= 8


def test_a_draw_is_the_same_each_time_and_the_letters_are_even() -> None:
    items = systems(31)
    sheet, order = draw(items, "base", CONTENT, DEFAULT)
    again, _ = draw(items, "base", CONTENT, DEFAULT)
    assert sheet == again and sheet.digest == again.digest
    letters = Counter(entry.key["A"] for entry in sheet.items)
    assert letters["candidate"] == 16 and letters["base"] == 15
    assert [entry.number for entry in sheet.items] == list(range(1, 32))
    assert order != sorted(order), "the order of the page tells nothing"
    for entry, i in zip(sheet.items, order, strict=True):
        assert entry.answers == {name: found[i].answer for name, found in items.items()}
    seed = DEFAULT.replace(project=DEFAULT.project.replace(seed=1))
    other, _ = draw(items, "base", CONTENT, seed)
    assert [entry.key for entry in other.items] != [entry.key for entry in sheet.items]


# The page


@pytest.fixture
def page(tmp_path: Path) -> tuple[str, Path]:
    write_sheet(systems(12), tmp_path)
    return (tmp_path / "review.html").read_text(), tmp_path


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="sheet-data">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def test_the_page_names_nobody_and_knows_its_key(page: tuple[str, Path]) -> None:
    text, out = page
    key = (out / KEY_FILE).read_bytes()
    data = data_of(text)
    assert data["digest"] == hashlib.sha256(key).hexdigest()
    sheet = ReviewSheet.from_json(json.loads(key))
    assert data["key"] == {str(entry.number): entry.key for entry in sheet.items}
    answers = re.findall(r"<section data-side.*?</section>", text, re.DOTALL)
    assert len(answers) == 24
    for answer in answers:
        words = re.sub(r'<div class="text".*</div>', "", answer, flags=re.DOTALL)
        assert not re.search(r"candidate|base|champion", words)
        assert re.search(r'<span class="after" hidden>', words), "scores are for later"


def test_nothing_but_the_page_itself_is_run_or_loaded(page: tuple[str, Path]) -> None:
    text, _ = page
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(scripts) == 1
    for content in (*scripts, *styles):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"<[^>]*\s(src|href|style|on\w+)\s*=", text)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = {"id": f"<b>{HOSTILE}", "prompt": HOSTILE, "reference": HOSTILE, "group": HOSTILE}
    items = {
        "base": [item(i, f"{HOSTILE} {i}", **hostile | {"id": f"{i}{HOSTILE}"}) for i in range(3)],
        "candidate": [item(i, HOSTILE, **hostile | {"id": f"{i}{HOSTILE}"}) for i in range(3)],
        HOSTILE: [item(i, HOSTILE, **hostile | {"id": f"{i}{HOSTILE}"}) for i in range(3)],
    }
    verdict, settings = write_sheet(items, tmp_path)
    text = (tmp_path / "review.html").read_text()
    assert re.findall(r"<script[^>]*>|<img|<b>|<!--", text) == [
        '<script type="application/json" id="sheet-data">', "<script>"
    ]  # fmt: skip
    assert html.escape("</script><script>window.hacked", quote=False) in text
    card = model_card(verdict, settings, {})
    table = (tmp_path / "review_table.json").read_text()
    for shown in (text, (tmp_path / "review.md").read_text(), card, table):
        assert "\u202e" not in shown and "\x1b" not in shown
    for shown in ((tmp_path / "review.md").read_text(), card):
        assert "<script" not in shown and not re.search(r"(?<!\\)\]\(javascript", shown)
    assert data_of(text)["names"] == {"candidate": "candidate", "base": "base"}


def test_any_number_of_systems_is_shown_even_where_one_lacks_something(tmp_path: Path) -> None:
    others = {
        "few_shot": answers(20, lambda i: f"Shot {i}."),
        "first": answers(20, lambda i: f"First {i}."),
        "mine": answers(5, lambda i: f"Mine {i}."),
        "another": answers(20, lambda _: "", answered=False),
    }
    items = systems(20, **others)
    order = ["base", "few_shot", "first", "mine", "another", "candidate"]
    verdict, settings = write_sheet({name: items[name] for name in order}, tmp_path)
    text = (tmp_path / "review.html").read_text()
    for name in ("few shot", "first", "mine", "another"):
        assert re.search(rf'<th scope="col" class="s\d">{name}</th>', text)
    assert "Mine 4." in text
    rows = comparison_table(verdict)
    assert [row.metric for row in rows] == ["loss", "rouge_l"]
    assert "another" not in rows[1].scores and "mine" in rows[0].scores
    assert "| few shot |" in model_card(verdict, settings, {})
    assert (tmp_path / "metrics.png").read_bytes().startswith(b"\x89PNG")


def test_the_items_are_a_table_too(page: tuple[str, Path]) -> None:
    _, out = page
    written = json.loads((out / "review_table.json").read_text())
    table = pd.DataFrame(written["data"], columns=written["columns"])
    sheet = ReviewSheet.from_json(json.loads((out / KEY_FILE).read_text()))
    assert list(table["item"]) == [entry.number for entry in sheet.items]
    assert list(table["candidate"]) == [entry.answers["candidate"] for entry in sheet.items]
    assert list(table["A"]) == [entry.key["A"] for entry in sheet.items]
    assert (table["ROUGE-L of candidate"] > table["ROUGE-L of base"]).all()


def test_a_sheet_without_items_says_why(tmp_path: Path) -> None:
    same = answers(12, lambda i: f"Alike {i}.")
    write_sheet({"base": same, "candidate": same}, tmp_path)
    text = (tmp_path / "review.html").read_text()
    assert "All 12 answers are alike" in text
    assert "<script" not in text


@given(
    answer=st.text(alphabet="ab <>=\n.é", max_size=40),
    other=st.text(alphabet="ab <>=\n.é", max_size=40),
    reference=st.text(alphabet="ab <>=\n.é", max_size=40),
)
def test_pieces_are_the_whole_answer(answer: str, other: str, reference: str) -> None:
    found = pieces(answer, other, reference)
    assert "".join(piece.text for piece in found) == answer
    if answer == other:
        assert not any(piece.differs for piece in found)


def test_a_sign_that_differs_is_marked_and_words_of_the_reference_are() -> None:
    found = pieces("return a < b", "return a > b", "it returns a and b")
    assert [piece.text for piece in found if piece.differs] == ["<"]
    assert [piece.text.strip() for piece in found if piece.shared] == ["a", "b"]
    assert not any(piece.differs for piece in pieces("wholly", "different", ""))


# Marks


@pytest.fixture
def key(tmp_path: Path) -> Path:
    write_sheet(systems(20), tmp_path / "out")
    return tmp_path / "out" / KEY_FILE


@pytest.fixture
def marks_file(key: Path, tmp_path: Path) -> Callable[..., Path]:
    """What the page would export: `marks_file({1: "A", 2: "tie"}, blind=False)`."""

    def make(by_item: dict[int, Any], **more: Any) -> Path:
        value = {
            "format": 1,
            "model": "m",
            "sheet": hashlib.sha256(key.read_bytes()).hexdigest(),
            "blind": True,
            "marks": [{"item": n, "mark": mark, "note": ""} for n, mark in by_item.items()],
        }
        path = tmp_path / "marks.json"
        path.write_text(json.dumps(value | more), encoding="utf-8")
        return path

    return make


def letters(key: Path, system: str) -> dict[int, str]:
    """The letter behind which a system is, by number of the item."""
    sheet = ReviewSheet.from_json(json.loads(key.read_text()))
    return {
        entry.number: next(side for side, name in entry.key.items() if name == system)
        for entry in sheet.items
    }


def test_marks_are_unblinded_by_the_registered_key(key: Path, marks_file: Any) -> None:
    marks: dict[int, str] = letters(key, "candidate")
    base = letters(key, "base")
    marks |= {1: base[1], 2: base[2], 3: "tie", 4: "tie", 5: "tie"}
    del marks[6]
    # A key in the file itself is nothing: the person may have edited it.
    path = marks_file(marks, key={str(n): {"A": "candidate", "B": "base"} for n in marks})
    found = count_marks(path, key)
    assert (found.wins, found.ties, found.losses, found.unmarked) == (14, 3, 2, 1)
    assert found.p_value == pytest.approx(binomtest(14, 16).pvalue)
    assert found.marks == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.by_benchmark == {"held": (14, 3, 2)}
    assert "is better on 14, that of the base model on 2, and 3 are ties" in found.sentence
    assert "do not tell" not in found.sentence
    assert found.to_json()["p_value"] == found.p_value


def test_marks_at_random_tell_nothing_apart(key: Path, marks_file: Any) -> None:
    """The level of the test, over marks that know nothing."""
    draw_of = random.Random(0)
    rejected = 0
    for _ in range(200):
        marks = {number: draw_of.choice(["A", "tie", "B"]) for number in range(1, 21)}
        found = count_marks(marks_file(marks), key)
        rejected += found.p_value is not None and found.p_value < 0.05
    assert rejected <= 15
    ties = count_marks(marks_file({1: "tie"}), key)
    assert ties.p_value is None and ties.sentence.endswith("do not tell the two apart.")


def test_marks_of_whoever_has_seen_the_key_are_refused(key: Path, marks_file: Any) -> None:
    for blind in (False, None, "yes"):
        with pytest.raises(Refused, match="no blind review"):
            count_marks(marks_file({1: "A"}, blind=blind), key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sheet": "0" * 64}, "belong to another review sheet"),
        ({"format": 2}, "format 2 of exported marks is not known"),
        ({"marks": []}, "no item is marked"),
        ({"marks": [{"item": 1, "mark": None, "note": "only a note"}]}, "no item is marked"),
        ({"marks": {"1": "A"}}, "`marks` is no list"),
        ({"marks": [{"item": 1}]}, "entry 1 of `marks`: `item` or `mark` is missing"),
        ({"marks": [{"item": 99, "mark": "A"}]}, "there is no item 99, only 1 to 20"),
        ({"marks": [{"item": True, "mark": "A"}]}, "there is no item True"),
        ({"marks": [{"item": "1", "mark": "A"}]}, "there is no item 1, only"),
        ({"marks": [{"item": 2, "mark": "A"}] * 2}, "entry 2 of `marks`: item 2 is there twice"),
        ({"marks": [{"item": 1, "mark": "C"}]}, "the mark of item 1 is C; A, tie or B"),
        ({"marks": [{"item": 1, "mark": ["A"]}]}, "the mark of item 1"),
        ({"marks": [{"item": 1, "mark": "A", "note": 3}]}, "the note on item 1"),
        ({"marks": [{"item": 1, "mark": "A", "note": "x" * 2001}]}, "at most 2000 characters"),
    ],
)
def test_an_export_that_cannot_be_used_is_bad_input(
    key: Path, marks_file: Any, change: dict[str, Any], message: str
) -> None:
    path = marks_file({1: "A"}, **change)
    with pytest.raises(BadInput, match=re.escape(message)) as raised:
        count_marks(path, key)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "marks.json:1: no JSON"),
        (b'{"sheet": 1,\n oops}', "marks.json:2: no JSON"),
        (b"\xff\xfe\x00", "no JSON text in UTF-8"),
        (b"[1]", "no exported marks"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_file_of_another_kind_is_bad_input(
    key: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "marks.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(message)):
        count_marks(path, key)
    with pytest.raises(BadInput, match=r"gone\.json: No such file"):
        count_marks(tmp_path / "gone.json", key)


# The command


def test_marks_are_recorded_on_the_version(
    new_project: Callable[..., Settings],
    plain_adapter: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two people review a version; the marks count for its sheet only."""
    from perpetune.cli.main import main
    from tasks.registry import Candidate, Registry

    settings = new_project()
    registry = Registry(settings)
    (tmp_path / "round").mkdir()
    write_sheet(systems(20), tmp_path / "round" / "evaluate")
    run = registry.tracking.open_round("k", name="k", params={}, tags={}, datasets=[])
    given = {"passed": True}
    folder = tmp_path / "round" / "evaluate"
    registry.register(run, "k", Candidate(plain_adapter, True, given, "Card.", (folder,)))

    key = folder / KEY_FILE
    digest = hashlib.sha256(key.read_bytes()).hexdigest()
    better = letters(key, "candidate")

    def export(name: str, **more: Any) -> str:
        marks = [
            {"item": n, "mark": "tie" if n > 15 else letter, "note": ""}
            for n, letter in better.items()
        ]
        value = {"format": 1, "sheet": digest, "blind": True, "marks": marks} | more
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return str(path)

    def review(path: str, *options: str, exit_code: int = 0) -> dict[str, Any]:
        state = f"project.state_dir={json.dumps(str(settings.project.state_dir))}"
        name = f"project.name={settings.project.name}"
        arguments = ["review", "1", "--marks", path, *options, "--set", state, "--set", name]
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--params", str(params), "--json"])
        assert ended.value.code == exit_code
        return json.loads(capsys.readouterr().out)

    params = tmp_path / "params.yaml"
    params.write_text("{}")
    said = review(export("a.json"), "--by", "Ann Lee", "--comment", "reads well")
    assert (said["wins"], said["ties"], said["losses"]) == (15, 5, 0)
    assert said["p_value"] == pytest.approx(binomtest(15, 15).pvalue)
    assert "is better on 15" in said["sentence"]
    review(export("b.json", extra="another file"), "--by", "Bob Ray")
    other = review(export("c.json", sheet="0" * 64), "--by", "Ann Lee", exit_code=2)
    assert "belong to another review sheet" in other["error"]
    refused = review(export("d.json", blind=False), "--by", "Ann Lee", exit_code=3)
    assert "no blind review" in refused["error"]
    nobody = review(export("a.json"), "--by", " ", exit_code=2)
    assert "a decision needs a person" in nobody["error"]

    (pending,) = Registry(settings).status().pending
    assert [(item.by, item.wins, item.comment) for item in pending.reviews] == [
        ("Ann Lee", 15, "reads well"), ("Bob Ray", 15, "")
    ]  # fmt: skip
    kept = registry.versions.artifact(1, f"reviews/{pending.reviews[0].marks[:12]}.json")
    assert kept.read_bytes() == (tmp_path / "a.json").read_bytes()
    assert Registry(settings).audit().holds
