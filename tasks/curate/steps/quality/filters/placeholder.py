"""Placeholders in the place of an answer: "lorem ipsum", "TODO", keys hit at random."""

import functools
import itertools
import re

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text, whole_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.text_form import is_structured
from tasks.curate.text.normalise import comparable
from tasks.records import Record
from tasks.settings.section import Section

_LOREM = re.compile(r"lorem ipsum", re.IGNORECASE)
_ABOUT_PLACEHOLDERS = re.compile(
    r"lorem|ipsum|placeholder|dummy|filler|template|mock|sample text|latin|boilerplate", re.I
)
_LABEL = re.compile(r"^(?:(?:the |your |final )?(?:answer|response|output|completion)) ?[:=-] ?")
_WHAT = (
    r"(?:(?:your|the|an?|some|my|model|assistant|correct|final|real|actual|own|detailed|full"
    r"|generated) )*"
    r"(?:answers?|responses?|texts?|contents?|outputs?|completions?|repl(?:y|ies)|descriptions?"
    r"|summar(?:y|ies)|explanations?|solutions?|messages?|code|data|information|paragraphs?|stuff"
    r"|something)"
)
_PLACEHOLDER = re.compile(
    rf"(?:insert|enter|type|add|write|put|place|fill(?: in)?|paste|provide|give) {_WHAT}"
    r"(?: (?:goes )?(?:here|below|later|soon|in|text))*"
    rf"|{_WHAT} (?:(?:goes|will go|comes|should go) )?(?:here|below)"
    rf"|{_WHAT} (?:will be|to be|is) (?:added|provided|written|filled(?: in)?|inserted|updated)"
    r"(?: (?:here|later|soon))*"
    rf"|(?:insert|enter|type|write|fill in|add|put)(?: (?:it|this|that))?(?: (?:here|later))+"
    r"|(?:to ?do|tbd|tba|tbc|fix ?me|x{3,})"
    rf"(?:[ :-]+(?:(?:add|write|fill(?: in)?|complete|answer|insert|finish|provide|update|do)"
    rf"(?: (?:this|it|{_WHAT}|the|rest|in|me|here|later|up|out))*)?)?"
    r"|to be (?:done|added|determined|announced|completed|filled(?: in)?|written|defined|decided"
    r"|provided|continued|updated|confirmed)(?: (?:here|later|soon))*"
    r"|(?:this is (?:an? )?)?(?:place ?holder|sample|example|dummy|filler|test)"
    r"(?: (?:text|answer|response|content|completion|output|data))(?: (?:goes )?here)?"
    r"|(?:this is (?:an? )?)?place ?holder|(?:answer|response|output) ?(?:placeholder|pending)"
    r"|(?:coming|available) soon|under construction|work in progress|no (?:answer|response|output)"
    r"|(?:click|tap) (?:here )?to (?:add|edit|enter|insert) (?:text|content|title)"
    r"|n ?/ ?a|not available|not applicable|blah(?: blah)*|foo ?bar(?: ?baz)?|foo|asdf|qwer|hjkl"
    r"|zxcv|test test(?: test)*|testing(?: 1 2 3)?"
)
_BLANK = re.compile(rf"your (?:own )?{_WHAT}|(?:the |model |correct )*(?:answers?|responses?)")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_PLACEHOLDER_WORDS = 12
_EDGES = " \t\n.,:;!?…*_~`'\"#>-–—()[]{}<>/|=\\$%&+@"
_FIRST = """
    insert enter type add write put place fill paste provide give your the a an some my model
    assistant correct final real actual own detailed full generated answer answers response
    responses text texts content contents output outputs completion completions reply replies
    description descriptions summary summaries explanation explanations solution solutions message
    messages code data information paragraph paragraphs stuff something to todo tbd tba tbc fix
    fixme this placeholder sample example dummy filler test coming available under work no click
    tap n n/a na not blah foo foobar asdf qwer hjkl zxcv testing x xxx
    """
_FIRST_WORDS = frozenset(_FIRST.split())

# Keys hit at random
_ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

_KEY = {
    key: (row, place) for row, keys in enumerate(_ROWS_OF_KEYS) for place, key in enumerate(keys)
}

_SPOKEN = frozenset(
    "sk ks sh gh lf lk ls ld lg gs ds dg gl fl sl kl hs dl hl lh hd fs".split()  # noqa: SIM905
)
"""Pairs of consonants of the home row that words have."""

_LAYOUTS = frozenset(("qwerty", "qwertz", "azerty", "qwert", "qwertyuiop"))

_TYPED = re.compile(r"[a-zA-Z;,./' \n]+")


class Placeholders(Section):
    drop_placeholder_text: bool = True
    """Drop "lorem ipsum" (C4), and answers such as "TODO" or "[your answer here]"."""


@FILTERS.register
class PlaceholderText(Filter[Placeholders]):
    """A placeholder where an answer should be: "lorem ipsum", "TODO", "[your answer here]".

    A text is dropped for lorem ipsum only (C4), a page that nobody has written yet. What the
    question names or asks for is an answer.
    """

    name = "placeholder_text"
    meaning = (
        'A placeholder is in the place of an answer ("lorem ipsum", "TODO", "[your answer here]").'
    )
    settings = Placeholders
    evidence = {"text": "what is around it"}
    remedy = "What the question names is kept; if placeholders are what you teach, set it to false."
    order = 140

    def is_on(self, settings: Placeholders) -> bool:
        return settings.drop_placeholder_text

    def check(
        self, record: Record, settings: Placeholders, measured: Measurements
    ) -> Evidence | None:
        text = whole_text(record)
        answer = text or answer_text(record)
        found = find_placeholder(answer)
        if found is None or (text and found == text and "psum" not in text.lower()):
            return None
        if not text and is_asked_for(answer, record.text.replace(answer, "", 1)):
            return None
        return {"text": found}


def find_placeholder(text: str) -> str | None:
    """What a text holds in place of words of its own, as an excerpt.

    Lorem ipsum, or nothing but a note that something is still to be written ("TODO", "[your answer
    here]", "N/A") or keys hit at random.
    """
    if "psum" in text or "PSUM" in text:
        lorem = _LOREM.search(text)
        if lorem and not is_structured(text):
            return text[max(lorem.start() - 100, 0) : lorem.start() + 200]
    if len(text) > 200:
        return None
    first = text.lower().strip(_EDGES).partition(" ")[0].rstrip(_EDGES)
    if text.strip() == "XXX":
        return None  # thirty
    if first not in _FIRST_WORDS:
        return text if _is_mashed(text) else None
    bare = _bare(text)
    if text.lstrip()[:1] in tuple("[<{(") and _BLANK.fullmatch(bare):
        return text
    if bare.count(" ") < _PLACEHOLDER_WORDS and _PLACEHOLDER.fullmatch(bare):
        return text
    return text if _is_mashed(text) else None


def is_asked_for(text: str, asked: str) -> bool:
    """Whether what was said before makes a placeholder an answer: it names it, or asks for one."""
    if _LOREM.search(text):
        return _ABOUT_PLACEHOLDERS.search(asked) is not None
    return _bare(text) in " ".join(comparable(asked).replace("_", " ").split())


def _bare(text: str) -> str:
    """A short text without case, brackets and "Answer:"."""
    bare = _LABEL.sub("", _AROUND.sub("", comparable(text)))
    return " ".join(_AROUND.sub("", bare).replace("_", " ").split())


def _is_mashed(text: str) -> bool:
    """Whether a text is letters as a hand on the keyboard makes them, and no language does."""
    first = text.lower().split(maxsplit=3)[:3]
    if not any(word.isalpha() and word.isascii() and _is_mash(word) for word in first):
        return False
    if not _TYPED.fullmatch(text) or text.strip().lower() in _LAYOUTS:
        return False
    typed = re.findall("[a-z]+", text.lower())
    letters = sum(map(len, typed))
    mashed = sum(len(word) for word in typed if _is_mash(word))
    return letters >= 5 and mashed >= 0.5 * letters


@functools.lru_cache(maxsize=4096)
def _is_mash(word: str) -> bool:
    if len(word) < 4:
        return False
    keys = [_KEY[letter] for letter in word]
    pairs = list(itertools.pairwise(keys))
    walked = sum(a[0] == b[0] and abs(a[1] - b[1]) == 1 for a, b in pairs)
    if len(word) >= 5 and walked >= 0.75 * len(pairs) and len(set(word)) > 3:
        return True  # neighbours on one row
    home = sum(row == 1 for row, _ in keys)
    vowels = sum(letter in "eiouy" for letter in word)
    odd = sum(
        a + b not in _SPOKEN for a, b in itertools.pairwise(word) if a != b and "a" not in a + b
    )
    enough = 1 if len(word) > 8 else 2
    return odd >= enough and len(word) > 5 and home >= 0.9 * len(word) and vowels <= 0.1 * len(word)
