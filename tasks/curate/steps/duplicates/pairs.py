"""Compare the records of pairs by what they say, a few texts in memory at a time."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tasks.curate.run.shards import Shards
from tasks.curate.steps.duplicates.facts import Facts
from tasks.curate.text import turn_texts
from tasks.curate.text.ngrams import Positions
from tasks.records import Record

_AT_ONCE = 20_000
"""Pairs whose texts are read at once."""


def compare_facts(
    shards: Shards, pairs: Positions, compare: Callable[[Facts, Facts, int], bool]
) -> npt.NDArray[np.bool_]:
    """(pairs,) what `compare` says of the facts of each pair's records, and of its number.

    Args:
        shards: all records.
        pairs: (2, pairs) numbers of records.
        compare: given the facts of a pair's first and second record, and the pair's number.
    """
    found = np.zeros(pairs.shape[1], dtype=bool)
    for begin in range(0, len(found), _AT_ONCE):
        chunk = pairs[:, begin : begin + _AT_ONCE]
        facts = {number: _facts(record) for number, record in shards.records(np.unique(chunk))}
        for i, (first, second) in enumerate(chunk.T.tolist(), begin):
            found[i] = compare(facts[first], facts[second], i)
    return found


def _facts(record: Record) -> Facts:
    texts = turn_texts.turn_texts(record)
    if len(texts) < 2:
        return Facts.of(texts, "", "")
    users = turn_texts.user_turns(record)
    question = texts[users[-1]] if users else ""
    return Facts.of(texts, question, turn_texts.learned_text(record))
