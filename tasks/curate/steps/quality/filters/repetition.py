"""Answers that say the same again and again.

A model that has lost its thread says one thing again and again and nothing in it varies. Data
repeats as well (rows, tags, assertions, logs, markup), but there the values vary. So what counts
here is the exact loop: the same words at one distance, three times and more. The share of repeated
n-grams, by which Rae et al. 2021 ("Scaling Language Models: Methods, Analysis & Insights from
Training Gopher", appendix A1) clean web pages, cannot tell the two apart.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.text_form import is_structured, longest_run, visible_characters
from tasks.curate.text.normalise import words
from tasks.records import Record
from tasks.settings.section import Fraction, Section

_LONGEST = 100_000

# Loops of words
_GRAM = 5

_PERIODS = 3

_SAID_AGAIN = 8
"""Words that have to be said again, whatever the length of the loop."""

_COPIES = 3

_WHOLE = 0.9
"""Fraction of structured text that a loop has to cover: rows of a table may well be equal."""

_LITERALS = frozenset(
    ("true", "false", "null", "none", "nan", "na", "inf", "nil", "undefined", "ok", "pass")
)

_LONG_UNIT = 6
"""Words from which three equal rows of data are a loop, too."""

# Sentences
_SENTENCE = re.compile(r"[.!?\n。！？।؟]+")

_ELISIONS = frozenset("a i s t d m l".split())  # noqa: SIM905 (one letter that is a word)

_SENTENCES, _SENTENCE_WORDS, _SAME_SENTENCES = 6, 4, 0.6

# Runs of one character
_LONG_RUN = 8

_LONG_WORD = re.compile(r"[^\W\d_][^\s\d_]{23,}")

_TAIL = 6

_HEX = re.compile(
    r"#[0-9a-f]{3,8}|0x[0-9a-f]+|(?:[0-9a-f]{2}){3,4}|[0-9a-f]{16}(?:[0-9a-f]{16})*", re.I
)
"""Colours, numbers and digests."""


class Repetition(Section):
    max_repetition: Fraction = 0.2
    """Highest share of a completion that says the same again and again; 1: not checked."""


@FILTERS.register
class RepetitionRatio(Filter[Repetition]):
    """An answer of which too much is a loop.

    The words inside word 5-grams that the answer has said before bound the loop, so most answers
    need no closer look.
    """

    name = "repetition_ratio"
    meaning = "The answer says the same again and again."
    settings = Repetition
    evidence = {
        "share": "share of the answer that is said again",
        "maximum": "the setting",
        "text": "one copy",
        "times": "how often it is said",
    }
    remedy = "Rows of data with other values do not count: raise the setting, or set it to 1."
    order = 70

    def is_on(self, settings: Repetition) -> bool:
        return settings.max_repetition < 1

    def check(
        self, record: Record, settings: Repetition, measured: Measurements
    ) -> Evidence | None:
        maximum = settings.max_repetition
        found = find_loop(answer_text(record), measured.repeated_share(record), maximum)
        if found is None:
            return None
        return {
            "share": round(found.share, 4),
            "maximum": maximum,
            "text": found.text[:300],
            "times": found.times,
        }


@dataclass(frozen=True, slots=True)
class Loop:
    """What a text says again and again.

    Attributes:
        text: one copy.
        times: how often it is said.
        share: 0 to 1, of the text, what the copies after the first one take.
    """

    text: str
    times: int
    share: float

    @property
    def whole(self) -> float:
        """Fraction of the text that is the loop, its first copy included."""
        return self.share * (1 + 1 / max(self.times - 1, 1))


def find_loop(text: str, repeated: float, maximum: float) -> Loop | None:
    """The loop that takes more than `maximum` of the text, if any.

    Args:
        text: what is looked at.
        repeated: share (0 to 1) of its words inside word 5-grams that it has said before. No loop
            of words takes more than that, so most texts need no closer look.
        maximum: share (0 to 1) of the text.
    """
    found = _characters(text, maximum)
    if found is not None or repeated <= maximum:
        return found
    if not is_structured(text):
        return _words(words(text), maximum) or (
            _sentences(text) if repeated > max(maximum, 0.5) else None
        )
    if repeated < _WHOLE * (_COPIES - 1) / _COPIES:
        return None  # no loop can be all of it
    found = _words(words(text), maximum)
    few = found and found.times < 4 and found.text.count(" ") < _LONG_UNIT
    return None if few or (found and found.whole < _WHOLE) else found


def _words(said: Sequence[str], maximum: float) -> Loop | None:
    """The longest stretch in which each word is the one that stood `period` words before."""
    best = Loop("", 0, 0.0)
    for period in _periods(said):
        begin, length = _longest([a == b for a, b in zip(said, said[period:], strict=False)])
        unit = said[begin : begin + period]
        share = length / len(said)
        if share > best.share and _is_loop(unit, length):
            best = Loop(" ".join(unit), length // period + 1, share)
    return best if best.share > maximum else None


def _is_loop(unit: Sequence[str], length: int) -> bool:
    """Whether `length` words that say `unit` again are too many, and the unit says something."""
    copies = length / len(unit) + 1
    many = length >= _SAID_AGAIN or copies > (5 if sum(map(len, unit)) > 2 else 7)
    return many and copies >= _COPIES and any(not _is_value(word) for word in unit)


def _periods(said: Sequence[str]) -> list[int]:
    """The most frequent distances at which five words come again."""
    last: dict[tuple[str, ...], int] = {}
    distances: Counter[int] = Counter()
    for number, gram in enumerate(zip(*(said[n:] for n in range(_GRAM)), strict=False)):
        if gram in last:
            distances[number - last[gram]] += 1
        last[gram] = number
    return [period for period, _ in distances.most_common(_PERIODS)]


def _longest(equal: Sequence[bool]) -> tuple[int, int]:
    """Where the longest run of True begins, and its length."""
    best, begin = (0, 0), 0
    for number, same in enumerate(equal):
        if not same:
            begin = number + 1
        elif number + 1 - begin > best[1]:
            best = begin, number + 1 - begin
    return best


def _is_value(word: str) -> bool:
    number = any(map(str.isdigit, word)) and (word[0].isdigit() or len(word) < 4)
    return word in _LITERALS or number or (len(word) == 1 and word.isascii())


def _sentences(text: str) -> Loop | None:
    """A few sentences that make up most of a text, in whatever order."""
    said = (words(part) for part in _SENTENCE.split(text))
    sentences = [
        " ".join(of_one)
        for of_one in said
        if len(of_one) >= _SENTENCE_WORDS and not any(map(_is_value, set(of_one) - _ELISIONS))
    ]
    if len(sentences) < _SENTENCES:
        return None
    share = 1 - len(set(sentences)) / len(sentences)
    ((most, times),) = Counter(sentences).most_common(1)
    return Loop(most, times, share) if share > _SAME_SENTENCES else None


def _characters(text: str, maximum: float) -> Loop | None:
    """One letter, or one piece of a word, over and over."""
    if len(text) > _LONGEST:
        return None  # too long for a model in any case
    run = longest_run(text)
    if run and len(run) > maximum * visible_characters(text) and _is_stutter(run, text):
        return Loop(run[0], len(run), (len(run) - 1) / visible_characters(text))
    # What is more than half of a text is in its middle.
    middle = len(text) // 2
    end = text.find(" ", middle)
    begin, end = text.rfind(" ", 0, middle) + 1, end if end > 0 else len(text)
    word = _LONG_WORD.search(text, begin, end) if end - begin > _LONG_RUN else None
    if word is None:
        return None
    found = _stutter(word[0])
    if found is None or found.share * len(word[0]) <= max(maximum, 0.5) * visible_characters(text):
        return None
    return found


def _is_stutter(run: str, text: str) -> bool:
    """Whether a run of a letter, a digit or a symbol is no value and no lengthened word."""
    sign, alone = run[0], text.strip() == run
    if sign in "fF" and _HEX.fullmatch(text.strip()):
        return False
    if sign.isdigit():
        return alone and len(run) > (64 if sign in "01" else 12)
    if sign in "!?！？":
        return len(run) > 20 and not is_structured(text)
    if sign.isalpha():
        return alone or len(run) >= 16
    return unicodedata.category(sign)[0] in "S" and not sign.isascii() and len(run) > 15


def _stutter(word: str) -> Loop | None:
    """A long word that ends with one piece of it over and over."""
    tail = word[-_TAIL:]
    before = word.rfind(tail, 0, len(word) - 1)
    period = len(word) - _TAIL - before
    if before < 0 or period < 2 or not _is_lettered(word[-period:]):
        return None
    begin = len(word) - period
    while begin and word[begin - 1] == word[begin - 1 + period]:
        begin -= 1
    length = len(word) - begin
    if length < 4 * period or length < 24:
        return None
    return Loop(word[-period:], length // period, (length - period) / len(word))


def _is_lettered(unit: str) -> bool:
    return all(sign.isalpha() or unicodedata.category(sign)[0] == "M" for sign in unit)
