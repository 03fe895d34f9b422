"""Junk: texts that say nothing, told by their form alone.

A model that has lost its thread says one thing again and again and nothing in it varies. Data
repeats as well (rows, tags, assertions, logs, markup), but there the values vary. So what counts
here is the exact loop: the same words at one distance, three times and more. The share of repeated
n-grams, by which Rae et al. 2021 ("Scaling Language Models: Methods, Analysis & Insights from
Training Gopher", appendix A1) clean web pages, cannot tell the two apart.

Every function takes a text and gives evidence or None. None of them looks at the meaning.
"""

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.curate.text.normalise import comparable, words

_SAMPLES = 24
"""Places at which a text is looked at for a run of one character: a run that is a tenth of the
text covers two of them at least."""
_HEAD = 400
_LONGEST = 100_000

# Loops of words
_GRAM = 5
_PERIODS = 3
_SAID_AGAIN = 8
"""Words that have to be said again, whatever the length of the loop."""
_COPIES = 3
_WHOLE = 0.9
"""Share of structured text that a loop has to cover: rows of a table may well be equal."""
_LITERALS = frozenset(
    ("true", "false", "null", "none", "nan", "na", "inf", "nil", "undefined", "ok", "pass")
)
_STRUCTURE = b'{}[]<>|=;"\\_#$&*+@^~()`\t/'
_STRUCTURED = 0.08
_ROWS = 4
_NUMBER = re.compile(r"(?<![^\W\d_])\d")

_LONG_UNIT = 6
"""Words from which three equal rows of data are a loop, too."""

# Sentences
_SENTENCE = re.compile(r"[.!?\n。！？।؟]+")
_ELISIONS = frozenset("a i s t d m l".split())  # noqa: SIM905 (one letter that is a word)
_SENTENCES, _SENTENCE_WORDS, _SAME_SENTENCES = 6, 4, 0.6

# Runs of one character
_PATTERN = re.compile(r"([^\w\s]{1,3}?)\1{3,}")
_LONG_WORD = re.compile(r"[^\W\d_][^\s\d_]{23,}")
_TAIL = 6
_HEX = re.compile(
    r"#[0-9a-f]{3,8}|0x[0-9a-f]+|(?:[0-9a-f]{2}){3,4}|[0-9a-f]{16}(?:[0-9a-f]{16})*", re.I
)
"""Colours, numbers and digests."""

# Signs
_STOPS = frozenset(".?!…,;。？！，；、؟۔।")
_DASHES = frozenset("-–—―_:·•~`'\"")
_BRACKETS = frozenset("()[]{}<>\\/")
_MORSE = frozenset(".-")
_SWEARING = frozenset("!@#$%^&*~?")
_RULE = re.compile(r"^[ \t]*[^\w\s.?!…,]{3,}[ \t|+:.-]*$", re.MULTILINE)
_LONG_RUN = 8


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
        """Share of the text that is the loop, its first copy included."""
        return self.share * (1 + 1 / max(self.times - 1, 1))


def loop(text: str, repeated: float, maximum: float) -> Loop | None:
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


def is_structured(text: str) -> bool:
    """Whether the form of a text is that of data, markup or code rather than of prose."""
    visible = len(text) - text.count(" ") - text.count("\n")
    raw = text.encode("ascii", "ignore")
    if len(raw) - len(raw.translate(None, _STRUCTURE)) > max(1, _STRUCTURED * visible):
        return True
    rows = [row for row in text.splitlines() if row.strip()]
    if len(rows) < _ROWS:
        return False
    numbers = sum(_NUMBER.search(row) is not None for row in rows)
    return numbers > len(rows) / 2


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
    run = _longest_run(text)
    if run and len(run) > maximum * _visible(text) and _is_stutter(run, text):
        return Loop(run[0], len(run), (len(run) - 1) / _visible(text))
    # What is more than half of a text is in its middle.
    middle = len(text) // 2
    end = text.find(" ", middle)
    begin, end = text.rfind(" ", 0, middle) + 1, end if end > 0 else len(text)
    word = _LONG_WORD.search(text, begin, end) if end - begin > _LONG_RUN else None
    if word is None:
        return None
    found = _stutter(word[0])
    if found is None or found.share * len(word[0]) <= max(maximum, 0.5) * _visible(text):
        return None
    return found


@functools.lru_cache(maxsize=2)
def _longest_run(text: str) -> str:
    """The longest run of five and more of one visible character, or nothing.

    Long texts are sampled, so that a run that is a small part of one may be overlooked.
    """
    best = ""
    step = max(len(text) // _SAMPLES, 1)
    signs = zip(text[::step], text[1::step], text[2::step], strict=False)
    for number, (sign, second, third) in enumerate(signs):
        if sign == second == third and not sign.isspace():
            begin = end = number * step
            while begin and text[begin - 1] == sign:
                begin -= 1
            while end < len(text) and text[end] == sign:
                end += 1
            if end - begin >= max(len(best) + 1, 5):
                best = text[begin:end]
    return best


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


def _visible(text: str) -> int:
    return max(sum(map(len, text.split())), 1)


# Signs that say nothing


def idle_signs(text: str) -> float:
    """Share (0 to 1) of a text's visible characters that are signs which say nothing.

    1 for a text of punctuation only that stands for no operator, pattern, drawing or emoticon;
    else the share of the longest run of one sign. A line that only rules off others is no run.
    """
    head = text[:_HEAD]
    if (
        not head[:1].isalnum()
        and not any(map(_has_content, head))
        and not any(map(_has_content, text[-_HEAD:]))
    ):
        lines = [line.strip() for line in head.splitlines() if line.strip()]
        return 1.0 if _is_noise("".join(head.split()), lines) else 0.0
    run = _longest_run(text)
    if len(run) < _LONG_RUN:
        run = _pattern(text)
    if len(run) < _LONG_RUN or not _is_sign(run[0]):
        return 0.0
    if is_structured(text.replace(run, "")):
        return 0.0  # a string of code, or a rule of a table
    if run[0] not in _STOPS and run not in (text := _RULE.sub("", text)):
        return 0.0
    return len(run) / _visible(text)


def _pattern(text: str) -> str:
    """Two or three signs over and over in the middle of a text, where half of it begins."""
    middle = len(text) // 2
    sign = text[middle : middle + 1]
    if len(text) > _HEAD or not sign.strip() or not _is_sign(sign):
        return ""
    return max((match[0] for match in _PATTERN.finditer(text)), key=len, default="")


def _has_content(sign: str) -> bool:
    """Whether a letter, digit, emoji, arrow, … stands for itself."""
    if sign.isascii():
        return sign.isalnum()
    if sign.isspace():
        return False
    return unicodedata.category(sign)[0] not in "PC" and sign not in "\u00b7\ufffd"


def _is_sign(sign: str) -> bool:
    if sign.isascii():
        return not sign.isalnum()
    return unicodedata.category(sign)[0] == "P"


def _is_noise(signs: str, lines: Sequence[str]) -> bool:
    """Whether a text without a letter stands for nothing. Short ones are operators: ==, {}, !!"""
    kinds = set(signs)
    if len(signs) < 3:
        return False
    if kinds <= _STOPS or (len(kinds) == 1 and kinds <= _STOPS | _DASHES):
        return True
    if len(lines) > 2:
        return False  # a drawing
    if len(kinds) <= 3 and not kinds & _BRACKETS and kinds != _MORSE:
        return any(_is_periodic(signs, period) for period in (1, 2, 3))
    return kinds <= _SWEARING and len(kinds) > 4 and len(signs) > 5


def _is_periodic(signs: str, period: int) -> bool:
    return len(signs) >= max(5, 2 * period + 1) and signs[period:] == signs[:-period]


# Mojibake

_WINDOWS = {}
for _code in range(0x80, 0x100):
    _WINDOWS[bytes([_code]).decode("cp1252", "ignore") or chr(_code)] = _code
    _WINDOWS.setdefault(chr(_code), _code)
_TRAIL = "".join(re.escape(sign) for sign, code in _WINDOWS.items() if code < 0xC0)
_LATIN = re.compile(rf"[ÃÂÄÅÐÑÎÏ×ØÙÚÛÆÇÈÉÊË][{_TRAIL}]|[à-ï][{_TRAIL}]{{2}}|ð[{_TRAIL}]{{3}}")
_CYRILLIC_TRAIL = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—™љ›њќћџЎўЈ¤Ґ¦§©Є«¬®Ї°±Ііґµ¶·№є»јЅѕї"
_CYRILLIC = re.compile(rf"(?:[РС][{_CYRILLIC_TRAIL}Ё-ёА-я]){{4,}}")
_EAST_ASIAN = re.compile(r"[\u00a1-\u00ff]{6,}")
_REPLACED = "\ufffd"
_MARKS_A_CHARACTER = 0.004


def mojibake(text: str) -> str | None:
    """The first place that was decoded by a wrong character set, in a text with enough of them.

    UTF-8 read as Windows-1252, Latin-1 or Windows-1251, East Asian sets read as Latin-1, and
    U+FFFD, which stands where nothing could be decoded. A text that shows the right letter beside
    the wrong one explains the matter, and is none.
    """
    if text.isascii():
        return None
    marks = [(match[0], match.start()) for match in _LATIN.finditer(text) if _decoded(match[0])]
    if 0 < len(marks) <= 3 and any(_decoded(mark) in text for mark, _ in marks):
        marks = []
    marks += [(match[0], match.start()) for match in _CYRILLIC.finditer(text) if _odd(match[0])]
    marks += [(match[0], match.start()) for match in _EAST_ASIAN.finditer(text) if _mixed(match[0])]
    replaced = text.count(_REPLACED)
    if replaced > 1:
        marks += [(_REPLACED, text.find(_REPLACED))] * replaced
    if len(marks) <= _MARKS_A_CHARACTER * len(text):
        return None
    return text[max(marks[0][1] - 40, 0) : marks[0][1] + 60]


def _decoded(mark: str) -> str:
    """What the bytes of `mark` are in UTF-8; nothing where they are no letter or sign of it."""
    if mark[1:2] == "\u00a0" or (len(mark) == 2 and mark[0] not in "ÃÂÐÑ" and mark[1] in "”’“»"):
        return ""  # a capital or an accent before a closing quotation mark
    try:
        meant = bytes(_WINDOWS[sign] for sign in mark).decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return meant if unicodedata.category(meant) not in ("Cn", "Co") else ""


def _odd(run: str) -> bool:
    """Whether signs that no Cyrillic word holds stand in it."""
    return sum(sign in _CYRILLIC_TRAIL for sign in run) > 1 or not run[1::2].isupper()


def _mixed(run: str) -> bool:
    """Whether letters and symbols of Latin-1 meet as in no word."""
    symbols = sum(not sign.isalpha() for sign in run)
    return 1 <= symbols <= len(run) - 3 and len(set(run)) > 3


# Stand-ins for an answer

_LOREM = re.compile(r"lorem ipsum", re.IGNORECASE)
_ABOUT_STAND_INS = re.compile(
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
_STAND_IN = re.compile(
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
_STAND_IN_WORDS = 12
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


def stand_in(text: str) -> str | None:
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
    if bare.count(" ") < _STAND_IN_WORDS and _STAND_IN.fullmatch(bare):
        return text
    return text if _is_mashed(text) else None


def is_asked_for(text: str, asked: str) -> bool:
    """Whether what was said before makes a stand-in an answer: it names it, or asks for one."""
    if _LOREM.search(text):
        return _ABOUT_STAND_INS.search(asked) is not None
    return _bare(text) in " ".join(comparable(asked).replace("_", " ").split())


def _bare(text: str) -> str:
    """A short text without case, brackets and "Answer:"."""
    bare = _LABEL.sub("", _AROUND.sub("", comparable(text)))
    return " ".join(_AROUND.sub("", bare).replace("_", " ").split())


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
