"""Records as token ids: what the model reads, and which of it is learned."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from tasks.errors import BadInput
from tasks.records import Chat, Record, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.tokens import Tokenizer

    AnyTokenizer: TypeAlias = PreTrainedTokenizerBase | Tokenizer


TEMPLATE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a chat template, which is the model's code, raises on turns that it does not expect, besides
Jinja's own `TemplateError`."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one record; `learned[i]` says whether token i is a target of the loss.

    `source` is where the record was read first, before any curation.
    """

    id: str
    source: str
    input_ids: tuple[int, ...]
    learned: tuple[bool, ...]
    cut: int = 0
    """Tokens that `max_length` took, of those that are not learned."""
    answer_cut: int = 0
    """Tokens that `max_length` took, of those that are learned."""

    @property
    def targets(self) -> int:
        """Number of tokens that the loss counts; the first token has nothing before it."""
        return sum(self.learned[1:])


def encode(record: Record, tokenizer: "AnyTokenizer", max_length: int | None = None) -> Example:
    """Encode a chat by the base model's template, learning the assistant's turns only, or a text,
    learning all of it.

    Prompt and answer are tokenised apart, at the border where generation begins, so that training
    sees exactly the prompt tokens that generation will. Beyond `max_length` tokens the beginning
    of the prompt goes first, and only then the end of the answer.

    Raises:
        BadInput: the record is a preference pair, which this objective cannot learn from.
    """
    read = pieces(record, tokenizer)
    ids: list[int] = []
    learned: list[bool] = []
    encoded = tokenizer([text for text, _ in read], add_special_tokens=False)["input_ids"]
    for part, (_, is_learned) in zip(encoded, read, strict=True):
        ids.extend(part)
        learned.extend([is_learned] * len(part))
    whole = len(ids), sum(learned)
    if max_length is not None and len(ids) > max_length:
        first = learned.index(True) if True in learned else 0
        # At least one token has to stand before the first that is learned.
        start = max(0, min(len(ids) - max_length, first - 1))
        ids, learned = ids[start : start + max_length], learned[start : start + max_length]
    source = record.origin[0] if record.origin else record.source
    answer_cut = whole[1] - sum(learned)
    cut = whole[0] - len(ids) - answer_cut
    return Example(record.id, source, tuple(ids), tuple(learned), cut, answer_cut)


def encode_all(record: Record, tokenizer: "AnyTokenizer", max_length: int) -> list[Example]:
    """Encode a record as `encode`; of a text longer than `max_length`, no token is lost.

    Such a text is cut into examples of that length. Each begins with the last token of the one
    before, so that every token but the first is learned once.
    """
    if not isinstance(record, Text):
        return [encode(record, tokenizer, max_length)]
    whole = encode(record, tokenizer)
    starts = range(0, max(1, len(whole.input_ids) - 1), max_length - 1)
    return [
        replace(
            whole,
            id=whole.id if start == 0 else f"{whole.id}#{start}",
            input_ids=whole.input_ids[start : start + max_length],
            learned=whole.learned[start : start + max_length],
        )
        for start in starts
    ]


def encode_prompt(record: Record, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Token ids of everything before the last answer, ready for generation."""
    if not isinstance(record, Chat):
        return list(tokenizer(record.prompt, add_special_tokens=False)["input_ids"])
    messages = [turn.message() for turn in record.turns]
    if messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def pieces(record: Record, tokenizer: "AnyTokenizer") -> list[tuple[str, bool]]:
    """What the model reads of a record, in pieces, and whether it learns to say each of them.

    Raises:
        BadInput: as `encode`, or the template does not put an answer after its prompt. What a
            template raises (`TEMPLATE_ERRORS`) goes through.
    """
    if isinstance(record, Text):
        return [(record.text + (tokenizer.eos_token or ""), True)]
    if not isinstance(record, Chat):
        raise BadInput(
            f"{record.source}:{record.line}: a {record.kind} record; supervised tuning needs "
            "messages, prompt and completion, or text"
        )
    messages = [turn.message() for turn in record.turns]

    def render(count: int, ask: bool) -> str:
        return str(
            tokenizer.apply_chat_template(
                messages[:count], tokenize=False, add_generation_prompt=ask
            )
        )

    found: list[tuple[str, bool]] = []
    done = ""
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        asked = render(number, ask=True) if number else ""
        answered = render(number + 1, ask=False)
        if not asked.startswith(done) or not answered.startswith(asked):
            # The template rewrites earlier turns (thinking, say): only the last answer is safe.
            found, done = [], ""
            if not answered.startswith(asked):
                raise BadInput(
                    f"{record.source}:{record.line}: the chat template does not render this chat "
                    "as a prompt followed by its answer"
                )
        answer = answered[len(asked) :]
        # What the template puts after the end token (a newline, mostly) is never generated.
        said = answer.rstrip()
        found += [(asked[len(done) :], False), (said, True), (answer[len(said) :], False)]
        done = answered
    return [(text, learned) for text, learned in found if text]
