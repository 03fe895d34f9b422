"""The forms of records that data sets come in, and how one decoded line becomes a record.

Sources: OpenAI's fine-tuning formats, TRL's data set formats (language modelling, prompt and
completion, preference with explicit and implicit prompt, unpaired preference), LLaMA-Factory's
Alpaca and ShareGPT forms (`system`, `history`, `tools`, `chosen`, `rejected`, `kto_tag`), axolotl's
conversations, Dolly, OpenOrca, Anthropic's HH dialogues.

A key that carries content in one of them is read, or the line is no record and the key is named.
Other keys are carried in `meta`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tasks.records.record import (
    INSTRUCTING,
    TEXT_ROLE,
    BadLine,
    Chat,
    Labelled,
    Preference,
    Record,
    Text,
    Turn,
    content_id,
    excerpt,
)
from tasks.records.turns import NoRecord, decoded, is_empty, read_tools, read_turn, read_turns

REASONS = (
    "invalid_json",
    "not_utf8",
    "wrong_type",
    "missing_field",
    "too_long_line",
    "truncated",
    "unread_key",
    "unsupported_content",
    "unsupported_weight",
    "ambiguous",
    "empty_turn",
    "nothing_to_learn",
    "equal_answers",
)
"""Why a line is no record."""

_SYSTEM = ("system", "system_prompt")
_CHATS = ("messages", "conversations", "conversation")
_ASKED = ("prompt", "instruction", "question", "query")
_BESIDE = ("input", "context")
_ANSWERS = ("completion", "output", "response", "answer")
_RATINGS = ("label", "kto_tag")
_TOOLS = ("tools", "functions")
_EXPECTED = (
    "expected messages; conversations; prompt and completion; instruction and output; question and "
    "answer; text; text and label; or prompt, chosen and rejected"
)
_OPTIONS = "write them into the prompt, and the answer in words or as its letter"
_CONTENT = {
    *_SYSTEM,
    *_CHATS,
    *_ASKED,
    *_BESIDE,
    *_ANSWERS,
    *_TOOLS,
    *("history", "chosen", "rejected", "kto_tag", "images", "image", "videos", "video", "audios"),
    *("audio", "preferred_output", "non_preferred_output", "completions", "chat_template_kwargs"),
    # Of questions with options, and about a passage; of answers with their reasoning.
    *("choices", "options", "passage", "article", "document", "paragraph", "story", "dialogue"),
    *("reasoning", "reasoning_content", "thinking"),
}
"""Keys that carry content in a format's documentation."""

KEYS = frozenset({*_CONTENT, "text", "label", "id", "group", "timestamp", "meta"})
"""All keys that are read."""

_OPTION = re.compile(r"(?:(?:option|choice|opt|op)[ _]?)?[a-d1-4]", re.IGNORECASE)
"""Columns of which each holds an option, where there are several."""

_HH_TURN = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True, slots=True)
class _Content:
    """What a line says, of one kind."""

    turns: tuple[Turn, ...] = ()
    text: str | None = None
    label: Any = None
    chosen: tuple[Turn, ...] = ()
    rejected: tuple[Turn, ...] = ()


class _Line:
    """A decoded line whose keys are ticked off as they are read."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value
        self.read: set[str] = set()

    def has(self, name: str) -> bool:
        return not is_empty(self.value.get(name))

    def take(self, name: str) -> Any:
        self.read.add(name)
        return self.value.get(name)

    def first(self, names: tuple[str, ...], *, empty: bool = False) -> str | None:
        """The one of these keys that says something, of which only one may.

        Args:
            names: keys that mean the same.
            empty: take a key with an empty text where none says more.
        """
        found = [name for name in names if self.has(name)]
        if len(found) > 1:
            raise NoRecord("ambiguous", f"both {found[0]} and {found[1]}: leave one of them")
        if found or not empty:
            return found[0] if found else None
        return next((name for name in names if self.value.get(name) is not None), None)

    def text(self, name: str) -> str:
        """Text under a key; a number beside a prompt is what it is written as.

        Raises:
            NoRecord: it is something else.
        """
        value = self.take(name)
        if isinstance(value, str):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name in (*_BESIDE, *_ANSWERS):
            return str(value)
        raise NoRecord("wrong_type", f"{name}: expected text, found {type(value).__name__}")

    def turns(self, name: str, role: str) -> tuple[Turn, ...]:
        """Turns under a key: a list of messages, one message, or the words of `role`."""
        value = self.value[name]
        if isinstance(value, str) and value.startswith("["):
            value = _turns_as_text(value)
        if isinstance(value, list):
            self.read.add(name)
            return read_turns(value, name)
        if isinstance(value, Mapping):
            self.read.add(name)
            return (read_turn(value, name),)
        return (Turn(role, self.text(name)),)


def parse(value: Any, source: str, line: int, *, labelled: bool = True) -> Record | BadLine:
    """Turn one decoded line into a record, or say why it is none.

    Args:
        value: the decoded line.
        source: the file that it stands in.
        line: its number, from 1.
        labelled: a chat without an answer is none (false: traffic without answers is fine).
    """
    try:
        # A row nests the value's parts one deeper, under `meta`.
        orjson.dumps([value])
    except TypeError as error:
        return BadLine(source, line, "wrong_type", f"cannot be written as JSON: {error}")
    return from_json(value, source, line, labelled)


def from_json(value: Any, source: str, line: int, labelled: bool) -> Record | BadLine:
    """`parse` of what JSON was decoded to and can be written as."""
    if type(value) is not dict and not isinstance(value, Mapping):
        found = type(value).__name__
        return BadLine(
            source, line, "wrong_type", f"expected an object, found {found}", excerpt(value)
        )
    try:
        fields = _Line(value)
        content = _content(fields, labelled)
        tools = _tools(fields)
        turns = _with_system(fields, content.turns)
        if labelled and content.text is None:
            _check_answers((*turns, *content.chosen))
        return _record(fields, content, turns, tools, source, line)
    except NoRecord as bad:
        return BadLine(source, line, bad.reason, bad.detail, excerpt(value))


def _content(fields: _Line, labelled: bool) -> _Content:
    value = fields.value
    if fields.has("preferred_output") and fields.has("non_preferred_output"):
        return _openai_preference(fields)
    if value.get("chosen") is not None and value.get("rejected") is not None:
        return _preference(fields)
    if (key := fields.first(_CHATS)) is not None:
        turns = _history(fields) + read_turns(fields.take(key), key)
        return _Content(turns, label=_rating(fields))
    key = next((name for name in _ASKED if fields.has(name)), None)
    # Alpaca's input alone asks too; and an empty prompt is one.
    key = key or ("input" if fields.has("input") else fields.first(_ASKED, empty=True))
    if key is not None:
        answer = fields.first(_ANSWERS, empty=True)
        if answer is not None or not labelled:
            return _asked_and_answered(fields, key, answer)
    if value.get("text") is not None:
        text = fields.text("text")
        if value.get("label") in (None, ""):
            return _Content(text=text)
        return _Content(text=text, label=_class(fields))
    for key in _CHATS:
        if value.get(key) is not None:
            raise NoRecord("wrong_type", f"{key}: expected a list with at least one turn")
    found = ", ".join(map(str, value)) or "nothing"
    raise NoRecord("missing_field", f"{_EXPECTED}; found {found}")


def _asked_and_answered(fields: _Line, key: str, answer: str | None) -> _Content:
    """A prompt and its completion, under any of the names that these have."""
    asked = fields.turns(key, "user")
    beside = fields.first(_BESIDE) if key != "input" else None
    if beside is not None:
        if len(asked) != 1 or not asked[0].plain:
            raise NoRecord("unread_key", f"{beside}: beside a {key} that is a list of turns")
        asked = (Turn("user", _joined(asked[0].content, fields.text(beside))),)
    said = _history(fields) + asked
    if answer is not None:
        said += fields.turns(answer, "assistant")
    return _Content(said, label=_rating(fields) if answer is not None else None)


def _turns_as_text(text: str) -> Any:
    """The turns that a table's cell holds as text; the text itself where it is nothing else."""
    try:
        value = decoded(text, "")
    except NoRecord:
        return text
    if not isinstance(value, list) or not value:
        return text
    return value if all(map(_is_message, value)) else text


def _is_message(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()


def _joined(instruction: str, beside: str) -> str:
    return f"{instruction}\n\n{beside}" if instruction else beside


def _history(fields: _Line) -> tuple[Turn, ...]:
    """Alpaca's earlier rounds: pairs of what was asked and answered."""
    if not fields.has("history"):
        return ()
    rounds = fields.take("history")
    if isinstance(rounds, str):
        rounds = decoded(rounds, "history")
    if not isinstance(rounds, list):
        raise NoRecord("wrong_type", "history: expected a list of pairs")
    turns: list[Turn] = []
    for i, pair in enumerate(rounds):
        if isinstance(pair, Mapping):
            turns.append(read_turn(pair, f"history[{i}]"))
        elif isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair):
            turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
        else:
            raise NoRecord("wrong_type", f"history[{i}]: expected what was asked and answered")
    return tuple(turns)


def _preference(fields: _Line) -> _Content:
    value = fields.value
    chosen = fields.turns("chosen", "assistant")
    rejected = fields.turns("rejected", "assistant")
    context: tuple[Turn, ...] = ()
    key = fields.first(_CHATS)
    if key is not None:
        context = _history(fields) + read_turns(fields.take(key), key)
    elif (key := fields.first(_ASKED)) is not None:
        context = _asked_and_answered(fields, key, None).turns
    both_text = isinstance(value["chosen"], str) and isinstance(value["rejected"], str)
    if not context and both_text:
        context, chosen, rejected = _implicit_text(value["chosen"], value["rejected"])
    elif len(chosen) > 1 or len(rejected) > 1:
        context, chosen, rejected = _without_prompt(context, chosen, rejected)
    return _compared(context, chosen, rejected)


def _compared(
    context: tuple[Turn, ...], chosen: tuple[Turn, ...], rejected: tuple[Turn, ...]
) -> _Content:
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[-1].role != "assistant":
            raise NoRecord("missing_field", f"{name}: no answer of the assistant")
    if not any(turn.role == "user" for turn in context):
        raise NoRecord("missing_field", "prompt: nothing that both answers answer")
    if chosen == rejected:
        raise NoRecord("equal_answers", "chosen and rejected are the same")
    return _Content(context, chosen=chosen, rejected=rejected)


def _without_prompt(
    context: tuple[Turn, ...], chosen: tuple[Turn, ...], rejected: tuple[Turn, ...]
) -> tuple[tuple[Turn, ...], tuple[Turn, ...], tuple[Turn, ...]]:
    """Chats that hold their prompt: what both begin with is the prompt (TRL's implicit one)."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    begun = chosen[:shared]
    asked, inside = _users(context), _users(begun)
    if asked and inside:
        if asked[-1] not in (inside[0], inside[-1]):
            raise NoRecord("ambiguous", "prompt: differs from what chosen and rejected begin with")
        system = tuple(turn for turn in context if turn.role in INSTRUCTING)
        context = () if begun[0].role in INSTRUCTING else system
    return (*context, *begun), chosen[shared:], rejected[shared:]


def _users(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.content for turn in turns if turn.role == "user"]


def _implicit_text(
    chosen: str, rejected: str
) -> tuple[tuple[Turn, ...], tuple[Turn, ...], tuple[Turn, ...]]:
    """Two texts that begin with their prompt: HH dialogues, or whatever both begin with."""
    if all(_HH_TURN.match(text) for text in (chosen, rejected)):
        return _without_prompt((), tuple(_dialogue(chosen)), tuple(_dialogue(rejected)))
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    # Back to the end of a word, so that neither answer begins inside one.
    while shared and not chosen[shared - 1].isspace():
        shared -= 1
    prompt = chosen[:shared].strip()
    if not prompt:
        raise NoRecord("missing_field", "prompt: chosen and rejected have no beginning in common")
    better, worse = Turn("assistant", chosen[shared:]), Turn("assistant", rejected[shared:])
    return (Turn("user", prompt),), (better,), (worse,)


def _dialogue(text: str) -> Iterator[Turn]:
    parts = _HH_TURN.split(text)[1:]
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        yield Turn("user" if speaker == "Human" else "assistant", words.strip())


def _openai_preference(fields: _Line) -> _Content:
    asked = fields.take("input")
    if not isinstance(asked, Mapping) or is_empty(asked.get("messages")):
        raise NoRecord("missing_field", "input: expected messages, of which both are answers")
    other = next((n for n in asked if n not in ("messages", "tools", "parallel_tool_calls")), None)
    if other is not None and not is_empty(asked[other]):
        raise NoRecord("unread_key", f"input.{other}: is not read")
    context = read_turns(asked["messages"], "input.messages")
    return _compared(
        context,
        read_turns(fields.take("preferred_output"), "preferred_output"),
        read_turns(fields.take("non_preferred_output"), "non_preferred_output"),
    )


def _rating(fields: _Line) -> bool | None:
    """Whether an answer is wanted, where it was rated; other labels of chats are metadata."""
    name = fields.first(_RATINGS)
    if name is None:
        name = next((name for name in _RATINGS if fields.value.get(name) is False), None)
    if name is None:
        return None
    value = fields.value[name]
    rating = {"true": True, "false": False}.get(str(value).strip().lower())
    if rating is not None:
        fields.read.add(name)
    elif name == "kto_tag" or isinstance(value, int | float):
        raise NoRecord(
            "ambiguous",
            f"{name}: beside an answer it says whether the answer is wanted, by true or false; "
            f"found {value!r}: rename it if it says something else",
        )
    return rating


def _class(fields: _Line) -> str | int | float | bool:
    label = fields.take("label")
    if isinstance(label, str | int | float):
        return label
    raise NoRecord(
        "wrong_type", f"label: expected one text or number, found {type(label).__name__}"
    )


def _tools(fields: _Line) -> tuple[Mapping[str, Any], ...]:
    found: tuple[Mapping[str, Any], ...] = ()
    name = fields.first(_TOOLS)
    if name is not None:
        found = read_tools(fields.take(name), name)
    asked = fields.value.get("input")
    if isinstance(asked, Mapping) and not is_empty(asked.get("tools")):
        found += read_tools(asked["tools"], "input.tools")
    return found


def _with_system(fields: _Line, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with the system prompt that stands beside them."""
    name = fields.first(_SYSTEM)
    if name is None or not turns:
        return turns
    if not isinstance(fields.value[name], str):
        raise NoRecord("wrong_type", f"{name}: expected text")
    system = fields.text(name)
    inside = [turn.content for turn in turns if turn.role in ("system", "developer")]
    if system in inside:
        return turns
    if inside:
        raise NoRecord("ambiguous", f"{name}: differs from the system turn of the chat")
    return (Turn("system", system), *turns)


def _check_answers(turns: tuple[Turn, ...]) -> None:
    """See that something is learned, and nothing is learned to be said by silence."""
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    if not answers:
        raise NoRecord("missing_field", "messages: no turn of the assistant to learn from")
    for i in answers:
        turn = turns[i]
        # Of the last turn curation says so itself, by `empty_completion`.
        silent = not (turn.content.strip() or turn.tool_calls) and turn.learn is not False
        if silent and i < len(turns) - 1:
            raise NoRecord("empty_turn", f"messages[{i}]: the assistant says and calls nothing")
    if all(turns[i].learn is False for i in answers):
        raise NoRecord("nothing_to_learn", "messages: every answer has the weight 0")


def _record(
    fields: _Line,
    content: _Content,
    turns: tuple[Turn, ...],
    tools: tuple[Mapping[str, Any], ...],
    source: str,
    line: int,
) -> Record:
    rest = {
        key: part
        for key, part in fields.value.items()
        if part is not None and key not in fields.read and not (key in _CONTENT and is_empty(part))
    }
    identity = _name(rest.pop("id", None), "id")
    group = _name(rest.pop("group", None), "group")
    timestamp = _timestamp(rest.pop("timestamp", None))
    meta = rest.pop("meta", None)
    origin = None
    if isinstance(meta, Mapping):
        # Curation itself writes `meta`, `source` and `line`: keep the first place of origin.
        if isinstance(rest.get("source"), str) and _is_line(rest.get("line")):
            origin = (rest.pop("source"), rest.pop("line"))
        rest = {**meta, **rest}
    elif meta is not None:
        rest["meta"] = meta
    place: dict[str, Any] = {
        "source": source,
        "line": line,
        "group": group,
        "timestamp": timestamp,
        "meta": rest,
        "origin": origin,
    }
    record = _of_kind(identity or "", content, turns, tools, place)
    _refuse_unread(rest, record)
    return replace(record, id=content_id(record.content())) if identity is None else record


def _of_kind(
    identity: str,
    content: _Content,
    turns: tuple[Turn, ...],
    tools: tuple[Mapping[str, Any], ...],
    place: dict[str, Any],
) -> Record:
    if content.text is not None:
        if content.label is None:
            return Text(id=identity, text=content.text, **place)
        turns = (Turn(TEXT_ROLE, content.text),)
        return Labelled(id=identity, turns=turns, label=content.label, **place)
    if content.chosen:
        return Preference(
            id=identity,
            context=turns,
            chosen=content.chosen,
            rejected=content.rejected,
            tools=tools,
            **place,
        )
    if content.label is not None:
        return Labelled(id=identity, turns=turns, label=content.label, tools=tools, **place)
    return Chat(id=identity, turns=turns, tools=tools, **place)


def _refuse_unread(rest: Mapping[str, Any], record: Record) -> None:
    """See that no key with content is left unread; what the record says already is none."""
    if record.kind == "chat":
        options = [key for key in rest if _OPTION.fullmatch(key) and not key.isdigit()]
        if len(options) > 1:
            raise NoRecord("unread_key", f"{options[0]}: options are not read as such: {_OPTIONS}")
    if rest.keys().isdisjoint(_CONTENT):
        return
    said = {turn.content.strip() for turn in record.turns}
    for key in rest:
        value = rest[key]
        if key not in _CONTENT or is_empty(value):
            continue
        if isinstance(value, str) and value.strip() in said:
            continue
        raise NoRecord(
            "unread_key", f"{key}: is not read beside the other keys; rename or remove it"
        )


def _timestamp(value: Any) -> str | int | float | None:
    if isinstance(value, Mapping) and list(value) == ["$date"]:
        value = value["$date"]  # as MongoDB exports it
        if isinstance(value, Mapping) and list(value) == ["$numberLong"]:
            value = value["$numberLong"]
    if value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise NoRecord("wrong_type", f"timestamp: expected text or a number, found {value!r}")
    return value


def _name(value: Any, key: str) -> str | None:
    """An id or a group as text; nothing for an empty one, which would hold together strangers."""
    if value is None or type(value) is str:
        return value or None
    if isinstance(value, float) and math.isfinite(value) and abs(value) < 2**53:
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NoRecord(
            "wrong_type", f"{key}: expected text or a whole number below 2**53, found {value!r}"
        )
    return str(value)


def _is_line(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
