"""What `perpetune curate` made of a planted corpus: recall and precision, counted exactly.

A planted record that was dropped before the step it was planted for (too long, say) is in no
training data and says nothing about that step: it counts as `elsewhere` and leaves the recall.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from benchmarks.curation.planted import read_texts
from benchmarks.curation.variants import jaccard, visible

Row: TypeAlias = dict[str, Any]
DUPLICATE = ("duplicate", "near_duplicate")
SPLITS = ("train", "validation", "test")
FALSE_BELOW = 0.6


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the records went, by id: the ledger's lines, and the ids that were kept.

    `lines` are the lines of the input that the ledger names with no id.
    """

    dropped: dict[str, Row]
    lines: dict[int, Row]
    kept: set[str]

    def fate(self, identity: str) -> str:
        """`kept`, the reason of the drop, or for a duplicate the fate of what was kept for it."""
        seen: set[str] = set()
        while identity in self.dropped and identity not in seen:
            seen.add(identity)
            row = self.dropped[identity]
            if row["reason"] not in DUPLICATE:
                return row["reason"]
            identity = row["evidence"]["kept_id"]
        return "kept" if identity in self.kept else "lost"


def score(truth: Path, out: Path, threshold: float = 0.7) -> dict[str, Any]:
    """Compare the outputs in `out` with the truth.

    Args:
        truth: `truth.jsonl` with `corpus.jsonl` beside it, as `planted.plant` writes them.
        out: folder with `train`, `validation`, `test` and `dropped.jsonl`.
        threshold: Jaccard similarity from which near-duplicates were to be dropped.

    Returns:
        `accounting` (records in, kept, dropped, and whether they add up), `exact`, `near` (by band
        of the planted Jaccard), `cluster`, `leak` (by form), `negative` (what had to stay), `bad`,
        and `precision` of the three reasons. Shares are None where there is nothing to divide by.
    """
    rows = list(_read(truth))
    outcome = _outcome(out)
    corpus = truth.with_name("corpus.jsonl")
    plants: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        plants[row["plant"]].append(row)
    with corpus.open("rb") as file:
        lines = sum(1 for _ in file)
    dropped = len(outcome.dropped) + len(outcome.lines)
    return {
        "accounting": {
            "in": lines,
            "kept": len(outcome.kept),
            "dropped": dropped,
            "adds_up": lines == len(outcome.kept) + dropped,
        },
        "exact": {
            form: _found([_pair(row, outcome, ("duplicate",)) for row in of_form])
            for form, of_form in _by(plants["exact"], "form")
        },
        "near": {
            band: _found([_pair(row, outcome, DUPLICATE) for row in of_band])
            for band, of_band in _bands(plants["near"])
        },
        "near_by_edit": {
            f"{form}, {threshold} and above": _found(
                [_pair(row, outcome, DUPLICATE) for row in of_form if row["jaccard"] >= threshold]
            )
            for form, of_form in _by(plants["near"], "form")
        },
        "cluster": {
            "star, all but one": _found(_stars(_of_form(plants["cluster"], "star"), outcome)),
            "chain, one of each link": _found(
                [_pair(row, outcome, DUPLICATE) for row in _of_form(plants["cluster"], "chain")]
            ),
        },
        "leak": {form: _leaks(of_form, outcome) for form, of_form in _by(plants["leak"], "form")},
        "negative": {
            plant: _stayed(plants[plant], outcome)
            for plant in ("quote", "boilerplate", "topic", "template")
        },
        "bad": {
            form: _found([_bad(row, outcome) for row in of_form])
            for form, of_form in _by(plants["bad"], "form")
        },
        "precision": _precision(rows, outcome, corpus, threshold),
    }


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)


def _outcome(out: Path) -> Outcome:
    dropped: dict[str, Row] = {}
    lines: dict[int, Row] = {}
    for row in _read(out / "dropped.jsonl"):
        if row["id"] is None:
            lines[row["line"]] = row
        else:
            dropped[row["id"]] = row
    kept = {row["id"] for name in SPLITS for row in _read(out / f"{name}.jsonl")}
    return Outcome(dropped, lines, kept)


def _by(rows: list[Row], key: str) -> list[tuple[str, list[Row]]]:
    return [
        (name, [row for row in rows if row[key] == name])
        for name in sorted({row[key] for row in rows})
    ]


def _bands(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    edges = [0.0, 0.6, 0.7, 0.8, 0.9, 1.1]
    return [
        (
            f"{low:.1f}–{min(high, 1):.1f}",
            [row for row in rows if low <= row["jaccard"] < high],
        )
        for low, high in itertools.pairwise(edges)
    ]


def _found(verdicts: list[bool | None]) -> dict[str, Any]:
    """Counts and recall of verdicts: found, missed, or None for dropped elsewhere."""
    judged = [verdict for verdict in verdicts if verdict is not None]
    return {
        "planted": len(verdicts),
        "elsewhere": len(verdicts) - len(judged),
        "found": sum(judged),
        "recall": _share(sum(judged), len(judged)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _pair(row: Row, outcome: Outcome, reasons: tuple[str, ...]) -> bool | None:
    """One of the two was dropped for the other (whichever: the smallest id stays)."""
    ends = (row["id"], row["of"])
    of_ends = [outcome.dropped.get(end) for end in ends]
    if any(of_end and of_end["reason"] in reasons for of_end in of_ends):
        return True
    return None if any(of_ends) else False


def _of_form(rows: list[Row], form: str) -> list[Row]:
    return [row for row in rows if row["form"] == form]


def _stars(rows: list[Row], outcome: Outcome) -> list[bool | None]:
    """One verdict for each record that has to go: all but one of those like one original.

    Of a chain more may stay: its ends have little in common.
    """
    verdicts: list[bool | None] = []
    for number in sorted({row["cluster"] for row in rows}):
        of_cluster = [row for row in rows if row["cluster"] == number]
        members = {row["id"] for row in of_cluster} | {row["of"] for row in of_cluster}
        drops = [outcome.dropped.get(member) for member in members]
        found = sum(row is not None and row["reason"] in DUPLICATE for row in drops)
        elsewhere = sum(row is not None and row["reason"] not in DUPLICATE for row in drops)
        due = len(members) - 1
        found = min(found, due)
        elsewhere = min(elsewhere, due - found)
        verdicts += [True] * found + [None] * elsewhere + [False] * (due - found - elsewhere)
    return verdicts


def _leaks(rows: list[Row], outcome: Outcome) -> dict[str, Any]:
    """As `_found`; `named` is the share of those found whose evidence names the right item."""
    verdicts: list[bool | None] = []
    named: list[bool] = []
    for row in rows:
        fate = outcome.fate(row["id"])
        verdicts.append(True if fate == "contaminated" else False if fate == "kept" else None)
        line = outcome.dropped.get(row["id"])
        if line and line["reason"] == "contaminated":
            named.append(line["evidence"].get("benchmark_id") == row["of"])
    return _found(verdicts) | {"named": _share(sum(named), len(named))}


def _stayed(rows: list[Row], outcome: Outcome) -> dict[str, Any]:
    reasons = [outcome.dropped[row["id"]]["reason"] for row in rows if row["id"] in outcome.dropped]
    wrong = sum(reason in (*DUPLICATE, "contaminated") for reason in reasons)
    return {
        "planted": len(rows),
        "elsewhere": len(reasons) - wrong,
        "dropped_wrongly": wrong,
        "reasons": dict(Counter(reasons)),
    }


def _bad(row: Row, outcome: Outcome) -> bool:
    found = outcome.lines.get(row["line"])
    return found is not None and found["reason"] == row["form"]


def _precision(rows: list[Row], outcome: Outcome, corpus: Path, threshold: float) -> dict[str, Any]:
    """Of each reason: how many of its drops are right.

    A duplicate is right where both texts are equal but for case, white space and Unicode form
    (`variants.visible`); a near-duplicate where the exact Jaccard similarity of such texts reaches
    the threshold, or both are of one planted cluster, whose links do; a contaminated one where it
    was planted as a leak.
    """
    by_reason: dict[str, list[Row]] = defaultdict(list)
    for row in outcome.dropped.values():
        by_reason[row["reason"]].append(row)
    doubles = [row for reason in DUPLICATE for row in by_reason[reason]]
    wanted = {row["id"] for row in doubles} | {row["evidence"]["kept_id"] for row in doubles}
    texts = {name: text for name, text in read_texts(corpus) if name in wanted}
    cluster_of: dict[str, int] = {}
    for row in rows:
        if "cluster" in row:
            cluster_of[row["id"]] = cluster_of[row["of"]] = row["cluster"]
    plant_of = {row["of"]: f"{row['plant']}:original" for row in rows if "jaccard" in row}
    plant_of |= {row["id"]: f"{row['plant']}:{row['form']}".rstrip(":") for row in rows}

    def kept_for(row: Row) -> tuple[str, str]:
        return visible(texts[row["id"]]), visible(texts[row["evidence"]["kept_id"]])

    def counted(flagged: list[Row], wrong: list[Row]) -> dict[str, Any]:
        plants = Counter(plant_of.get(row["id"], "unplanted") for row in wrong)
        share = _share(len(flagged) - len(wrong), len(flagged))
        return {"dropped": len(flagged), "precision": share, "wrong": dict(plants)}

    exact = by_reason["duplicate"]
    near = by_reason["near_duplicate"]
    similarity = {row["id"]: jaccard(*kept_for(row)) for row in near}
    unlike = [row for row in near if similarity[row["id"]] < threshold]
    unrelated = [
        row
        for row in unlike
        if cluster_of.get(row["id"], -1) != cluster_of.get(row["evidence"]["kept_id"], -2)
    ]
    flagged = by_reason["contaminated"]
    return {
        "duplicate": counted(exact, [row for row in exact if len(set(kept_for(row))) > 1]),
        "near_duplicate": counted(near, unrelated)
        | {
            "verified_against_kept": _share(len(near) - len(unlike), len(near)),
            f"below_{FALSE_BELOW}": sum(similarity[r["id"]] < FALSE_BELOW for r in unrelated),
        },
        "contaminated": counted(
            flagged,
            [row for row in flagged if not plant_of.get(row["id"], "").startswith("leak")],
        ),
        "other_reasons": {
            reason: {
                "dropped": len(of_reason),
                "unplanted": sum(row["id"] not in plant_of for row in of_reason),
            }
            for reason, of_reason in sorted(by_reason.items())
            if reason not in (*DUPLICATE, "contaminated")
        },
    }
