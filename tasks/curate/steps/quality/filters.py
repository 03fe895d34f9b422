"""Quality: filters with named reasons. A filter is a pure function; a list of them is the step.

The ratios follow the rules by which MassiveText and C4 were cleaned (Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher", appendix A1; Raffel et al.
2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
2.2), with bounds for answers, which are shorter than the web pages those were made for. That
answers which refuse are left out is how instruction data is cleaned since Vicuna's and OpenHermes'
ShareGPT subsets; Zhou et al. 2023 ("LIMA: Less Is More for Alignment") show what few bad answers
cost.

Rules for web pages are asked of texts alone. Those that source code, lists or tables break by
nature (mean word length, words with letters, bullets, ellipses) are off unless a setting asks.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tasks.core.errors import BadInput
from tasks.curate.ledger import Evidence, Place, Sieved, drop, place
from tasks.curate.steps.quality import junk
from tasks.curate.steps.quality.language import EXCERPT, identify, known_languages
from tasks.curate.steps.quality.lengths import Lengths
from tasks.curate.text.normalise import comparable
from tasks.model.encoding import UNRENDERABLE
from tasks.records import TEXT_ROLE, Preference, Record, Text
from tasks.settings import Curate

STEP = "quality"

_FIRST: tuple[str, ...] = ("system", "developer", "user")
_NEXT: dict[str, tuple[str, ...]] = {
    "system": ("user",),
    "developer": ("user",),
    "user": ("assistant", "tool"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool", "user"),
}

_REFUSAL_CHARACTERS = 500  # longer answers say something besides
_OPENING = 200  # characters of an answer in which a refusal shows
_SPELLED_OUT = {
    "’": "'",
    "i'm ": "i am ",
    "can't": "cannot",
    "can not": "cannot",
    "won't": "will not",
    "don't": "do not",
    "couldn't": "could not",
}
_SORRY = (
    r"(?:(?:i am )?(?:(?:so|very|really|truly|deeply) )?sorry|(?:my )?(?:sincere )?apologies"
    r"|i (?:sincerely )?apologi[sz]e|unfortunately)(?: for (?:the|any) \w+)?"
    r"[,.!;:]? (?:but |however,? )?"
)
_MODEL = r"(?:ai |large |artificial intelligence )?language model"
_AI = rf"(?:{_MODEL}|(?:ai|artificial intelligence)(?: model| assistant| chatbot| system)?)"
_MADE = r"(?: (?:developed|created|trained|made|built) by \w+)?"
_UNABLE = r"(?:cannot|do not|could not|am not|am unable|lack|have no|must decline)\b"
_WILL_NOT = (
    r"(?:i (?:(?:really|simply|just) )?(?:cannot|will not|am unable to|am not able to"
    r"|must (?:respectfully )?(?:decline|refuse) to"
    r"|am not (?:allowed|permitted|programmed|designed) to)"
    r"|it (?:is|would be) (?:inappropriate|unethical|not (?:appropriate|ethical)) for me to)"
    r"(?: in good conscience)?"
)
_ANY = r"(?:any|such|this|that|these|those|your|the)"
_REQUEST = rf"{_ANY}(?: an?)?(?: \w+)? (?:request|question|prompt|query|task)"
_HARM = r"(?:harm\w*|illegal|unethical|violen\w+|hat(?:e|red|eful)|discriminat\w+|dangerous)\b"
_TELL = r"(?:provide|offer|give|share|generate|create|write|produce)(?: you)?(?: with)?"
_CONTENT = r"(?:information|content|material|response|text|instructions)"
_REFUSALS = (
    # What a model says about itself.
    rf"as an? {_MODEL}{_MADE}, (?:i|my)\b",
    rf"as an? {_AI}{_MADE},? i {_UNABLE}",
    rf"i am (?:just |only )?an? {_AI}{_MADE}[,.]? (?:(?:and|so) )?(?:i )?{_UNABLE}",
    # What it will not do.
    rf"{_WILL_NOT} (?:assist|help)(?: you)?(?:$|[.!]| (?:with|in) (?:{_ANY}|\w+ing)\b)",
    rf"{_WILL_NOT} (?:fulfill?|answer|respond to) {_REQUEST}",
    rf"{_WILL_NOT} comply\b",
    rf"{_WILL_NOT} {_TELL} (?:any |such )?(?:specific |detailed )?"
    r"(?:instructions|guidance on|assistance with|information on how)\b",
    rf"{_WILL_NOT} {_TELL} (?:that|this|such|any)(?: (?:kind|type|sort) of)? {_CONTENT}\b",
    rf"{_WILL_NOT} {_TELL} (?:\w+ ){{0,4}}(?:that|which) (?:promotes?|encourages?|is {_HARM})",
    rf"{_WILL_NOT} (?:engage in|participate in|promote|condone|encourage) (?:any |such )?{_HARM}",
    rf"i must (?:respectfully )?(?:decline|refuse) {_REQUEST}",
    # The same in other languages, as far as it can be told from what people say.
    r"als (?:ki|künstliche intelligenz|sprachmodell)\b[^.]{0,40} ich\b[^.]*\b(?:nicht|kein)",
    r"en tant qu(?:e |')(?:ia|intelligence artificielle|modèle de langage)\b[^.]{0,40} je n[e']",
    r"como (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b[^.]{0,40} no \w+",
    r"作为一?[个名种]?(?:ai|人工智能|语言模型)[^。]{0,20}我[^。]{0,4}[无不没]",
)
_REFUSAL = re.compile(f"(?:{_SORRY})?(?:{'|'.join(_REFUSALS)})")
# What follows all the same makes it an answer; and to abstain where a text gives no answer is one.
_ANSWERS = re.compile(
    r"`|\b(?:here(?:'s|’s| is| are)|you (?:can|could|may|might|should)|try (?:the|this|to)"
    r"|context|passage|documents?|(?:provided|given) (?:text|information))\b",
    re.IGNORECASE,
)

_MIN_LINES = 10
_PROSE_LINE = re.compile(r"[^\W\d_][^\s{}\[\]<>|=;\\_/]*(?: +[^\s{}\[\]<>|=;\\_/]+){2,}")
_BULLETS = ("•", "‣", "▪", "●", "◦", "·", "* ", "- ", "– ")
_ELLIPSES = ("...", "…")

_MIN_LETTERS = 20


@dataclass(frozen=True, slots=True)
class Filter:
    """A reason to drop a record; `find` gives the evidence for it, or None."""

    reason: str
    find: Callable[[Record], Evidence | None]


def filters(settings: Curate, lengths: Lengths, repetition: Mapping[Place, float]) -> list[Filter]:
    """The filters in the order in which they are asked; the first that finds something drops.

    Args:
        settings: what is asked, and where the lines are; a filter that is off is left out.
        lengths: tokens of each record, or why there are none.
        repetition: for each record the share (0 to 1) of the last answer's words inside word
            5-grams that it has said before; 0 where a record is absent.

    Raises:
        BadInput: `curate.languages` names a language that the model does not know.
    """
    shortest = settings.min_completion_characters
    least = settings.min_alphabetic_words
    span = settings.mean_word_length
    asked: list[tuple[bool, str, Callable[[Record], Evidence | None]]] = [
        (shortest > 0, "empty_completion", empty_completion),
        (shortest > 0, "short_completion", partial(short_completion, minimum=shortest)),
        (settings.drop_repeated_prompts, "repeats_prompt", repeats_prompt),
        (settings.check_turns, "turns_out_of_order", turns_out_of_order),
        (settings.drop_refusals, "refusal", refusal),
        (
            settings.max_symbol_ratio < 1,
            "symbol_ratio",
            partial(symbol_ratio, maximum=settings.max_symbol_ratio),
        ),
        (
            settings.max_repetition < 1,
            "repetition_ratio",
            partial(repetition_ratio, shares=repetition, maximum=settings.max_repetition),
        ),
        (settings.drop_mojibake, "mojibake", mojibake),
        (
            settings.max_duplicate_lines < 1,
            "duplicate_lines",
            partial(duplicate_lines, maximum=settings.max_duplicate_lines),
        ),
        (
            span is not None,
            "mean_word_length",
            partial(mean_word_length, bounds=span or (0, 0)),
        ),
        (
            least > 0,
            "few_words_with_letters",
            partial(few_words_with_letters, minimum=least),
        ),
        (
            settings.max_bullet_lines < 1,
            "bullet_lines",
            partial(bullet_lines, maximum=settings.max_bullet_lines),
        ),
        (
            settings.max_ellipsis_lines < 1,
            "ellipsis_lines",
            partial(ellipsis_lines, maximum=settings.max_ellipsis_lines),
        ),
        (settings.drop_placeholder_text, "placeholder_text", placeholder_text),
        (
            bool(settings.languages),
            "language",
            partial(
                language,
                languages=_checked(settings.languages),
                minimum=settings.min_language_score,
            ),
        ),
        *((True, reason, partial(lengths.refused, reason=reason)) for reason in UNRENDERABLE),
        (
            settings.min_tokens > 0,
            "too_short",
            partial(lengths.too_short, minimum=settings.min_tokens),
        ),
        (True, "too_long", partial(lengths.too_long, maximum=settings.max_tokens)),
    ]
    return [Filter(reason, find) for on, reason, find in asked if on]


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


# Of every record


def empty_completion(record: Record) -> Evidence | None:
    """An answer (or text) without one visible character. The call of a tool is an answer."""
    answer = _learned(record)
    # A letter is visible whatever stands around it: only what is left needs a closer look.
    if answer[:1].isalnum() or comparable(answer) or _calls_a_tool(record):
        return None
    return {"characters": len(answer)}


def short_completion(record: Record, minimum: int) -> Evidence | None:
    """An answer (or text) of fewer than `minimum` characters. The call of a tool is long enough."""
    count = len(_learned(record).strip())
    if count >= minimum or _calls_a_tool(record):
        return None
    return {"characters": count, "minimum": minimum}


def repeats_prompt(record: Record) -> Evidence | None:
    """An answer that is the prompt again, give or take case, spaces and invisible characters."""
    prompt, answer = record.prompt, record.target
    # Nearly all pairs differ in their first word, which spares the comparison of the others.
    if answer is None or _first_word(answer) != _first_word(prompt):
        return None
    return {"text": answer[:300]} if comparable(answer) == comparable(prompt) else None


def symbol_ratio(record: Record, maximum: float) -> Evidence | None:
    """Share of an answer's visible characters that are signs without meaning above `maximum`.

    Such are an answer of punctuation only that is no operator, pattern, drawing or emoticon, and
    the longest run of one sign ("!!!!!!!!!!"). Signs that code, formulas or markup are made of
    count for nothing.
    """
    share = junk.idle_signs(_learned(record))
    return {"share": round(share, 4), "maximum": maximum} if share > maximum else None


def repetition_ratio(
    record: Record, shares: Mapping[Place, float], maximum: float
) -> Evidence | None:
    """Share of an answer that says the same again and again above `maximum`.

    `shares` has the words inside word 5-grams that the answer has said before: no more than that
    can be a loop, and only the loop counts, since data repeats as well, but with other values.
    """
    found = junk.loop(_learned(record), shares.get(place(record), 0.0), maximum)
    if found is None:
        return None
    return {
        "share": round(found.share, 4),
        "maximum": maximum,
        "text": found.text[:300],
        "times": found.times,
    }


def mojibake(record: Record) -> Evidence | None:
    """An answer (or text) that was decoded by a wrong character set, more than in one place."""
    found = junk.mojibake(_learned(record))
    return None if found is None else {"text": found}


def language(record: Record, languages: Collection[str], minimum: float) -> Evidence | None:
    """Another language than `languages`, found with a confidence of at least `minimum`.

    Prompt and answer are looked at, half an excerpt each. What has fewer than 20 letters, or is
    in no language for sure (code, mixed speech), is not dropped for it.
    """
    said = _excerpt(record)
    if sum(map(str.isalpha, said)) < _MIN_LETTERS:
        return None
    found, score = identify(said)
    if found in languages or score < minimum:
        return None
    return {"language": found, "score": score}


# Of chats and preferences


def turns_out_of_order(record: Record) -> Evidence | None:
    """A chat whose turns do not follow one another as they do in talk.

    A system prompt may only come first, the user begins, user and assistant take turns, the
    assistant has the last word. Tool turns may stand between an assistant's turn and its next, or
    before an answer. The evidence is the position (from 1) of the first turn that is out of order,
    its role, and the roles expected there.
    """
    turns = record.turns if record.kind == "chat" else ()
    role, expected = "", _FIRST
    for position, turn in enumerate(turns, 1):
        role = turn.role
        if role not in expected:
            return {"position": position, "found": role, "expected": list(expected)}
        # A tool's turn after the user's is none of the assistant's: the user is not next.
        if role != "tool" or "user" in expected:
            expected = _NEXT[role]
    if role in ("assistant", ""):
        return None
    return {"position": len(turns), "found": role, "expected": ["assistant"]}


def refusal(record: Record) -> Evidence | None:
    """A short answer (500 characters at most) that begins by refusing, and says nothing else.

    Also what a language model says about itself in place of an answer. Judged is a chat's last or
    a preference's chosen answer. It shall rather let a refusal through than drop an answer: with
    code, advice ("you can …"), or about a passage that does not tell, it is none.
    """
    answer = record.target
    if answer is None or len(answer) > _REFUSAL_CHARACTERS:
        return None
    opening = comparable(answer[:_OPENING])
    for short, full in _SPELLED_OUT.items():
        opening = opening.replace(short, full)
    if not _REFUSAL.match(opening) or _ANSWERS.search(answer):
        return None
    return {"text": answer[:300]}


# Of texts


def duplicate_lines(record: Record, maximum: float) -> Evidence | None:
    """Share of a text's lines that repeat an earlier one above `maximum` (Gopher: 0.3).

    Asked where there are at least 10 lines of prose, which are half of all. Lines of data, markup
    and source code repeat by nature (one C file in five breaks the rule as published), as do
    indented lines and those of fewer than three words: none of them counts.
    """
    text = _text(record)
    if text.count("\n") < _MIN_LINES - 1:
        return None
    rows = [line.rstrip() for line in text.splitlines() if line.strip()]
    lines = [line for line in rows if _PROSE_LINE.fullmatch(line)]
    if len(lines) < max(_MIN_LINES, len(rows) / 2):
        return None
    # With a number in it a line is a row: equal ones are equal values.
    counts = Counter(line for line in lines if not any(map(str.isdigit, line)))
    share = (counts.total() - len(counts)) / len(lines)
    if share <= maximum:
        return None
    ((most, times),) = counts.most_common(1)
    return {"share": round(share, 4), "maximum": maximum, "text": most[:300], "times": times}


def mean_word_length(record: Record, bounds: tuple[float, float]) -> Evidence | None:
    """A text whose words have on average fewer or more characters than `bounds`.

    Gopher: 3 to 10. Off by default: minified code, tables, and writing without spaces break it.
    """
    parts = _text(record).split()
    mean = sum(map(len, parts)) / max(len(parts), 1)
    if not parts or bounds[0] <= mean <= bounds[1]:
        return None
    return {"mean": round(mean, 4), "minimum": bounds[0], "maximum": bounds[1]}


def few_words_with_letters(record: Record, minimum: float) -> Evidence | None:
    """Share of a text's words that hold a letter below `minimum`.

    Gopher: 0.8. Off by default: operators and numbers of source code are such words.
    """
    parts = _text(record).split()
    share = sum(any(map(str.isalpha, part)) for part in parts) / max(len(parts), 1)
    if not parts or share >= minimum:
        return None
    return {"share": round(share, 4), "minimum": minimum}


def bullet_lines(record: Record, maximum: float) -> Evidence | None:
    """Share of a text's lines that begin with a bullet above `maximum`.

    Gopher: 0.9. Off by default: a list or a file of YAML may be all bullets.
    """
    return _line_share(record, maximum, lambda line: line.startswith(_BULLETS))


def ellipsis_lines(record: Record, maximum: float) -> Evidence | None:
    """Share of a text's lines that end with an ellipsis above `maximum`.

    Gopher: 0.3. Off by default: one line of prose or a Python stub may end so.
    """
    return _line_share(record, maximum, lambda line: line.endswith(_ELLIPSES))


def placeholder_text(record: Record) -> Evidence | None:
    """Words that stand where an answer should: "lorem ipsum", "TODO", "[your answer here]".

    A text is dropped for lorem ipsum only (C4), a page that nobody has written yet. What the
    question names or asks for is an answer.
    """
    text = _text(record)
    answer = text or _learned(record)
    found = junk.stand_in(answer)
    if found is None or (text and found == text and "psum" not in text.lower()):
        return None
    if not text and junk.is_asked_for(answer, record.text.replace(answer, "", 1)):
        return None
    return {"text": found}


def _learned(record: Record) -> str:
    """What the model would learn to say last: the last answer, or all of a text."""
    if isinstance(record, Text):
        return record.text
    if isinstance(record, Preference):
        return record.target or ""
    for turn in reversed(record.turns):
        if turn.role == "assistant":
            return turn.content
    return _text(record)


def _text(record: Record) -> str:
    """All of a text; nothing of a chat."""
    if isinstance(record, Text):
        return record.text
    first = record.turns[0]
    return first.content if first.role == TEXT_ROLE else ""


def _calls_a_tool(record: Record) -> bool:
    answers = [turn for turn in record.turns if turn.role == "assistant"]
    return bool(answers) and bool(answers[-1].tool_calls)


def _first_word(text: str) -> str:
    """The first word of `comparable(text)`, mostly without reading the rest."""
    word = "".join(map(comparable, text.split(maxsplit=1)[:1]))
    return (word or comparable(text)).partition(" ")[0]


def _line_share(record: Record, maximum: float, marked: Callable[[str], bool]) -> Evidence | None:
    lines = [line.strip() for line in _text(record).splitlines()]
    lines = [line for line in lines if line]
    share = sum(map(marked, lines)) / max(len(lines), 1)
    return {"share": round(share, 4), "maximum": maximum} if share > maximum else None


def _excerpt(record: Record) -> str:
    """What tells the language: the beginnings of prompt and answer, or of a text."""
    if record.target is None:
        return _learned(record)[:EXCERPT]
    return f"{record.prompt[: EXCERPT // 2]} {record.target[: EXCERPT // 2]}"


def _checked(languages: Collection[str]) -> Collection[str]:
    for code in languages:
        known = known_languages()
        if code not in known:
            close = difflib.get_close_matches(code, sorted(known), n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise BadInput(
                f"curate.languages: unknown language {code!r}; {hint}"
                "codes are ISO 639, with two letters where there are two, as in en, de, zh"
            )
    return frozenset(languages)
