"""What a person reads of a curation: the figures, the page, the card and the advice."""

import gzip
import itertools
import json
import random
import re
import tempfile
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.curate import curate
from tasks.curate.report import alignment
from tasks.curate.report.advice import advise, alarms, remarks
from tasks.curate.report.histogram import draw
from tasks.curate.results import Figures, TokenFigures
from tasks.curate.settings import Curate
from tasks.rendering.markdown import visible
from tasks.settings import Settings
from tests.sections import curate_from

WORDS = [a + b + c for a in ("ka", "lo", "mi", "ru") for b in "bdgnst" for c in ("a", "eth", "o")]
EVIL = (
    "<script>alert(1)</script></style><img src=x onerror=alert(2)> {{ 7 * 7 }} **b** `c` "
    "[l](http://evil.example) www.evil.example ](javascript:x) | $x$ \u202e\x00 & &lt; "
)
Curation = tuple[dict[str, Any], str, str]
Run = Callable[..., Curation]


def prose(seed: object, count: int) -> str:
    rng = random.Random(str(seed))
    return " ".join(rng.choices(WORDS, k=count))


def pair(seed: int, **more: object) -> dict[str, Any]:
    """A record that shares next to nothing with that of another seed."""
    answer = prose(f"a{seed}", 9)
    return {"id": f"r{seed}", "prompt": prose(seed, 20), "completion": answer, **more}


class Page(HTMLParser):
    """Tags in order, the text, what is marked, and the tables by their caption."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.marked: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "mark":
            self.marked.append("")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        if "mark" in self._open:
            self.marked[-1] += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data

    def table(self, *head: str) -> dict[str, list[str]]:
        """The table with these first headings, by the text of each row's first cell."""
        (found,) = (rows for rows in self.tables if tuple(rows[0][: len(head)]) == head)
        return {row[0].strip().lower(): [cell.strip() for cell in row[1:]] for row in found[1:]}


@pytest.fixture
def run(tmp_path: Path, make_settings: Callable[..., Settings]) -> Run:
    """Curate files: the report, the page and the card."""
    numbers = itertools.count()

    def run(
        inputs: list[Path],
        against: Sequence[Path] = (),
        workers: int = 1,
        **options: Any,
    ) -> Curation:
        out = tmp_path / f"out{next(numbers)}"
        settings = make_settings(curate={"min_completion_characters": 8} | options)
        curate(list(map(str, inputs)), list(map(str, against)), out, settings, workers=workers)
        return (
            files.read_json(out / "report.json"),
            (out / "report.html").read_text(encoding="utf-8"),
            (out / "data_card.md").read_text(encoding="utf-8"),
        )

    return run


def number(text: str) -> int:
    return int(text.replace(",", "").replace("–", "0"))


# Figures


def test_page_and_card_tell_the_figures_of_the_report(
    run: Run, write_lines: Callable[..., Path]
) -> None:
    mail = pair(81, completion=f"Write to a.person@nordwind.org, {prose(9, 5)}.")
    grouped = [pair(n, group=n // 3) for n in range(60)]
    lines = [*grouped, pair(3, id="r3b"), mail, pair(70, completion="ok"), "{no", 17]
    lines += [{"text": prose(82, 90)}, {"prompt": "p", "chosen": prose(83, 9), "rejected": "no"}]
    bench = write_lines("bench.jsonl", pair(5), "{", pair(999))
    report, html, card = run([write_lines("a.jsonl", *lines)], [bench])
    assert report["in"] == sum(report["kept"].values()) + sum(report["dropped"].values()) == 67
    assert report["kinds"] == {"chat": 60, "text": 1, "preference": 1, "labelled": 0}
    assert report["personal_data"] == {"email": {"records": 1, "places": 1}}
    assert report["duplicates"] == {"share": round(1 / 67, 4)}
    assert report["labels"] == {
        "chats": 60,
        "distinct": 60,
        "most_common": {"records": 1, "share": 0.0167},
        "rarest": {"records": 1},
    }
    page = Page(html)
    steps = page.table("Step")
    assert {name: number(cells[1]) for name, cells in steps.items()} == {
        "in": 67,
        **{step["step"]: step["out"] for step in report["steps"]},
    }
    assert sum(number(cells[0] or "0") for cells in steps.values()) == sum(
        report["dropped"].values()
    )
    assert page.table("Split") == {
        split: [
            f"{report['kept'][split]:,}",
            f"{report['groups'][split]:,}",
            f"{report['tokens']['by_split'][split]:,}",
            "",
        ]
        for split in report["kept"]
    }
    assert page.table("Kind")["e-mail addresses"][:2] == ["1", "1"]
    assert page.table("File", "In") == {report["files"][0]["path"]: ["67", "62", ""]}
    assert page.table("File", "Records") == {report["benchmarks"][0]["path"]: ["2", "1", "0"]}
    text = " ".join(page.text.split())
    totals = [sum(report[name].values()) for name in ("kept", "dropped")]
    assert f"{totals[0]} kept, 93 % {totals[1]} dropped, 7.5 % 1 contained" in text
    assert f"{report['tokens']['total']:,} tokens kept" in text
    for reason, count in report["dropped"].items():
        assert re.search(rf"\b{count} · [<\d. ]+% {reason.replace('_', ' ')}\b", text)
        assert f"| {reason} | {count} |".replace("_", r"\_") in card
    for split, count in report["kept"].items():
        assert f"| {split} | {count} | {report['groups'][split]} |" in card
    for sentence in report["advice"]:
        assert sentence in text
    for name in ("median", "p95", "maximum"):
        assert f"at most {report['tokens'][name]}" in text or name == "maximum"
        assert f" {report['tokens'][name]}" in card


ONE_FIXTURE = [HealthCheck.function_scoped_fixture]


@hypothesis(deadline=None, max_examples=15, suppress_health_check=ONE_FIXTURE)
@given(
    texts=st.lists(st.text(max_size=40).filter(lambda text: text.isprintable()), max_size=8),
    repeated=st.integers(0, 4),
)
def test_the_figures_add_up(settings: Settings, texts: list[str], repeated: int) -> None:
    rows: list[dict] = [pair(n) for n in range(3)] + [pair(1)] * repeated
    rows += [{"prompt": text, "completion": text[::-1]} for text in texts]
    rows += [{"text": text} for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "a.jsonl", Path(folder) / "out"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        report = curate([str(source)], [], out, settings).to_json()
    kept = sum(report["kept"].values())
    assert report["in"] == len(rows) == kept + sum(report["dropped"].values())
    steps = report["steps"]
    assert steps[0]["in"] == report["in"] and steps[-1]["out"] == kept
    assert all(one["out"] == other["in"] for one, other in itertools.pairwise(steps))
    assert sum(report["kinds"].values()) == kept == sum(f["kept"] for f in report["files"])
    tokens = report["tokens"]
    assert sum(bin["records"] for bin in tokens["bins"]) == kept
    assert sum(tokens["by_split"].values()) == tokens["total"]
    ranked = [tokens[name] for name in ("minimum", "p5", "median", "p95", "p99", "maximum")]
    assert ranked == sorted(ranked)


def test_the_context_window_is_the_base_models_where_it_is_known(
    run: Run, write_lines: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    source = write_lines("a.jsonl", pair(1), pair(2))
    known = json.loads((tiny_base / "config.json").read_text())["max_position_embeddings"]
    report, html, card = run([source])
    assert report["tokens"]["context_window"] == known
    assert f"made for {known:,}" in html and f"context window is {known:,}" in card


def test_equal_data_gives_equal_pages_whatever_the_workers_and_the_order(
    run: Run, write_lines: Callable[..., Path]
) -> None:
    first = write_lines("a.jsonl", *map(pair, range(40)), "{broken", pair(7, completion="ok"))
    second = write_lines("b.jsonl", *map(pair, range(30, 60)), pair(99), {"text": prose(1, 60)})
    bench = write_lines("bench.jsonl", pair(99))
    one = run([first, second], [bench])
    other = run([second, first], [bench], workers=2)
    assert one[1:] == other[1:]
    assert {"seconds", "records_per_second", "engine"} <= set(one[0])
    for name in ("seconds", "records_per_second"):
        assert name not in one[1] and name not in one[2]


# Hostile text


@pytest.fixture
def hostile(run: Run, write_lines: Callable[..., Path]) -> Curation:
    """A curation with hostile text in every field that comes from data."""
    named = EVIL.replace("/", "").replace("\x00", "")
    lines: list[Any] = [
        {
            **pair(n, id=f"{EVIL}{n}", completion=f"{EVIL} {prose(n, 12)}"),
            "group": EVIL,
            "meta": {EVIL: EVIL},
            EVIL: {EVIL: [EVIL]},
        }
        for n in range(6)
    ]
    lines += [pair(50 + n, id=f"{EVIL}{n}") for n in range(2)]
    long = pair(90, id=EVIL, completion=f"{EVIL} {prose(3, 60)}")
    lines += [long, long | {"id": f"{EVIL}b", "completion": long["completion"] + " more"}]
    lines += [pair(60, id=EVIL), pair(61, id=EVIL, completion=EVIL[:3]), f"{EVIL} broken"]
    lines += [{"text": EVIL, "prompt": 5, "messages": EVIL}, {EVIL: EVIL}]
    lines += [{"prompt": EVIL, "chosen": EVIL + prose(4, 9), "rejected": EVIL}]
    bench = write_lines(f"bench {named}.jsonl", pair(60, id=EVIL), EVIL)
    return run([write_lines(f"a {named}.jsonl", *lines)], [bench])


def test_the_page_shows_hostile_text_and_runs_none_of_it(hostile: Curation) -> None:
    report, html, _ = hostile
    assert {"contaminated", "near_duplicate", "short_completion"} <= set(report["dropped"])
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "i", "b", "iframe", "link", "object", "form"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in page.text and "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in html and "\x00" not in html
    assert "⟨U+202E⟩⟨U+0000⟩" in page.text
    assert html.count("<style>") == html.count("</style>") == 1


def test_the_page_needs_nothing_else_and_is_accessible(hostile: Curation) -> None:
    _, html, _ = hostile
    page = Page(html)
    assert not any({"src", "srcset", "action", "background"} & set(attrs) for _, attrs in page.tags)
    links = [attrs["href"] for tag, attrs in page.tags if "href" in attrs]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert links and all(link and link[0] == "#" and link[1:] in ids for link in links)
    assert len(ids) == len(set(ids))
    styles = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in styles and "url(" not in styles
    (policy,) = (a for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag, _ in page.tags if len(tag) == 2 and tag[1].isdigit()]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") > 0
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    # What scrolls sideways can be reached without a mouse.
    areas = [attrs for _, attrs in page.tags if attrs.get("class") == "scroll"]
    assert areas and all(a["tabindex"] == "0" and a["aria-label"] for a in areas)


def test_the_card_has_no_markup_but_its_own(hostile: Curation) -> None:
    _, _, card = hostile
    assert "&lt;script&gt;alert(1)" in card and "⟨U+202E⟩" in card
    assert not re.search(r"<(?!br>)", card.replace('"n<1K"', ""))
    assert "\u202e" not in card and "\x00" not in card
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)\*\*|://|www\.", card)
    # Every row of a table has as many cells as its head.
    for one, other in itertools.pairwise(card.splitlines()):
        if one.startswith("|") and other.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", one)) == len(re.findall(r"(?<!\\)\|", other))
    levels = [len(line) - len(line.lstrip("#")) for line in card.splitlines() if line[:1] == "#"]
    assert levels.count(1) == 1


def test_the_cards_head_is_that_of_a_dataset_card(hostile: Curation) -> None:
    head = yaml.safe_load(hostile[2].split("---\n")[1])
    name = Path(hostile[0]["files"][0]["path"]).name
    assert head["pretty_name"] == f"Training data of {visible(name)}"
    assert head["size_categories"] == ["n<1K"] and head["task_categories"] == ["text-generation"]
    paths = {one["split"]: one["path"] for one in head["configs"][0]["data_files"]}
    assert paths["train"] == "train.jsonl"


@pytest.mark.parametrize("action", ["keep", "mask", "drop"])
def test_personal_data_is_never_shown(
    run: Run, write_lines: Callable[..., Path], action: str
) -> None:
    def mailed(n: int) -> dict:
        return pair(n, completion=f"Write\nto:\nperson{n}@nordwind.org or {prose(n, 6)}")

    source = write_lines("a.jsonl", *map(mailed, range(8)), pair(20), mailed(3) | {"id": "z"})
    bench = write_lines("b.jsonl", mailed(5))
    report, html, card = run([source, write_lines("c.jsonl", pair(30))], [bench],
                             personal_data={"email": action})  # fmt: skip
    assert "@nordwind" not in html and r"@nordwind" not in card.replace("\\", "")
    if action == "keep":
        assert report["personal_data"] == {} and "[EMAIL]" in html
    else:
        assert report["personal_data"]["email"] == {"records": 9, "places": 9}
        assert any("e-mail addresses (9)" in sentence for sentence in report["advice"])


# Evidence and examples


def test_near_duplicates_stand_side_by_side_with_what_differs(
    run: Run, write_lines: Callable[..., Path]
) -> None:
    words = prose(1, 60).split()
    twin = " ".join([*words[:30], "elsewhere", *words[31:]])
    lines = [pair(1, completion=" ".join(words), id="a"), pair(1, completion=twin, id="b")]
    # A folder whose name is masked in evidence costs the text beside it, not the report.
    for folder in ("plain", "me@nordwind.org"):
        source = write_lines(f"{folder}/a.jsonl", *lines, pair(2), pair(3))
        report, html, _ = run([source])
        page = Page(html)
        assert report["dropped"] == {"near_duplicate": 1}
        assert "similarity" in page.text
        if folder == "plain":
            assert page.marked[:2] == ["elsewhere", words[30]]


def test_leaks_stand_beside_the_benchmarks_passage(
    run: Run, write_lines: Callable[..., Path]
) -> None:
    asked = prose("bench", 40)
    inside = f"{prose(1, 12)} {asked.upper()}! {prose(2, 12)}"
    bench = write_lines(
        "b.jsonl", pair(7), {"id": "q8", "prompt": asked, "completion": "yes it is"}
    )
    leak = pair(1, id="leak", prompt=inside)
    report, html, _ = run([write_lines("a.jsonl", leak, pair(2), pair(3))], [bench])
    assert report["dropped"] == {"contaminated": 1}
    page = Page(html)
    assert page.marked[0].lower().rstrip("! ") == asked and page.marked[1] == asked
    assert "q8" in page.text and f"{bench}:2" in page.text and "100 %" in page.text
    assert "runs of 13 or more words" in page.text


def test_examples_show_the_line_as_it_came_and_what_is_learned(
    run: Run, write_lines: Callable[..., Path]
) -> None:
    lines = [
        {"instruction": prose(n, 9), "input": prose(n + 50, 5), "output": prose(n + 90, 9)}
        for n in range(9)
    ]
    page = Page(run([write_lines("a.jsonl", *lines)])[1])
    for key in ("instruction", "input", "output"):
        assert ("dt", {}) in page.tags and f"\n{key}" in page.text
    learned = [text.replace("<|im_end|>", "") for text in page.marked]
    assert len(learned) == 4 and set(learned) <= {line["output"] for line in lines}
    assert "<|im_start|>assistant" in page.text


def test_packed_and_tabular_lines_are_shown_as_they_came(
    run: Run, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    table = tmp_path / "a.csv"
    rows = [f"{prose(n, 9)},{prose(n + 50, 9)},{n}" for n in range(5)]
    table.write_text("\n".join(["prompt,completion,stars", *rows]) + "\n")
    assert "stars" in Page(run([table])[1]).text


def test_a_line_is_found_again_as_it_came(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    values = [{"instruction": prose(n, 5), "n": n} for n in range(50)]
    plain = write_lines("a.jsonl", *values)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path, size in ((plain, 500), (packed, 500)):
        chunks = records.chunks(path, size)
        assert records.original(chunks[-1], 50) == values[49]
        with pytest.raises(BadInput, match=r"jsonl.*:51: no such line"):
            records.original(chunks[-1], 51)


# The picture


@given(
    bins=st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any),
    width=st.sampled_from([1, 2, 5, 50, 2000]),
    first=st.integers(0, 40),
    bounds=st.tuples(st.integers(0, 50), st.integers(8, 10**6)),
)
@hypothesis(deadline=None, max_examples=60)
def test_the_histogram_stays_inside_its_frame(
    bins: list[int], width: int, first: int, bounds: tuple[int, int]
) -> None:
    begins = [(first + n) * width for n in range(len(bins))]
    values = {
        "bins": [
            {"from": begin, "to": begin + width - 1, "records": count}
            for begin, count in zip(begins, bins, strict=True)
        ],
        "p5": begins[0],
        "median": begins[len(bins) // 2],
        "p95": begins[-1],
        "p99": begins[-1] + width - 1,
    }
    rest = {"minimum": 0, "maximum": 0, "total": 0, "by_split": {}, "context_window": None}
    picture = draw(TokenFigures.from_json(values | rest), *bounds)
    assert max(bar["height"] for bar in picture["bars"]) == picture["ground"] - picture["top"]
    for bar in picture["bars"]:
        assert bar["x"] >= 0 and bar["x"] + bar["width"] <= picture["width"]
        assert bar["height"] > 0 or not bar["records"]
    assert 4 <= len(picture["marks"]) <= 6
    for mark in picture["marks"]:
        assert 0 <= mark["x"] <= picture["width"]
        assert 0 < mark["y"] <= picture["ground"]
    assert 1 <= len(picture["ticks"]) <= 12


# Alignment


@given(one=st.text(max_size=60), other=st.text(max_size=60), ngram=st.integers(1, 13))
@hypothesis(deadline=None, max_examples=100)
def test_alignment_changes_no_text(one: str, other: str, ngram: int) -> None:
    for align in (alignment.changed, lambda a, b: alignment.shared(a, b, ngram)):
        for text, marked in zip((one, other), align(one, other), strict=True):
            assert "".join(part for part, _ in marked) == text


def marks(marked: alignment.Marked) -> list[str]:
    return [text for text, mark in marked if mark]


def test_shared_words_are_found_as_decontamination_finds_them() -> None:
    left, right = alignment.shared(
        "So: ＴＨＥ qui\u200bck, BROWN fox jumps! And so on",
        "Why does the quick-brown fox jumps over it",
        5,
    )
    assert marks(left) == ["ＴＨＥ qui\u200bck, BROWN fox jumps!"]
    assert marks(right) == ["the quick-brown fox jumps"]
    left, right = alignment.shared("もし数を二つ受け取り、その", "関数は数を二つ受け取る", 5)
    assert marks(left) == ["数を二つ受け取"] == marks(right)
    left, right = alignment.shared("one two three", "one three two", 2)
    assert marks(left) == marks(right) == []


def test_long_texts_are_cut_around_the_mark() -> None:
    inside = prose("inside", 20)
    long = f"{prose(1, 900)} {inside} {prose(2, 900)}"
    left, right = alignment.shared(long, inside, 13, limit=400)
    assert marks(left) == [inside] == marks(right)
    assert sum(len(text) for text, _ in left) <= 404
    assert left[0][0].startswith("… ") and left[-1][0].endswith(" …")


# Advice


def benchmark(unreadable: int) -> dict[str, Any]:
    return {"path": "b.jsonl", "records": 9, "unreadable": unreadable, "unanswered": 0}


def figures(**changes: Any) -> Figures:
    """Figures of a curation about which there is nothing to say."""
    tokens = {"p95": 200, "maximum": 400, "context_window": 2048} | changes.pop("tokens", {})
    lengths = dict.fromkeys(("minimum", "p5", "median", "p99", "total"), 100)
    return Figures.from_json(
        {
            "in": 4000,
            "kept": {"train": 3000, "validation": 200, "test": 200},
            "groups": {},
            "dropped": {},
            "details": {},
            "steps": [],
            "tokens": lengths | tokens | {"bins": [], "by_split": {}},
            "kinds": {"chat": 3400, "text": 0, "preference": 0},
            "labels": None,
            "duplicates": {"share": 0.01},
            "personal_data": {},
            "largest_group": {"name": "g", "records": 10},
            "shared_ids": 0,
            "replay": {"kept": 0, "wanted": 0},
            "files": [],
            "benchmarks": [benchmark(0)],
            **changes,
        }
    )


def kept(train: int, validation: int = 200, test: int = 200) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


def labels(distinct: int, most: int, rarest: int, chats: int = 3400) -> dict[str, Any]:
    return {
        "chats": chats,
        "distinct": distinct,
        "most_common": {"records": most, "share": most / chats},
        "rarest": {"records": rarest},
    }


TEXTS = {"chat": 0, "text": 9, "preference": 0}


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({}, {}, None),
        ({"benchmarks": []}, {}, "No benchmark was given"),
        ({"benchmarks": [benchmark(1)]}, {}, "b.jsonl: 1 line is no"),
        ({"benchmarks": [benchmark(3)]}, {}, "3 lines are no"),
        ({"dropped": {"contaminated": 1}}, {}, "1 record contained benchmark records and was"),
        ({"kept": kept(499)}, {}, "Fewer than 500 training examples (499)"),
        ({"kept": kept(3000, 19)}, {}, "Fewer than 20 validation examples (19)"),
        ({"kept": kept(3000, 200, 0)}, {}, "No group fell to the test set"),
        ({"kept": kept(3000, 200, 0)}, {"test_share": 0.0}, None),
        ({"kept": kept(1999)}, {}, "chats: enough for one task (500 to 5,000 by practice)"),
        ({"kept": kept(10_001)}, {}, "2,000 to 10,000 instructions: a part of them"),
        ({"kept": kept(9_999), "kinds": TEXTS}, {}, "domain text"),
        ({"kept": kept(10_000), "kinds": TEXTS}, {}, None),
        ({"kept": kept(100_001), "kinds": TEXTS}, {}, "10,000 to 100,000 documents: a part"),
        ({"kept": kept(999), "labels": labels(3, 1200, 1000)}, {}, None),
        ({"kept": kept(5001), "labels": labels(3, 1200, 1000)}, {}, "few answers"),
        ({"labels": labels(3, 1800, 700)}, {}, "Of 3 distinct answers the most common one is"),
        ({"labels": labels(2, 1900, 1500)}, {}, None),
        ({"labels": labels(2, 2600, 800)}, {}, "that of 76% of the chats"),
        ({"labels": labels(50, 100, 10)}, {}, "is in 100 chats and the rarest in 10"),
        ({"labels": labels(51, 1900, 1)}, {}, None),
        ({"labels": labels(3, 90, 1, chats=99)}, {}, None),
        ({"labels": labels(1, 3400, 3400)}, {}, "All chats have the same last answer"),
        ({"largest_group": {"name": "\x1b[1m", "records": 1701}}, {}, "'⟨U+001B⟩[1m' holds 50%"),
        ({"duplicates": {"share": 0.201}}, {}, "20% of the records are duplicates"),
        ({"dropped": {"too_short": 801}}, {}, "dropped as too_short. If that is not what you"),
        ({"dropped": {"too_short": 801}}, {}, "see curate.quality.min_tokens"),
        ({"dropped": {"invalid_json": 801}}, {}, "20% of the records were dropped as invalid_json"),
        ({"dropped": {"too_short": 800}}, {}, None),
        (
            {"tokens": {"p95": 470, "maximum": 512, "context_window": None}},
            {},
            "close to curate.quality.max_tokens (470 or more of 512 tokens), and 0 records beyond",
        ),
        (
            {"tokens": {"p95": 200, "maximum": 3000, "context_window": 2048}},
            {"max_tokens": 4000},
            "Set curate.quality.max_tokens to at most 2048",
        ),
        (
            {"tokens": {"p95": 1900, "maximum": 2000, "context_window": 2048}},
            {"max_tokens": 4000},
            "close to the base model's context window of 2,048",
        ),
        ({"replay": {"kept": 9, "wanted": 10}}, {"replay": ["g"]}, "9 records where 10 would make"),
        ({"replay": {"kept": 10, "wanted": 10}}, {"replay": ["g"]}, None),
        ({}, {"near_duplicates": None}, "Near-duplicates were not looked for"),
        (
            {"personal_data": {"email": {"records": 1200, "places": 1300}}},
            {},
            "Records were masked for e-mail addresses (1,200)",
        ),
        (
            {"personal_data": {"iban": {"records": 2, "places": 2}}},
            {"personal_data": {"iban": "drop"}},
            "Records were dropped for bank accounts (2)",
        ),
        ({"shared_ids": 4}, {}, "4 records share their id"),
    ],
)
def test_advice_says_what_is_wrong_and_nothing_else(
    changes: dict[str, Any], options: dict[str, Any], says: str | None
) -> None:
    found = advise(figures(**changes), curate_from(**options))
    assert len(found) == (says is not None), found
    if says is not None:
        assert says in found[0]


def test_the_most_severe_advice_comes_first() -> None:
    bad = figures(
        benchmarks=[], kept=kept(10), duplicates={"share": 0.5}, shared_ids=3, labels=None
    )
    found = advise(bad, curate_from(near_duplicates=None))
    heads = ["No benchmark", "Fewer than 500", "50% of", "Near-dup", "3 records"]
    assert [sentence[: len(head)] for sentence, head in zip(found, heads, strict=True)] == heads


def test_labels_are_counted_over_chats(run: Run, write_lines: Callable[..., Path]) -> None:
    rows = [pair(n, completion="the positive one" if n % 10 else "a negative") for n in range(120)]
    report, _, card = run([write_lines("a.jsonl", *rows, {"text": prose(1, 40)})])
    assert report["labels"] == {
        "chats": 120,
        "distinct": 2,
        "most_common": {"records": 108, "share": 0.9},
        "rarest": {"records": 12},
    }
    assert any("that of 90% of the chats" in sentence for sentence in report["advice"])
    assert "the most common one ends 90.0%" in card


def test_alarms_are_told_from_remarks_and_name_the_commonest_detail() -> None:
    detail = {"unrenderable": {"text": "TemplateError: no tools here", "records": 700}}
    bad = figures(dropped={"unrenderable": 900}, details=detail, shared_ids=3)
    (alarm,), (remark,) = alarms(bad, Curate()), remarks(bad, Curate())
    assert advise(bad, Curate()) == [alarm, remark]
    assert "700 of them: TemplateError: no tools here" in alarm
    assert "base.chat_template: FILE" in alarm and remark.startswith("3 records share")


def test_every_advice_is_said_once_and_the_data_has_its_name(
    run: Run, write_lines: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [pair(n) for n in range(6)] + [{"question": n} for n in range(6)]
    report, html, card = run([write_lines("poems.jsonl", *rows)])
    assert report["advice"] == report["alarms"] + report["remarks"]
    assert not [one for one in caplog.records if one.getMessage() in report["advice"]]
    assert all(Page(html).text.count(sentence) == 1 for sentence in report["advice"])
    (dropped,) = [one for one in report["alarms"] if "missing_field" in one]
    assert report["details"]["missing_field"]["text"][:60] in dropped
    assert "poems.jsonl" in Page(html).text and "# Training data of poems.jsonl" in card
