"""The marks of a person: read, checked, un-blinded and counted."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.core.values import Value
from tasks.evaluate.results import SYSTEMS
from tasks.evaluate.review.sheet import ReviewSheet

MARKS = ("A", "tie", "B")
FORMAT = 1
NOTE_CHARACTERS = 2000
_MOST_BYTES = 4_000_000
_REMEDY = "export the marks again from the version's review sheet"


class MarkCounts(Value):
    """What a person's marks say of the candidate, from its side."""

    reference: str
    """The system that the candidate is compared with."""
    wins: int
    """Items on which the candidate's answer is better."""
    ties: int
    losses: int
    unmarked: int
    """Items of the sheet without a mark."""
    notes: int
    """Items with a note."""
    p_value: float | None
    """Of the two-sided exact sign test over wins and losses, ties left out; None: there are none
    of either."""
    by_benchmark: dict[str, tuple[int, int, int]]
    """Wins, ties and losses of each benchmark."""
    sheet: str
    """SHA-256 of the sheet that was marked."""
    marks: str
    """SHA-256 of the file with the marks."""

    @property
    def sentence(self) -> str:
        """The counts and the test in words."""
        other = SYSTEMS.get(self.reference, self.reference)
        marked = self.wins + self.ties + self.losses
        text = (
            f"Of {marked} marked items the candidate's answer is better on {self.wins}, that of "
            f"{other} on {self.losses}, and {self.ties} are ties"
        )
        if self.p_value is None:
            return f"{text}: they do not tell the two apart."
        shown = f"{self.p_value:.2g}" if self.p_value >= 0.0001 else "below 0.0001"
        end = "" if self.p_value < 0.05 else ": they do not tell the two apart"
        return f"{text} (two-sided sign test without the ties: p {shown}){end}."


def count_marks(path: Path, key: Path) -> MarkCounts:
    """Read the marks that the page exported and count them.

    Which answer is whose comes from the key, not from the file with the marks. The test is the sign
    test (Dixon & Mood 1946, "The statistical sign test"), exact and two-sided; ties say nothing
    about a direction and are left out of it.

    Args:
        path: the exported JSON.
        key: the `review_key.json` that was registered with the version.

    Raises:
        BadInput: the file is no export of this sheet, or a mark in it cannot be used.
        Refused: the marks were set after the key had been shown.
    """
    sheet = ReviewSheet.from_json(files.read_json(key), str(key))
    digest = hashlib.sha256(key.read_bytes()).hexdigest()
    data = _read(path)
    value = _parse(path, data)
    _check_sheet(path, value["sheet"], digest)
    marks = _marks(path, value, sheet)
    if value.get("blind") is not True:
        raise Refused(
            f"{path}: the marks were set after the page had shown which answer is whose: they are "
            "no blind review and are not counted; give your reasons with `approve --comment`"
        )
    by_number = {item.number: item for item in sheet.items}
    outcomes: Counter[tuple[str, str]] = Counter()
    for number, mark in marks.items():
        item = by_number[number]
        won = "tie" if mark == "tie" else "win" if item.key[mark] == "candidate" else "loss"  # type: ignore[index]
        outcomes[item.benchmark, won] += 1
    benchmarks = dict.fromkeys(item.benchmark for item in sheet.items)
    wins, ties, losses = (
        sum(outcomes[name, outcome] for name in benchmarks) for outcome in ("win", "tie", "loss")
    )
    decisive = wins + losses
    return MarkCounts(
        reference=sheet.reference,
        wins=wins,
        ties=ties,
        losses=losses,
        unmarked=len(sheet.items) - len(marks),
        notes=sum(bool(entry.get("note")) for entry in value["marks"]),
        p_value=_sign_test(wins, decisive) if decisive else None,
        by_benchmark={
            name: (outcomes[name, "win"], outcomes[name, "tie"], outcomes[name, "loss"])
            for name in benchmarks
        },
        sheet=digest,
        marks=hashlib.sha256(data).hexdigest(),
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{path}: too large for exported marks; {_REMEDY}")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; name the file that the page exported") from None


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: no JSON ({error.msg}); {_REMEDY}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise BadInput(f"{path}: no JSON text in UTF-8; {_REMEDY}") from None
    if not isinstance(value, dict) or "sheet" not in value or "marks" not in value:
        raise BadInput(f"{path}: no exported marks (`sheet` and `marks` are missing); {_REMEDY}")
    if value.get("format") != FORMAT:
        raise BadInput(
            f"{path}: format {value.get('format')!r} of exported marks is not known here, "
            f"{FORMAT} is; {_REMEDY}"
        )
    return value


def _check_sheet(path: Path, named: Any, digest: str) -> None:
    if named != digest:
        raise BadInput(
            f"{path}: these marks belong to another review sheet ({str(named)[:12]}, not "
            f"{digest[:12]} of this version); name the version whose sheet was marked"
        )


def _marks(path: Path, value: dict[str, Any], sheet: ReviewSheet) -> dict[int, str]:
    """Mark by number of the item; entries that hold a note only are left out."""
    entries = value["marks"]
    if not isinstance(entries, list):
        raise BadInput(f"{path}: `marks` is no list; {_REMEDY}")
    known = {item.number for item in sheet.items}
    seen: set[int] = set()
    marks: dict[int, str] = {}
    for position, entry in enumerate(entries, 1):
        place = f"{path}: entry {position} of `marks`"
        if not isinstance(entry, dict) or not {"item", "mark"} <= entry.keys():
            raise BadInput(f"{place}: `item` or `mark` is missing; {_REMEDY}")
        number, mark, note = entry["item"], entry["mark"], entry.get("note", "")
        if type(number) is not int or number not in known:
            raise BadInput(
                f"{place}: there is no item {str(number)[:40]}, only 1 to {len(known)}; {_REMEDY}"
            )
        if number in seen:
            raise BadInput(f"{place}: item {number} is there twice; leave one of the two out")
        if mark is not None and mark not in MARKS:
            raise BadInput(
                f"{place}: the mark of item {number} is {str(mark)[:40]}; A, tie or B is expected"
            )
        if not isinstance(note, str) or len(note) > NOTE_CHARACTERS:
            raise BadInput(
                f"{place}: the note on item {number} is no text of at most {NOTE_CHARACTERS} "
                "characters; shorten it"
            )
        seen.add(number)
        if mark is not None:
            marks[number] = mark
    if not marks:
        raise BadInput(f"{path}: no item is marked; mark some and export again")
    return marks


def _sign_test(wins: int, decisive: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(wins, decisive).pvalue)
