"""The texts of records in which passages are searched: turns, and what else a record holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tasks.curate.steps.contamination.disguises import decode_base64, long_tokens, undisguised
from tasks.curate.text.ngrams import hash_words
from tasks.curate.text.turn_texts import (
    TurnWords,
    answer_turn,
    surrounding_texts,
    turn_texts,
    user_turns,
)
from tasks.records import Record

DISGUISED, ENCODED, BY_LETTERS = "in disguise", "base64", "without spaces"
"""Places: what turns say without escapes and accents, in base64, and letter by letter."""

Prompt: TypeAlias = tuple[Sequence[int], int]
"""The turns that ask, and the first turn that is no longer the prompt."""


@dataclass(frozen=True, slots=True)
class SearchedTexts:
    """Texts to be searched: of records, turn by turn, or of what surrounds them.

    Attributes:
        texts: each as one text.
        words: their words.
        records: of each text the numbers of the records that have it.
        prompt: gives the `Prompt` of a text, by its number.
        place: of each text where it is.
        origin: of each text what tells it from others, where several records have it.
    """

    texts: Sequence[str]
    words: TurnWords
    records: Sequence[Sequence[int]]
    prompt: Callable[[int], Prompt]
    place: Sequence[str]
    origin: Sequence[int]


def texts_of_turns(
    records: Sequence[Record], texts: Sequence[str], words: TurnWords
) -> SearchedTexts:
    """What the turns of records say.

    Args:
        records: the records.
        texts: what each says, without the system prompt.
        words: their words.
    """
    count = len(records)
    return SearchedTexts(
        texts,
        words,
        [(i,) for i in range(count)],
        lambda i: prompt_turns(records[i]),
        [""] * count,
        [0] * count,
    )


def other_texts(records: Sequence[Record], texts: Sequence[str]) -> SearchedTexts | None:
    """What turns say in disguise, and what surrounds them, each text once; None without any.

    Args:
        records: the records.
        texts: what each says, without the system prompt.
    """
    found: dict[tuple[str, ...], tuple[str, list[int], Prompt]] = {}
    for number, (record, text) in enumerate(zip(records, texts, strict=True)):
        plain = undisguised(text)
        if plain is not text and plain != text:
            turns = tuple(undisguised(turn) for turn in turn_texts(record))
            key = (str(number), *turns)
            found.setdefault(key, (DISGUISED, [number], prompt_turns(record)))
        for place, surrounding in surrounding_texts(record) if record.kind != "text" else ():
            entry = found.setdefault((place, undisguised(surrounding)), (place, [], ([0], 1)))
            entry[1].append(number)
    for number in long_tokens(texts):
        if hidden := decode_base64(texts[number]):
            found.setdefault((str(number), hidden), (ENCODED, [number], ([0], 1)))
    if not found:
        return None
    turns_of_text = [key[1:] for key in found]
    first = np.concatenate(([0], np.cumsum([len(turns) for turns in turns_of_text])))
    words = TurnWords(
        hash_words([turn for turns in turns_of_text for turn in turns]), first.astype(np.int64)
    )
    whole = words.records
    hashes = whole.spans(whole.starts[:-1], whole.starts[1:]).tolist()
    entries = list(found.values())
    return SearchedTexts(
        ["\n".join(turns) for turns in turns_of_text],
        words,
        [numbers for _, numbers, _ in entries],
        lambda i: entries[i][2],
        [place for place, _, _ in entries],
        # Whole numbers that JSON readers keep exactly.
        [
            0 if place in (DISGUISED, ENCODED) else text_hash >> 11
            for text_hash, (place, _, _) in zip(hashes, entries, strict=True)
        ],
    )


def prompt_turns(record: Record) -> Prompt:
    """The turns of a record that ask, and the first that is no longer its prompt."""
    return user_turns(record), answer_turn(record)
