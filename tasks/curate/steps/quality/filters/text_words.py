"""Texts whose words are no words of a language: rules for web pages."""

from typing import Annotated

from pydantic import Field

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import whole_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Fraction, Section, Unit

_Positive = Annotated[float, Field(gt=0)]


class WordLength(Section):
    mean_word_length: Annotated[tuple[_Positive, _Positive] | None, Unit("characters")] = None
    """Bounds of a text's mean word length in characters (Gopher: [3, 10]); null: not checked."""


@FILTERS.register
class MeanWordLength(Filter[WordLength]):
    """A text whose words have too few or too many characters on average (Gopher: 3 to 10).

    Off by default: minified code, tables, and writing without spaces break it.
    """

    name = "mean_word_length"
    meaning = "The text's words are too short or too long on average."
    settings = WordLength
    evidence = {"mean": "characters", "minimum": "the setting", "maximum": "the setting"}
    order = 100

    def is_on(self, settings: WordLength) -> bool:
        return settings.mean_word_length is not None

    def check(
        self, record: Record, settings: WordLength, measured: Measurements
    ) -> Evidence | None:
        low, high = settings.mean_word_length or (0, 0)
        parts = whole_text(record).split()
        mean = sum(map(len, parts)) / max(len(parts), 1)
        if not parts or low <= mean <= high:
            return None
        return {"mean": round(mean, 4), "minimum": low, "maximum": high}


class AlphabeticWords(Section):
    min_alphabetic_words: Fraction = 0.0
    """Lowest share of a text's words with a letter (Gopher: 0.8)."""


@FILTERS.register
class FewWordsWithLetters(Filter[AlphabeticWords]):
    """A text of whose words too few have a letter (Gopher: less than 0.8).

    Off by default: operators and numbers of source code are such words.
    """

    name = "few_words_with_letters"
    meaning = "Too few of the text's words have a letter."
    settings = AlphabeticWords
    evidence = {"share": "share of the words", "minimum": "the setting"}
    order = 110

    def is_on(self, settings: AlphabeticWords) -> bool:
        return settings.min_alphabetic_words > 0

    def check(
        self, record: Record, settings: AlphabeticWords, measured: Measurements
    ) -> Evidence | None:
        minimum = settings.min_alphabetic_words
        parts = whole_text(record).split()
        share = sum(any(map(str.isalpha, part)) for part in parts) / max(len(parts), 1)
        if not parts or share >= minimum:
            return None
        return {"share": round(share, 4), "minimum": minimum}
