"""Evidence of a contaminated record for a person: its own words beside the benchmark's."""

from collections.abc import Sequence

import numpy as np

from tasks.curate.ledger import Evidence
from tasks.curate.steps.contamination.deciding import Contamination
from tasks.curate.steps.contamination.disguises import decode_base64, strip_accents, undisguised
from tasks.curate.steps.contamination.overlaps import Stretch
from tasks.curate.steps.contamination.passage_index import PassageIndex, passage_text
from tasks.curate.steps.contamination.passages import SHORTEST_PASSAGE
from tasks.curate.text.ngrams import Hashes, Words, hash_words, windows
from tasks.curate.text.normalise import words
from tasks.curate.text.turn_texts import surrounding_texts, text_without_system
from tasks.records import Record

_LONGEST_TEXT = 300


def collect_evidence(
    index: PassageIndex, record: Record, found: Contamination, records: int = 1
) -> Evidence:
    """The record's longest stretch in its own words, beside the benchmark's text.

    Args:
        index: the passages.
        record: the contaminated record.
        found: what was decided about it.
        records: how many records have the text in which it is (a system prompt, tools) in common.
    """
    overlap = found.overlap
    passage = index.passages[overlap.passage]
    stretches = overlap.close or overlap.exact or overlap.shuffled
    place: Evidence = {"place": overlap.place} if overlap.place else {}
    if records > 1:
        place["records"] = records
    return {
        "benchmark": passage.item.source,
        "benchmark_id": passage.item.id,
        "benchmark_line": passage.item.line,
        "part": passage.part,
        **place,
        "overlap": round(found.share, 4),
        "ngram": found.ngram,
        "bits": round(found.bits, 1),
        "rare_words": list(found.rare_words),
        "setting": found.setting,
        "text": _matching_text(record, stretches, index.words(overlap.passage)),
        "benchmark_text": _clip(passage_text(passage)),
    }


def _matching_text(record: Record, stretches: Sequence[Stretch], passage: Hashes) -> str:
    """The longest stretch as the record has it, in its own words where they can be found."""
    text = text_without_system(record)
    around = [surrounding for _, surrounding in surrounding_texts(record)]
    begin, end = max(stretches, key=lambda stretch: (stretch[1] - stretch[0], -stretch[0]))
    for form in (text, *around, *map(undisguised, (text, *around)), decode_base64(text)):
        if (found := _find_stretch(form, passage[begin:end])) is not None:
            return _clip(found)
    return _clip(text)


def _find_stretch(text: str, stretch: Hashes) -> str | None:
    """The pieces of a text whose words are those of a stretch; None where it has them not."""
    size = min(len(stretch), SHORTEST_PASSAGE)
    ngrams = windows(hash_words([strip_accents(text)]), size).hashes
    beginning = windows(Words(stretch, np.array([0, len(stretch)])), size).hashes[0]
    positions = np.flatnonzero(ngrams == beginning)
    if not len(positions):
        return None
    # Words as compared are counted in pieces of the original, to find the way back to it.
    first, last = int(positions[0]), int(positions[0]) + len(stretch)
    pieces = text.split()
    words_before = np.cumsum([len(words(strip_accents(piece))) for piece in pieces])
    first_piece = int(np.searchsorted(words_before, first, side="right"))
    last_piece = int(np.searchsorted(words_before, last, side="left"))
    return " ".join(pieces[first_piece : last_piece + 1])


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
