"""The tokenizer of a base model, read from its folder and made ready: with a chat template in any
case, and with the tokens at which generation stops."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.model.chat_template import read_template
from tasks.model.decoder import PLAIN_TEMPLATE, TODAY, ChatTemplate, make_ready
from tasks.model.settings import Base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
"""Files that a tokenizer is read from; a folder needs one of them besides its configuration."""
SETTINGS = (
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
"""Files that change what a tokenizer gives, or where answers end."""


def read(source: Path, file: str | None, base: Base) -> "PreTrainedTokenizerBase":
    """The tokenizer in the folder `source`, or in the GGUF file `file` of it, made ready.

    It has a chat template (`base.chat_template`, its own, or a plain one), and `stop_ids`; see
    `decoder.make_ready`.

    Raises:
        BadInput: there is no tokenizer, it cannot be read, or nothing ends an answer.
    """
    from transformers import AutoTokenizer

    vocabularies = [name for name in VOCABULARIES if name != "tokenizer_config.json"]
    # A repository with code of its own may keep its vocabulary under any name.
    read_elsewhere = file is not None or base.trust_remote_code
    if not read_elsewhere and not any((source / name).is_file() for name in vocabularies):
        raise BadInput(
            f"base.model: {source} holds no tokenizer (tokenizer.json); copy the tokenizer's "
            "files there from the model that it was made from"
        )
    options = {"gguf_file": file} if file else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=base.trust_remote_code, **options
        )
    except Exception as error:  # noqa: BLE001 (the libraries below raise just that)
        raise BadInput(
            f"base.model: the tokenizer in {source} cannot be read: {error}"[:500]
        ) from None
    template = base.chat_template and read_template(base.chat_template)
    make_ready(tokenizer, source, template)
    check_ends(tokenizer, source)
    return tokenizer


def check_ends(tokenizer: Any, source: Path) -> None:
    """Refuse a tokenizer without anything that ends an answer.

    Raises:
        BadInput: neither the tokenizer nor the model's files name an end token.
    """
    if not tokenizer.stop_ids and tokenizer.eos_token_id is None:
        raise BadInput(
            f"base.model: the tokenizer in {source} names no end token, so no answer would ever "
            "stop; set eos_token in its tokenizer_config.json, or eos_token_id in the model's "
            "generation_config.json"
        )


def announce(template: ChatTemplate, base: Base) -> None:
    """Say what a user should know about the template; each sentence once in a process."""
    if template.source == PLAIN_TEMPLATE and base.chat_template is None:
        _say(
            f"{base.model} has no chat template: turns go under plain headings; "
            "base.chat_template names a template of your own"
        )
    if template.opening.strip():
        _say(
            f"the chat template of {base.model} opens each answer with {template.opening!r}, with "
            "which no answer without reasoning begins: prompts end before it here, and have to "
            "where the tuned model is served"
        )
    if template.dated:
        _say(
            f"the chat template of {base.model} writes the date: here it is always "
            f"{TODAY:%d %B %Y}, so that equal data gives equal tokens"
        )


@functools.cache
def _say(sentence: str) -> None:
    log.warning("%s", sentence)
