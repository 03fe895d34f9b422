"""The texts of a record that filters look at."""

from tasks.records import TEXT_ROLE, Preference, Record, Text


def answer_text(record: Record) -> str:
    """What the model would learn to say last: the last answer, or all of a text."""
    if isinstance(record, Text):
        return record.text
    if isinstance(record, Preference):
        return record.target or ""
    for turn in reversed(record.turns):
        if turn.role == "assistant":
            return turn.content
    return whole_text(record)


def whole_text(record: Record) -> str:
    """All of a text; nothing of a chat."""
    if isinstance(record, Text):
        return record.text
    first = record.turns[0]
    return first.content if first.role == TEXT_ROLE else ""


def calls_a_tool(record: Record) -> bool:
    """Whether the last answer is, or comes with, the call of a tool."""
    answers = [turn for turn in record.turns if turn.role == "assistant"]
    return bool(answers) and bool(answers[-1].tool_calls)
