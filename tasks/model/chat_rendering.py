"""Chats as text: each answer that is learned, after the prompt that generation would see.

What the template refuses or leaves out raises `Unrenderable`, which names the reason; nothing is
left out silently.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tasks.core.errors import BadInput
from tasks.model.chat_template import HELP
from tasks.model.decoder import Codec, Form, Refusal
from tasks.model.left_out import Marks, left_out, marked, marked_tools
from tasks.records import Chat, Record, Turn

T = TypeVar("T")

UNRENDERABLE = {
    "unrenderable": "the chat template raises an error",
    "template_ignores": "the chat template leaves content out",
    "empty_turn": "an answer says nothing",
    "control_tokens": "content is what the tokenizer reads as a control token",
    "nothing_to_learn": "no answer is to be learned",
}
"""Reasons of `Unrenderable`, with their meanings."""


class Unrenderable(BadInput):
    """A record that cannot be encoded as it is meant; the message says where, why and what helps.

    Attributes:
        reason: one of `UNRENDERABLE`.
        evidence: what was found, by name: where a turn is to blame its number from 0 (`turn`), its
            `role` or the `key` that is left out, the template's `error`, what would `help`.
    """

    def __init__(self, record: Record, reason: str, sentence: str, **evidence: Any) -> None:
        super().__init__(f"{record.source}:{record.line}: {sentence}")
        self.reason = reason
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is learned: the prompt before it, its text up to where generation stops, and
    what the template writes after that."""

    prompt: str
    text: str
    rest: str


def learned_answers(chat: Chat, form: Form, codec: Codec) -> list[Answer]:
    """Each turn that is learned, with the prompt that generation would see.

    Raises:
        Unrenderable: the template refuses the chat in this form, or leaves some of it out.
    """
    _refuse_ignored(chat, form, codec)
    found = []
    for i, turn in enumerate(chat.turns):
        if turn.role != "assistant" or turn.learn is False:
            continue
        if not turn.content.strip() and not turn.tool_calls:
            sentence = f"messages[{i}]: an answer of nothing would teach the model to say nothing"
            raise Unrenderable(chat, "empty_turn", sentence, turn=i)
        prompt = render_prompt(chat, chat.turns[:i], form, codec)
        whole = _rendered(chat, chat.turns[: i + 1], form, codec)
        if not whole.startswith(prompt):
            raise _ignores(chat, i, "the order of turns: no prompt that is followed by its answer")
        found.append(_answer(prompt, whole[len(prompt) :], turn, codec))
        _check_words(chat, i, found[-1])
    return found


def _answer(prompt: str, text: str, turn: Turn, codec: Codec) -> Answer:
    """Cut what follows the prompt where generation stops; put an end there if there is none."""
    position = text.rfind(turn.content.strip()) if turn.content.strip() else 0
    begin = max(0, position) + len(turn.content.strip()) * (position >= 0)
    ends = [(text.find(end, begin), end) for end in codec.end_texts]
    found = min(((i, end) for i, end in ends if i >= 0), default=None)
    if found is None:
        return Answer(prompt, text.rstrip() + codec.end, "")
    stop = found[0] + len(found[1])
    return Answer(prompt, text[:stop], text[stop:])


def render_prompt(chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec) -> str:
    """The text before an answer; see `decoder.ChatTemplate.prompt`."""
    structure = _structure(chat, turns, form)
    asked = _rendered(chat, turns, form, codec, ask=True) if turns else ""
    if turns and ("prompt", structure) in codec.rendered:
        return asked
    with _blamed(chat, turns, form, codec):
        prompt = codec.template.prompt(_messages(turns), form, chat.tools)
    if turns and structure is not None and prompt == asked:
        codec.rendered.add(("prompt", structure))
    return prompt


def _rendered(
    chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec, *, ask: bool = False
) -> str:
    with _blamed(chat, turns, form, codec):
        return codec.template.render(form.messages(_messages(turns)), chat.tools, ask)


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    return [turn.message() for turn in turns]


@contextlib.contextmanager
def _blamed(chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec) -> Iterator[None]:
    """Have a refusal of the template name the record, and the role that is to blame."""
    try:
        yield
    except Refusal as error:
        role = _refused_role(chat, turns, form, codec)
        blame = f" (role {role})" if role else ""
        sentence = f"the base model's chat template refuses this chat{blame}: {error}; {HELP}"
        evidence = {"error": str(error), "help": HELP} | ({"role": role} if role else {})
        raise Unrenderable(chat, "unrenderable", sentence, **evidence) from None


def _refused_role(chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec) -> str | None:
    """The role without whose turns the template would take the chat, if there is one."""
    for role in dict.fromkeys(turn.role for turn in turns):
        others = [turn for turn in turns if turn.role != role]
        try:
            if role not in ("user", "assistant") and others:
                codec.template.render(form.messages(_messages(others)), chat.tools)
                return role
        except Refusal:
            continue
    return None


def with_first_form(chat: Chat, codec: Codec, make: Callable[[Form], T]) -> T:
    """What `make` gives for the first form of the turns that the template takes.

    Raises:
        Unrenderable: it takes none; the error is that of the likeliest form.
    """
    errors = []
    for form in Form.all_for(_messages(chat.turns), codec.template.source):
        try:
            return make(form)
        except Unrenderable as error:
            errors.append(error)
    raise errors[0]


def _refuse_ignored(chat: Chat, form: Form, codec: Codec) -> None:
    """Refuse a chat of which the template leaves something out, whatever its words."""
    structure = _structure(chat, chat.turns, form)
    if structure in codec.rendered:
        return
    marks = Marks()
    turns = marked(chat.turns, marks)
    tools = marked_tools(chat.tools, marks)
    copy = replace(chat, turns=tuple(turns), tools=tuple(tools))
    learned = [
        i for i, turn in enumerate(turns) if turn.role == "assistant" and turn.learn is not False
    ]
    context = [None, *(i for i in range(len(turns)) if i not in learned)]
    for last in learned or [len(turns) - 1]:
        # Of earlier answers, which are learned in their own place, templates may drop parts.
        text = _rendered(copy, turns[: last + 1], form, codec)
        missing = marks.missing(text, last, [i for i in context if i is None or i < last])
        if missing:
            raise _ignores(chat, missing.turn, missing.key)
    if structure is not None:
        codec.rendered.add(structure)


def _structure(chat: Chat, turns: Sequence[Turn], form: Form) -> Hashable:
    """What a template's treatment of the turns depends on; None where that is too much to tell."""
    if chat.tools:
        return None
    found: list[Hashable] = [form]
    for turn in turns:
        if turn.tool_calls or turn.name or turn.tool_call_id:
            return None
        found.append((turn.role, turn.learn, not turn.content.strip(), not turn.reasoning.strip()))
    return tuple(found)


def _check_words(chat: Chat, number: int, answer: Answer) -> None:
    """Refuse a chat whose words are not all in the prompt and the answer."""
    for i, turn in enumerate(chat.turns[: number + 1]):
        last = i == number
        if not last and turn.role == "assistant" and turn.learn is not False:
            continue
        key = left_out(turn, answer.text if last else answer.prompt, last=last)
        if key:
            raise _ignores(chat, i, key)


def _ignores(chat: Chat, number: int | None, key: str) -> Unrenderable:
    turn = None if number is None else chat.turns[number]
    place = "" if number is None else f"messages[{number}]: "
    missing = key
    if turn and key == "content" and turn.role != "assistant":
        key, missing = turn.role, f"the turn of the {turn.role}"
    sentence = f"{place}the base model's chat template leaves out {missing}; {HELP}"
    evidence: dict[str, Any] = {"key": key, "help": HELP}
    if number is not None:
        evidence["turn"] = number
    return Unrenderable(chat, "template_ignores", sentence, **evidence)


def refuse_control_tokens(record: Record, codec: Codec) -> None:
    """Refuse a record that holds one of the model's control tokens.

    Raises:
        Unrenderable: it does.
    """
    for number, turn in enumerate(record.turns):
        token = codec.control_token([turn.text, turn.name or ""])
        if token:
            key = "text" if record.kind == "text" else f"messages[{number}]"
            raise _control(record, token, key)
    if record.tools:
        token = codec.control_token([str(tool) for tool in record.tools])
        if token:
            raise _control(record, token, "tools")


def _control(record: Record, token: str, key: str) -> Unrenderable:
    sentence = (
        f"{key} holds {token!r}, which the base model's tokenizer reads as a control token and "
        "not as text; write it otherwise, or leave the record out"
    )
    return Unrenderable(record, "control_tokens", sentence, token=token, key=key)
