"""References and windows with what is wrong in them, and the check on them, in memory."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: threads would only compete

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.drift import data
from benchmarks.drift.data import Row, Text
from tasks.drift.comparison import Comparison, compare, pool
from tasks.drift.rows import rows_of
from tasks.records import BadLine, Record, parse
from tasks.settings import Settings

LEVEL = 0.05
SETTINGS = Settings.model_validate({"drift": {"alpha": LEVEL, "permutations": 400}})
REFERENCE, WINDOW = 500, 200
_REFUSAL = "I'm sorry, but I can't help with that."


@dataclass(frozen=True)
class Sides:
    """The rows of a reference and of a window."""

    reference: list[Row]
    window: list[Row]


def corpora(pages: Path | None, *, held_back: bool) -> dict[str, list[Text]]:
    """The texts by name. Held back: those that nobody looked at while the check was made."""
    found = {
        "docstrings": data.docstrings(data.HELD_BACK if held_back else data.TUNED, 2000),
        "descriptions": data.descriptions(
            ("libs", "python", "utils", "net", "science")
            if held_back
            else ("perl", "java", "games")
        ),
    }
    if pages is not None:
        systems = ("common", "osx", "windows") if held_back else ("linux", "windows")
        found["commands"] = data.commands(pages, systems)
    return {name: texts for name, texts in found.items() if texts}


def quiet(texts: Sequence[Text], in_a_group: int, number: int, *, copies: bool = False) -> Sides:
    """Reference and window of one distribution.

    Args:
        texts: to draw from.
        in_a_group: rows that come together.
        number: of the window, its seed.
        copies: the rows of a group are near copies of one text, and no row names its group.
    """
    draws = random.Random(f"{number}/{in_a_group}/{copies}")
    if copies:
        chosen = draws.sample(list(texts), (REFERENCE + WINDOW) // in_a_group)
        cut = REFERENCE // in_a_group
        sides = [
            [copy for text in part for copy in near_copies(text, in_a_group, draws)]
            for part in (chosen[:cut], chosen[cut:])
        ]
        return Sides(*(list(data.rows(side, grouped=False)) for side in sides))
    drawn = data.draw(texts, REFERENCE + WINDOW, in_a_group, draws)
    cut = REFERENCE // in_a_group * in_a_group
    grouped = in_a_group > 1
    return Sides(
        list(data.rows(drawn[:cut], grouped=grouped)), list(data.rows(drawn[cut:], grouped=grouped))
    )


def near_copies(text: Text, count: int, draws: random.Random) -> Iterable[Text]:
    """The text as clients send it again: with a counter, in another case or layout."""
    changes: list[Callable[[str], str]] = [
        str,
        lambda words: f"{words} ({draws.randrange(100)})",
        str.lower,
        lambda words: words.replace(" ", "  ", 1),
        lambda words: f"please {words}!",
    ]
    for change in draws.sample(changes, count):
        yield Text(text.source, text.group, change(text.prompt), text.answer)


def moved(
    texts: Sequence[Text], source: str, other: str, share: float, number: int, sizes: Sequence[int]
) -> Sides:
    """A window of one source, a share of which comes from another."""
    draws = random.Random(f"{number}/{source}/{other}/{share}")
    reference, window = sizes
    own = draws.sample(data.of_source(texts, source), reference + window)
    foreign = draws.sample(data.of_source(texts, other), round(share * window))
    changed = own[reference + len(foreign) :] + foreign
    return Sides(
        list(data.rows(own[:reference], grouped=False)), list(data.rows(changed, grouped=False))
    )


def shifted(texts: Sequence[Text], kind: str, number: int) -> Sides:
    """A window that differs in one respect from the reference, in every row unless it says less."""
    draws = random.Random(f"{number}/{kind}")
    chosen = draws.sample(list(texts), REFERENCE + WINDOW)
    chats = [list(SHIFTS[kind](text, False, draws)) for text in chosen[:REFERENCE]]
    window = [list(SHIFTS[kind](text, True, draws)) for text in chosen[REFERENCE:]]
    if kind == "flood":
        window[: WINDOW // 4] = [window[0]] * (WINDOW // 4)
    if kind == "few prompts":
        window = [window[0 if place < 190 else place] for place in range(WINDOW)]
        for place in range(190):
            window[place] = window[190 + place % 10]
    return Sides(_chats(chats), _chats(window))


Turns = Iterable[tuple[str, str]]


def _as_it_was(text: Text, _now: bool, _draws: random.Random) -> Turns:
    yield "user", text.prompt
    yield "assistant", text.answer or text.prompt[::-1]


def _answers(text: Text, now: bool, _draws: random.Random) -> Turns:
    yield "user", text.prompt
    yield "assistant", _REFUSAL if now else text.answer or text.prompt[::-1]


def _system(text: Text, now: bool, draws: random.Random) -> Turns:
    yield "system", "Answer in one word." if now else "You are a helpful assistant."
    yield from _as_it_was(text, now, draws)


def _new_system(text: Text, now: bool, draws: random.Random) -> Turns:
    if now:
        yield "system", "You are a helpful assistant."
    yield from _as_it_was(text, now, draws)


def _prompt(change: Callable[[str], str]) -> Callable[[Text, bool, random.Random], Turns]:
    def turns(text: Text, now: bool, _draws: random.Random) -> Turns:
        yield "user", change(text.prompt) if now else text.prompt
        yield "assistant", text.answer or text.prompt[::-1]

    return turns


def _laid_out(prompt: str) -> str:
    words = prompt.split(" ")
    return "\n\t".join(" ".join(words[place : place + 4]) for place in range(0, len(words), 4))


def _earlier(text: Text, now: bool, _draws: random.Random) -> Turns:
    if now:
        yield "user", text.prompt
        yield "assistant", "Shall I?"
        yield "user", "yes, go on"
    else:
        yield "user", text.prompt
    yield "assistant", text.answer or text.prompt[::-1]


def _half_earlier(text: Text, now: bool, draws: random.Random) -> Turns:
    return _earlier(text, now and draws.random() < 0.5, draws)


SHIFTS: Mapping[str, Callable[[Text, bool, random.Random], Turns]] = {
    "answers replaced": _answers,
    "system prompt replaced": _system,
    "system prompt added": _new_system,
    "upper case": _prompt(str.upper),
    "lower case": _prompt(str.lower),
    "line breaks and tabs": _prompt(_laid_out),
    "subject moved into earlier turns": _earlier,
    "half of the chats end in 'go on'": _half_earlier,
    "flood": _as_it_was,
    "few prompts": _as_it_was,
}


def _chats(chats: Iterable[Sequence[tuple[str, str]]]) -> list[Row]:
    return [
        {"id": str(number), "messages": [{"role": role, "content": said} for role, said in chat]}
        for number, chat in enumerate(chats)
    ]


def check(sides: Sides, settings: Settings = SETTINGS) -> Comparison:
    """The check's own comparison: all of `tasks.drift.detect` but reading and explaining."""
    pooled = pool(rows_of(_records(sides.reference)), rows_of(_records(sides.window)), settings)
    return compare("reference", ~pooled.is_current, pooled, settings)


def _records(rows: Iterable[dict[str, Any]]) -> Iterable[Record]:
    for number, row in enumerate(rows, 1):
        record = parse(row, "rows", number, labelled=False)
        if isinstance(record, BadLine):
            raise ValueError(f"row {number}: {record.reason}: {record.detail}")
        yield record
