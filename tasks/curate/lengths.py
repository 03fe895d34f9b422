"""Lengths: tokens of the base model, counted as training will."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from tasks.curate.ledger import Evidence, Place, place
from tasks.encoding import encode
from tasks.errors import BadInput
from tasks.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A template is the model's code: on turns that it does not expect it raises any of these.
_OF_TEMPLATES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of each record, or why the chat template cannot render it."""

    tokens: dict[Place, int] = field(default_factory=dict)
    errors: dict[Place, str] = field(default_factory=dict)

    def unrenderable(self, record: Record) -> Evidence | None:
        """Evidence for a record that the base model's chat template refuses."""
        error = self.errors.get(place(record))
        return None if error is None else {"error": error}

    def too_short(self, record: Record, minimum: int) -> Evidence | None:
        """Evidence for a record of fewer tokens than `minimum`."""
        tokens = self.tokens.get(place(record))
        if tokens is None or tokens >= minimum:
            return None
        return {"tokens": tokens, "minimum": minimum}

    def too_long(self, record: Record, maximum: int) -> Evidence | None:
        """Evidence for a record of more tokens than `maximum`."""
        tokens = self.tokens.get(place(record))
        if tokens is None or tokens <= maximum:
            return None
        return {"tokens": tokens, "maximum": maximum}


def measure(
    records: Iterable[Record], tokenizer: "PreTrainedTokenizerBase", maximum: int
) -> Lengths:
    """Count the tokens of `records` with the base model's chat template.

    A text that must be longer than `maximum` whatever its words (no token stands for more signs
    than the vocabulary's longest) is not tokenised: the count is then that lower bound.
    """
    from jinja2 import TemplateError

    widest = max(map(len, tokenizer.get_vocab()), default=1)
    lengths = Lengths()
    for record in tqdm(records, "count tokens", unit=" records", disable=None, file=sys.stderr):
        at_least = len(record.text) // widest
        if at_least > maximum:
            lengths.tokens[place(record)] = at_least
            continue
        try:
            lengths.tokens[place(record)] = _tokens(record, tokenizer)
        except (BadInput, TemplateError, *_OF_TEMPLATES) as error:
            lengths.errors[place(record)] = f"{type(error).__name__}: {error}"[:300]
    return lengths


def _tokens(record: Record, tokenizer: "PreTrainedTokenizerBase") -> int:
    if "chosen" not in record.content:
        return len(encode(record, tokenizer).input_ids)
    # A preference is as long as the longer of its two chats.
    asked = {"role": "user", "content": record.content["prompt"]}
    chats = (
        replace(
            record,
            content={"messages": [asked, {"role": "assistant", "content": record.content[k]}]},
        )
        for k in ("chosen", "rejected")
    )
    return max(len(encode(chat, tokenizer).input_ids) for chat in chats)
