"""Quality: filters with named reasons. A filter is a pure function; a list of them is the step.

The ratios follow the rules by which MassiveText and C4 were cleaned (Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher", appendix A1; Raffel et al.
2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
2.2), with bounds for answers, which are shorter than the web pages those were made for.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tasks.curate.ledger import Evidence, Sieved, drop
from tasks.curate.lengths import Lengths
from tasks.curate.normalise import comparable, words
from tasks.records import Record
from tasks.settings import Curate

STEP = "quality"
_NO_WORD = re.compile(r"[^\w\s]|_")
_REPEATED_NGRAM = 5


@dataclass(frozen=True, slots=True)
class Filter:
    """A reason to drop a record; `find` gives the evidence for it, or None."""

    reason: str
    find: Callable[[Record], Evidence | None]


def filters(settings: Curate, lengths: Lengths) -> list[Filter]:
    """The filters in the order in which they are asked; the first that finds something drops."""
    short = partial(short_completion, minimum=settings.min_completion_characters)
    return [
        Filter("empty_completion", empty_completion),
        Filter("short_completion", short),
        Filter("repeats_prompt", repeats_prompt),
        Filter("symbol_ratio", partial(symbol_ratio, maximum=settings.max_symbol_ratio)),
        Filter("repetition_ratio", partial(repetition_ratio, maximum=settings.max_repetition)),
        Filter("unrenderable", lengths.unrenderable),
        Filter("too_short", partial(lengths.too_short, minimum=settings.min_tokens)),
        Filter("too_long", partial(lengths.too_long, maximum=settings.max_tokens)),
    ]


def sieve(records: Iterable[Record], pipeline: Sequence[Filter]) -> Sieved:
    """Drop each record for the first reason found, if any."""
    kept, dropped = [], []
    for record in records:
        for one in pipeline:
            evidence = one.find(record)
            if evidence is not None:
                dropped.append(drop(record, STEP, one.reason, evidence))
                break
        else:
            kept.append(record)
    return kept, dropped


def empty_completion(record: Record) -> Evidence | None:
    """An answer (or text) without one visible character."""
    answer = _learned(record)
    return None if comparable(answer) else {"characters": len(answer)}


def short_completion(record: Record, minimum: int) -> Evidence | None:
    """An answer (or text) of fewer than `minimum` characters."""
    count = len(_learned(record).strip())
    return {"characters": count, "minimum": minimum} if count < minimum else None


def repeats_prompt(record: Record) -> Evidence | None:
    """An answer that is the prompt again, give or take case, spaces and invisible characters."""
    if record.completion is None or comparable(record.completion) != comparable(record.prompt):
        return None
    return {"text": record.completion[:300]}


def symbol_ratio(record: Record, maximum: float) -> Evidence | None:
    """Share of an answer's characters that are no letter, digit or space above `maximum`.

    Vowel signs and accents (category M) belong to letters.
    """
    answer = _learned(record)
    symbols = [s for s in _NO_WORD.findall(answer) if not unicodedata.category(s).startswith("M")]
    share = len(symbols) / max(len(answer), 1)
    return {"share": round(share, 4), "maximum": maximum} if share > maximum else None


def repetition_ratio(record: Record, maximum: float) -> Evidence | None:
    """Share of an answer's words inside word 5-grams that it has said before above `maximum`.

    Unlike a share of repeated single words, this does not grow with length.
    """
    said = words(_learned(record))
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    free = 0  # first word that no repeated n-gram has counted yet
    for start in range(len(said) - _REPEATED_NGRAM + 1):
        ngram = tuple(said[start : start + _REPEATED_NGRAM])
        if ngram in seen:
            end = start + _REPEATED_NGRAM
            repeated += end - max(start, free)
            free = end
        seen.add(ngram)
    share = repeated / max(len(said), 1)
    return {"share": round(share, 4), "maximum": maximum} if share > maximum else None


def _learned(record: Record) -> str:
    """What the model would learn to say last: the last answer, or all of a text."""
    if "messages" in record.content:
        answers = [m["content"] for m in record.content["messages"] if m["role"] == "assistant"]
        return answers[-1] if answers else ""
    return record.completion or record.content.get("text", "")
