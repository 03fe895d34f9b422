"""A prompt and its completion, under the names that TRL, Alpaca, Dolly and OpenOrca give them."""

from typing import ClassVar

from tasks.records.formats import FORMATS, Format
from tasks.records.line import ANSWER_KEYS, INPUT_KEYS, PROMPT_KEYS, Content, Line
from tasks.records.record import Turn
from tasks.records.turns import Rejected


@FORMATS.register
class PromptCompletion(Format):
    """`{"prompt", "completion"}`, `{"instruction", "input", "output"}` and the like."""

    name = "prompt_completion"
    kind = "chat"
    precedence = 40
    required = ((*PROMPT_KEYS, "input"),)
    keys: ClassVar = {
        "prompt": "what is asked: text, or a list of messages",
        "instruction": "the same",
        "question": "the same",
        "query": "the same",
        "input": "what the instruction is about, put below it; alone, what is asked",
        "context": "what the instruction is about",
        "completion": "the answer: text, or a list of messages",
        "output": "the same",
        "response": "the same",
        "answer": "the same",
        "history": "earlier turns: pairs of what was asked and answered",
        "label": "true or false: whether the answer is wanted; the record is then labelled",
        "kto_tag": "the same",
    }
    source = "TRL; Alpaca as LLaMA-Factory has it; Dolly; OpenOrca"
    examples = (
        {"prompt": "What is 2 + 2?", "completion": "4"},
        {"instruction": "Translate into French.", "input": "bread", "output": "pain"},
        {"system_prompt": "Be brief.", "question": "What is 2 + 2?", "response": "4"},
        {"prompt": "What is 2 + 2?", "completion": "5", "label": False},
    )

    def parse(self, line: Line) -> Content | None:
        """The prompt and its answer; without an answer None, or the prompt alone in traffic."""
        key = next((name for name in PROMPT_KEYS if line.has(name)), None)
        # Alpaca's input alone asks too; and an empty prompt is one.
        key = key or ("input" if line.has("input") else line.first(PROMPT_KEYS, empty=True))
        if key is None:
            return None
        answer = line.first(ANSWER_KEYS, empty=True)
        if answer is None:
            return None if line.labelled else Content(read_prompt(line, key))
        turns = read_prompt(line, key) + line.turns(answer, "assistant", numbers=True)
        return Content(turns, label=line.rating())


def read_prompt(line: Line, key: str) -> tuple[Turn, ...]:
    """Earlier turns and the prompt under `key`, with what the prompt is about.

    Raises:
        Rejected: they cannot be put together.
    """
    prompt = line.turns(key, "user", numbers=key in INPUT_KEYS)
    beside = line.first(INPUT_KEYS) if key != "input" else None
    if beside is not None:
        if len(prompt) != 1 or not prompt[0].plain:
            raise Rejected("unread_key", f"{beside}: beside a {key} that is a list of turns")
        about = line.text(beside, numbers=True)
        instruction = prompt[0].content
        prompt = (Turn("user", f"{instruction}\n\n{about}" if instruction else about),)
    return line.history() + prompt
