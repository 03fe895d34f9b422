"""Two answers to one prompt, of which one is better: TRL, UltraFeedback, Anthropic's dialogues."""

import re
from collections.abc import Iterator
from typing import ClassVar, TypeAlias

from tasks.records.formats import FORMATS, Format
from tasks.records.formats.prompt_completion import read_prompt
from tasks.records.line import CHAT_KEYS, PROMPT_KEYS, Content, Line
from tasks.records.record import INSTRUCTING, Turn
from tasks.records.turns import Rejected, read_turns

Turns: TypeAlias = tuple[Turn, ...]

_DIALOGUE_TURN = re.compile(r"\n\n(Human|Assistant): ?")


@FORMATS.register
class Preference(Format):
    """`{"prompt", "chosen", "rejected"}`, with an explicit or an implicit prompt."""

    name = "preference"
    kind = "preference"
    precedence = 20
    required = (("chosen",), ("rejected",))
    keys: ClassVar = {
        "prompt": "what both answers answer, as in `prompt_completion` (or under its other names, "
        "or as `messages`); without it, what both begin with",
        "chosen": "the better answer: text, messages, or a chat that begins with the prompt",
        "rejected": "the worse answer, likewise",
    }
    source = "TRL, UltraFeedback, LLaMA-Factory, Anthropic's HH dialogues"
    examples = (
        {"prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"},
        {
            "chosen": [
                {"role": "user", "content": "What is 2 + 2?"},
                {"role": "assistant", "content": "4"},
            ],
            "rejected": [
                {"role": "user", "content": "What is 2 + 2?"},
                {"role": "assistant", "content": "5"},
            ],
        },
    )

    def parse(self, line: Line) -> Content | None:
        """The context, and both answers without it."""
        value = line.value
        if value["chosen"] is None or value["rejected"] is None:
            return None
        chosen = line.turns("chosen", "assistant")
        rejected = line.turns("rejected", "assistant")
        context: Turns = ()
        key = line.first(CHAT_KEYS)
        if key is not None:
            context = line.history() + read_turns(line.take(key), key)
        elif (key := line.first(PROMPT_KEYS)) is not None:
            context = read_prompt(line, key)
        both_text = isinstance(value["chosen"], str) and isinstance(value["rejected"], str)
        if not context and both_text:
            context, chosen, rejected = _split_texts(value["chosen"], value["rejected"])
        elif len(chosen) > 1 or len(rejected) > 1:
            context, chosen, rejected = _split_chats(context, chosen, rejected)
        return compare(context, chosen, rejected)


def compare(context: Turns, chosen: Turns, rejected: Turns) -> Content:
    """Two answers to one context.

    Raises:
        Rejected: an answer or the question is missing, or both answers are the same.
    """
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[-1].role != "assistant":
            raise Rejected("missing_field", f"{name}: no answer of the assistant")
    if not any(turn.role == "user" for turn in context):
        raise Rejected("missing_field", "prompt: nothing that both answers answer")
    if chosen == rejected:
        raise Rejected("equal_answers", "chosen and rejected are the same")
    return Content(context, chosen=chosen, rejected=rejected)


def _split_chats(context: Turns, chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """Chats that hold their prompt: what both begin with is the prompt (TRL's implicit one)."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    beginning = chosen[:shared]
    before, inside = _users(context), _users(beginning)
    if before and inside:
        if before[-1] not in (inside[0], inside[-1]):
            raise Rejected("ambiguous", "prompt: differs from what chosen and rejected begin with")
        system = tuple(turn for turn in context if turn.role in INSTRUCTING)
        context = () if beginning[0].role in INSTRUCTING else system
    return (*context, *beginning), chosen[shared:], rejected[shared:]


def _users(turns: Turns) -> list[str]:
    return [turn.content for turn in turns if turn.role == "user"]


def _split_texts(chosen: str, rejected: str) -> tuple[Turns, Turns, Turns]:
    """Two texts that begin with their prompt: HH dialogues, or whatever both begin with."""
    if all(_DIALOGUE_TURN.match(text) for text in (chosen, rejected)):
        return _split_chats((), tuple(_dialogue(chosen)), tuple(_dialogue(rejected)))
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    # Back to the end of a word, so that neither answer begins inside one.
    while shared and not chosen[shared - 1].isspace():
        shared -= 1
    prompt = chosen[:shared].strip()
    if not prompt:
        raise Rejected("missing_field", "prompt: chosen and rejected have no beginning in common")
    better, worse = Turn("assistant", chosen[shared:]), Turn("assistant", rejected[shared:])
    return (Turn("user", prompt),), (better,), (worse,)


def _dialogue(text: str) -> Iterator[Turn]:
    parts = _DIALOGUE_TURN.split(text)[1:]
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        yield Turn("user" if speaker == "Human" else "assistant", words.strip())
