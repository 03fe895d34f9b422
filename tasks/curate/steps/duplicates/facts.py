"""Facts: signs, numbers and negations, which are small in a text and may be all that it says.

Near-duplicates are found by their words. Records whose words are the same but for numbers,
negations and the signs of code and arithmetic are compared here: `a < b` is not `a > b`, 12 is not
15, and "is" is not "is not". Punctuation, quotes, brackets and the marks of lists and headings are
no such signs.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.curate.text.normalise import folded, raised

_WORD = "[^\\W_]+(?:_+[^\\W_]+)*"
_SIGNS = (
    r"(?<![\n>])(?<!^)>|<|(?<!=)={1,3}(?!=)|(?<!\n)(?<!^)\+|\+(?=\S)|[%^&|~]",
    r"(?<=\d)[-./](?=\d)|(?<=\d )[-/](?= \d)|(?<=\b\w )-(?= \w\b)",  # 5-3, 1.5, a - b
    r"(?<![\w-])-(?=[\d.=>])|(?<=\w)-(?=[=>])",  # -5, -=, ->
    r"(?<=[\w)\]])\*{1,2}(?=[\w(])|(?<=[\w)\]] )(?:\*{1,2}|//?)(?= [\w(])",  # a * b, a / b
    r"(?<![\w.!?])!(?=[\w(\[{\"'$])|!(?==)|(?<=[(\[{&|] )!(?= )",  # !x, a != b, [ ! -z x ]
    r"(?<=\w)\#|\$(?=[\w{(])",  # C#, $5
    "[\u00a3\u00a5\u00ac\u00b1\u00d7\u00f7\u20a0-\u20cf\u2190-\u22ff\u2600-\u27ef\u2900-\u2aff]",
    "[\U0001f300-\U0001faff]",
)
_ANY_SIGN = "[-+<>=%^&|~./*!#$\u00a3-\u00f7\u20a0-\u2bff\U0001f300-\U0001faff]"
_TOKEN = re.compile(f"{_WORD}|(?={_ANY_SIGN})(?:{'|'.join(_SIGNS)})")
_EAST = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_NOT = re.compile("\\b(\\w+)(?:n['\u2019]t|(?<=can)not)\\b")
_WHOLE = {"ca": "can", "wo": "will", "sha": "shall"}
_PLAIN = re.compile(r"[^\W\d]+")
_NUMBER = re.compile(r"\d+")
_NEGATIONS = """
not no never neither nor without true false yes nicht kein keine keinen keinem keiner nie niemals
ohne ja nein ne pas jamais sans oui nunca não nem не нет ни без 不 没 沒 未 无 無 非
"""
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
thousand million billion once twice first second third fourth fifth
一 二 三 四 五 六 七 八 九 十 百 千 万 萬 亿
"""
_FACTS = frozenset((_NEGATIONS + _NUMBERS).split())


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells a record from another in nearly the same words.

    Attributes:
        turns: the words and signs of each turn.
        lead: what is above the last paragraph of the last question; empty where it has one
            paragraph only.
        asked: the words of that last paragraph.
        answer: the words of what was answered last.
    """

    turns: tuple[tuple[str, ...], ...]
    lead: tuple[str, ...]
    asked: tuple[str, ...]
    answer: tuple[str, ...]

    @classmethod
    def of(cls, turns: Sequence[str], asked: str, answer: str) -> "Facts":
        """Of the texts of the turns, the last question and the last answer (empty for a text)."""
        lead, _, last = asked.strip().rpartition("\n\n")
        return cls(
            tuple(map(_words, turns)),
            _words(lead),
            _words(last) if lead else (),
            _words(answer),
        )

    @property
    def words(self) -> tuple[str, ...]:
        """Of all turns."""
        return tuple(itertools.chain.from_iterable(self.turns))


def contradict(first: Facts, second: Facts, filled: bool) -> bool:
    """Whether two records in nearly the same words say different things.

    A turn says the same but for signs, numbers or negations; or another paragraph is below the same
    instruction; or both fill one template (`filled`), and each has a number that the other has not.
    """
    if _contradict_in_a_turn(first, second):
        return True
    if filled:
        left, right = _numbers(first), _numbers(second)
        if left - right and right - left:
            return True
    if not first.lead or first.lead != second.lead:
        return False
    left, right = set(first.asked), set(second.asked)
    return 2 * len(left & right) < len(left | right)


def lacks_own_content(record: Facts, held_out: Facts) -> bool:
    """Whether `record` lacks the content of the held-out record, though it has much of the rest.

    The content is the last paragraph of a question in several paragraphs, and the answer, where
    both records have as many turns. It is also lacking where a turn of both is the same but for
    signs, numbers or negations.
    """
    if _contradict_in_a_turn(record, held_out):
        return True
    content = [held_out.asked]
    if len(record.turns) == len(held_out.turns):
        content.append(held_out.answer)
    return any(2 * _share_of_runs(record.words, words) < 1 for words in content if words)


def _contradict_in_a_turn(first: Facts, second: Facts) -> bool:
    """Whether a turn of both is in the same words, but for signs, numbers or negations."""
    return len(first.turns) == len(second.turns) and any(
        left != right
        and not any(map(_plain, {*left} ^ {*right}))
        and [*filter(_plain, left)] == [*filter(_plain, right)]
        for left, right in zip(first.turns, second.turns, strict=True)
    )


def _plain(word: str) -> bool:
    """Whether it is no sign, number or negation."""
    return word not in _FACTS and (word.isalpha() or bool(_PLAIN.fullmatch(word)))


def _numbers(facts: Facts) -> set[str]:
    return set(_NUMBER.findall(" ".join(facts.words)))


def _share_of_runs(words: Sequence[str], part: Sequence[str]) -> float:
    """Share of the runs of three words of `part` that are in `words`."""
    size = min(3, len(part))
    return len(_runs(part, size) & _runs(words, size)) / len(_runs(part, size))


def _runs(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[i:] for i in range(size)), strict=False))


def _words(text: str) -> tuple[str, ...]:
    text = folded(raised(text))
    if not text.isascii():
        text = _EAST.sub(r" \g<0> ", text)
    if "not" in text or "'t" in text or "\u2019t" in text:
        text = _NOT.sub(_spelled, text)
    return tuple(_TOKEN.findall(text))


def _spelled(found: re.Match[str]) -> str:
    return f"{_WHOLE.get(found[1], found[1])} not"
