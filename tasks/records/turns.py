"""Turns of a chat from what formats call messages: OpenAI's chat format and ShareGPT.

Sources: OpenAI's chat completions and fine-tuning references (roles, content parts, tool calls,
`weight`), LLaMA-Factory's data README (`function_call`, `observation`), axolotl's dataset formats
(`weight`, `train`, role names), Transformers' chat templates (`reasoning_content`, decoded
arguments).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tasks.records.record import ToolCall, Turn


class Rejected(Exception):
    """A line is of a known format, and no record.

    Attributes:
        reason: one of `tasks.records.REASONS`.
        detail: what was found and what is expected; the key first.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:500]


_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "claude": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
_CALLING = ("function_call", "tool_call")
_EXACT = frozenset({"system", "developer", "user", "assistant", "tool"})
_TURN = {"role", "content"}

_REASONING = ("reasoning_content", "reasoning", "thinking")
_WEIGHTS = ("weight", "loss", "train", "training")
_READ = {
    *("role", "from", "content", "value", "tool_calls", "function_call", "name", "tool_call_id"),
    "refusal",
    *_REASONING,
    *_WEIGHTS,
}
_UNSUPPORTED = ("audio", "images", "image", "videos", "video", "audios", "train_detail")


def read_turns(value: Any, key: str) -> tuple[Turn, ...]:
    """The turns of a list of messages (`role`, `content`) or of ShareGPT's (`from`, `value`).

    Args:
        value: the list, or the same as JSON text (tables have it so).
        key: where it is, for the detail.

    Raises:
        Rejected: it is no such list, or holds what cannot be honoured.
    """
    if isinstance(value, str):
        value = decoded(value, key)
    if not isinstance(value, list) or not value:
        raise Rejected("wrong_type", f"{key}: expected a list with at least one turn")
    return tuple(read_turn(turn, f"{key}[{i}]") for i, turn in enumerate(value))


def read_turn(message: Any, key: str) -> Turn:
    """One turn.

    Raises:
        Rejected: as `read_turns`.
    """
    # The common case; checking for an exact dict is much faster than for a mapping.
    if type(message) is dict and message.keys() == _TURN:
        role, content = message["role"], message["content"]
        if type(content) is str and type(role) is str and role in _EXACT:
            return Turn(role, content)
    if not isinstance(message, Mapping):
        raise Rejected("missing_field", f"{key}: expected role and content")
    role_name = message.get("role", message.get("from"))
    if role_name is None:
        raise Rejected("missing_field", f"{key}: expected role and content")
    role = _ROLES.get(role_name.strip().lower()) if isinstance(role_name, str) else None
    if role is None:
        name = "role" if "role" in message else "from"
        raise Rejected("wrong_type", f"{key}.{name}: unknown role {role_name!r}")
    if "content" not in message and "value" not in message and not _calls_something(message):
        raise Rejected("missing_field", f"{key}: expected role and content")
    _refuse_unsupported(message, key)
    content, reasoning = _content(message, key)
    calls = _tool_calls(message, key)
    if role_name.strip().lower() in _CALLING:
        calls, content = _calls_in_text(content, key), ""
    if calls and role != "assistant":
        raise Rejected("wrong_type", f"{key}.tool_calls: a turn of the {role} calls no tool")
    speaker, answers = message.get("name"), message.get("tool_call_id")
    extra = {key: part for key, part in message.items() if key not in _READ and part is not None}
    return Turn(
        role,
        content,
        reasoning or _reasoning(message, key),
        calls,
        _learn(message, role, key),
        None if speaker is None or speaker == "" else str(speaker),
        None if answers is None or answers == "" else str(answers),
        extra,
    )


def read_tools(value: Any, key: str) -> tuple[Mapping[str, Any], ...]:
    """Tool definitions in OpenAI's form: `{"type": "function", "function": {"name", …}}`.

    Args:
        value: a list of them, of bare functions, of JSON texts of either, or all that as JSON text.
        key: where it is, for the detail.

    Raises:
        Rejected: it is nothing of the kind.
    """
    if isinstance(value, str):
        value = decoded(value, key)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise Rejected("wrong_type", f"{key}: expected a list of tools")
    found = []
    for i, tool in enumerate(value):
        if isinstance(tool, str):
            tool = decoded(tool, f"{key}[{i}]")
        if not isinstance(tool, Mapping):
            raise Rejected("wrong_type", f"{key}[{i}]: expected a tool's definition")
        bare = "function" not in tool and "name" in tool
        tool = {"type": "function", "function": tool} if bare else tool
        function = tool.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise Rejected("missing_field", f"{key}[{i}]: expected a function with a name")
        found.append(tool)
    return tuple(found)


def decoded(text: str, key: str) -> Any:
    """What a text holds that a table has in place of a list or object.

    JSON, or what Python prints of it (pandas writes columns of lists so).

    Raises:
        Rejected: it is neither.
    """
    import ast

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        value = ast.literal_eval(text.strip())
        orjson.dumps(value)
        return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise Rejected(
            "wrong_type", f"{key}: expected a list, found text that is no JSON: {text[:60]!r}"
        ) from None


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, an empty text, list or object."""
    return value is None or (isinstance(value, str | list | Mapping) and not value)


def _calls_something(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _refuse_unsupported(message: Mapping[str, Any], key: str) -> None:
    for name in _UNSUPPORTED:
        if not is_empty(message.get(name)):
            raise Rejected("unsupported_content", f"{key}.{name}: only text can be learned")


def _content(message: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Visible words and reasoning of a message's content: text, parts of text, or nothing beside
    calls."""
    name = "content" if "content" in message else "value"
    content = message.get(name)
    if isinstance(content, str):
        refusal = message.get("refusal")
        if content and not is_empty(refusal):
            raise Rejected("ambiguous", f"{key}: both {name} and refusal: leave one of them")
        return (refusal if not content and isinstance(refusal, str) else content), ""
    if content is None:
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            return refusal, ""
        if _calls_something(message):
            return "", ""
        raise Rejected("wrong_type", f"{key}.{name}: expected text, found nothing")
    if not isinstance(content, list):
        found = type(content).__name__
        raise Rejected("wrong_type", f"{key}.{name}: expected text, found {found}")
    words: list[str] = []
    thoughts: list[str] = []
    for i, part in enumerate(content):
        kind, text = _part(part, f"{key}.{name}[{i}]")
        (thoughts if kind == "thinking" else words).append(text)
    return "".join(words), "".join(thoughts)


def _part(part: Any, key: str) -> tuple[str, str]:
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, Mapping):
        raise Rejected("wrong_type", f"{key}: expected a part of text")
    kind = str(part.get("type") or "text")
    other = next(
        (
            name
            for name, value in part.items()
            if name not in ("type", "text", "thinking", "refusal", "annotations", "cache_control")
            and not is_empty(value)
        ),
        None,
    )
    for name in (kind, "text", "thinking", "refusal"):
        if kind in ("text", "thinking", "refusal") and isinstance(part.get(name), str):
            if other is not None:
                break
            return ("thinking" if name == "thinking" else "text"), part[name]
    raise Rejected("unsupported_content", f"{key}: only text can be learned, found {other or kind}")


def _reasoning(message: Mapping[str, Any], key: str) -> str:
    found = [(name, message[name]) for name in _REASONING if not is_empty(message.get(name))]
    if not found:
        return ""
    name, value = found[0]
    if not isinstance(value, str):
        raise Rejected("wrong_type", f"{key}.{name}: expected text, found {type(value).__name__}")
    if any(other != value for _, other in found):
        raise Rejected("ambiguous", f"{key}: {' and '.join(n for n, _ in found)} differ")
    return value


def _learn(message: Mapping[str, Any], role: str, key: str) -> bool | None:
    """Whether a turn is learned, by its weight; weights between 0 and 1, and positive weights of
    turns that are not the assistant's, cannot be honoured."""
    found: bool | None = None
    for name in _WEIGHTS:
        value = message.get(name)
        if value is None or value == "":
            continue
        known = {"0": False, "1": True, "0.0": False, "1.0": True, "true": True, "false": False}
        learn = known.get(str(value).strip().lower())
        if learn is None:
            raise Rejected("unsupported_weight", f"{key}.{name}: expected 0 or 1, found {value!r}")
        if found is not None and learn != found:
            raise Rejected("ambiguous", f"{key}.{name}: contradicts another weight of the turn")
        if role != "assistant" and learn and name in ("train", "training", "loss"):
            raise Rejected(
                "unsupported_weight", f"{key}.{name}: only the assistant's turns can be learned"
            )
        found = learn
    return found if role == "assistant" else None


def _tool_calls(message: Mapping[str, Any], key: str) -> tuple[ToolCall, ...]:
    value = message.get("tool_calls")
    if isinstance(value, str) and value:
        value = decoded(value, f"{key}.tool_calls")
    if not is_empty(value):
        if not isinstance(value, list):
            raise Rejected("wrong_type", f"{key}.tool_calls: expected a list")
        return tuple(_call(call, f"{key}.tool_calls[{i}]") for i, call in enumerate(value))
    legacy = message.get("function_call")
    if isinstance(legacy, str) and legacy:
        legacy = decoded(legacy, f"{key}.function_call")
    return () if is_empty(legacy) else (_call(legacy, f"{key}.function_call"),)


def _calls_in_text(text: str, key: str) -> tuple[ToolCall, ...]:
    """The calls of a ShareGPT turn, which are JSON: one, or a list of them."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Rejected(
            "wrong_type", f"{key}: expected a call as JSON, found {text[:60]!r}"
        ) from None
    calls: Sequence[Any] = value if isinstance(value, list) else [value]
    if not calls:
        raise Rejected("wrong_type", f"{key}: holds no call")
    return tuple(_call(call, key) for call in calls)


def _call(call: Any, key: str) -> ToolCall:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Rejected("missing_field", f"{key}: expected a function with a name")
    arguments = function.get("arguments", function.get("parameters"))
    if _has_lost_digits(arguments):
        raise Rejected("wrong_type", f"{key}: a number beyond 2**53 is not exact: write it as text")
    if isinstance(arguments, str):
        arguments = _decoded_arguments(arguments)
    identity = call.get("id")
    return ToolCall(
        function["name"],
        {} if arguments is None else arguments,
        None if identity is None or identity == "" else str(identity),
    )


def _decoded_arguments(text: str) -> Any:
    """The object that a call's arguments are; what is none, or cannot be written, stays text."""
    try:
        value = json.loads(text)
        orjson.dumps([[value]])
    except (ValueError, TypeError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _has_lost_digits(value: Any) -> bool:
    """Whether a whole number was too large for the JSON reader, which rounds it."""
    if isinstance(value, float):
        return abs(value) >= 2**53 and value.is_integer()
    if isinstance(value, Mapping):
        return any(map(_has_lost_digits, value.values()))
    return isinstance(value, list) and any(map(_has_lost_digits, value))
