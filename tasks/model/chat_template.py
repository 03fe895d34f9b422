"""Chat templates: a chat as the one text that the base model reads.

A template is Jinja source that a model ships (or that `base.chat_template` names). It is rendered
by transformers' own sandbox, with one difference: the date that a template asks for is `TODAY`.
Source of what a template is given: Transformers' documentation, "Chat templates" and "Tool use".
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.records import Turn

# For base models that never saw a chat: turns under plain headings, the answer ends with EOS.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)

TODAY = datetime(2024, 7, 26)
"""What `strftime_now` says in every template: the same records give the same tokens on any day.
It is the date that Llama 3's templates fall back to."""

TEMPLATE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a chat template, which is the model's code, raises on turns that it does not expect, besides
Jinja's own `TemplateError`."""

HELP = "take another base model, or a template of your own (base.chat_template: FILE)"

Message = dict[str, Any]


class Refusal(Exception):
    """The template raises an error on these messages; the text is the template's own."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The template of a base model.

    Attributes:
        source: Jinja source.
        tool_source: source for chats with tools, where the model ships one of its own.
        special_tokens: by the names that templates know them by (`bos_token`, ...).
    """

    source: str
    tool_source: str
    special_tokens: Mapping[str, str]

    @classmethod
    def of(
        cls, template: str | Mapping[str, str] | None, special_tokens: Mapping[str, Any]
    ) -> "ChatTemplate":
        """From what a tokenizer holds: one source, or several by name (`default`, `tool_use`)."""
        named = {"default": template} if isinstance(template, str) else dict(template or {})
        source = named.get("default") or next(iter(named.values()), PLAIN_TEMPLATE)
        texts = {name: str(token) for name, token in special_tokens.items() if token}
        return cls(source, named.get("tool_use", source), texts)

    @property
    def dated(self) -> bool:
        """Whether the template asks for the date."""
        return "strftime_now" in self.source + self.tool_source

    @property
    def opening(self) -> str:
        """What the prompt for an answer ends with that an answer of words does not begin with."""
        asked: list[Message] = [{"role": "user", "content": "zq0qz"}]
        try:
            prompt = self.render(asked, ask=True)
            answered = self.render([*asked, {"role": "assistant", "content": "zq1qz"}])
        except Refusal:
            return ""
        return prompt[len(shared_beginning(prompt, answered)) :]

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        ask: bool = False,
    ) -> str:
        """The chat as text.

        Args:
            messages: turns as templates take them.
            tools: definitions of the tools that the model may call.
            ask: end where the assistant's next turn begins.

        Raises:
            Refusal: the template raises an error, or is no valid Jinja.
        """
        from jinja2 import TemplateError

        try:
            text: str = _compiled(self.tool_source if tools else self.source).render(
                messages=[_with_aliases(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                documents=None,
                add_generation_prompt=ask,
                **self.special_tokens,
            )
            return text
        except (TemplateError, *TEMPLATE_ERRORS, RecursionError) as error:
            raise Refusal(f"{type(error).__name__}: {error}"[:300]) from None


def shared_beginning(text: str, other: str) -> str:
    """The beginning that two texts have in common."""
    if other.startswith(text):
        return text
    differ = (i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b)
    return text[: next(differ, min(len(text), len(other)))]


def read_template(path: str) -> str:
    """The template in a user's file.

    Raises:
        BadInput: there is no such file, or it is no Jinja template in UTF-8.
    """
    from jinja2 import TemplateError

    try:
        source = Path(path).expanduser().read_text(encoding="utf-8")
        _compiled(source)
    except OSError as error:
        raise BadInput(f"base.chat_template: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"base.chat_template: {path}: not UTF-8; save the file as UTF-8") from None
    except TemplateError as error:
        raise BadInput(f"base.chat_template: {path}: no Jinja template: {error}") from None
    if not re.search(r"\{[{%]", source):
        raise BadInput(f"base.chat_template: {path}: no Jinja template: it renders no messages")
    return source


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> Any:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    # Transformers has an environment for each source; this one sets the date.
    environment = _compile_jinja_template(source).environment
    return environment.from_string(source, globals={"strftime_now": TODAY.strftime})


def _with_aliases(message: Message) -> Message:
    """The message with its reasoning under the other names that templates read it by."""
    reasoning = message.get("reasoning_content")
    return message if reasoning is None else {"thinking": reasoning, **message}


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write turns for a template; templates differ in what they take.

    Attributes:
        developer: the role that a developer's turn has.
        text_arguments: whether the arguments of calls are JSON text, as OpenAI has them, or
            decoded, as Transformers has them.
        short_ids: whether ids of calls are replaced by nine letters and digits, which Mistral's
            templates insist on; ids say nothing but which result belongs to which call.
        parts: whether content is a list of parts, as templates for pictures and text have it.
    """

    developer: str = "developer"
    text_arguments: bool = False
    short_ids: bool = False
    parts: bool = False

    @classmethod
    def all_for(cls, turns: Sequence[Turn], source: str) -> "list[Form]":
        """The forms that make a difference to these turns, the likeliest for the template first.

        A developer's turn is what a system's turn was before; templates that do not know the one
        role know the other.
        """
        developers = ["developer"]
        if any(turn.role == "developer" for turn in turns):
            developers.insert("developer" in source, "system")
        calls = any(turn.tool_calls for turn in turns)
        switches = [(False, False), (True, False), (False, True), (True, True)]
        found = [
            cls(developer, text_arguments, short_ids)
            for text_arguments, short_ids in (switches if calls else switches[:1])
            for developer in developers
        ]
        return [*found, replace(found[0], parts=True)]

    def messages(self, turns: Sequence[Turn]) -> list[Message]:
        """The turns as messages."""
        names: dict[str, str] = {}
        found: list[Message] = []
        for turn in turns:
            message = turn.message()
            if turn.role == "developer":
                message["role"] = self.developer
            if self.parts:
                message["content"] = [{"type": "text", "text": turn.content}]
            for call in message.get("tool_calls", ()):
                arguments = call["function"]["arguments"]
                if self.text_arguments and not isinstance(arguments, str):
                    text = json.dumps(arguments, ensure_ascii=False)
                    call["function"] = {**call["function"], "arguments": text}
                if self.short_ids:
                    name = call.get("id", f"call {len(names)}")
                    call["id"] = names.setdefault(name, f"call{len(names):05d}")
            if self.short_ids and turn.role == "tool":
                message["tool_call_id"] = _answered(turn, names, found)
            found.append(message)
        return found


def _answered(turn: Turn, names: Mapping[str, str], before: Sequence[Message]) -> str:
    """The short id of the call that a tool's turn answers: the named one, or the next in order."""
    if turn.tool_call_id and turn.tool_call_id in names:
        return names[turn.tool_call_id]
    answered = {message.get("tool_call_id") for message in before}
    return next((name for name in names.values() if name not in answered), "call00000")
