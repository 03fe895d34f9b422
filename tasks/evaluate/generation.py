"""Answers of a model, by greedy decoding (`tasks.model.decoder`)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from tasks.core.errors import BadInput, PerpetuneError
from tasks.model import decoder


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated for one prompt, and how long it took."""

    text: str
    tokens: int
    """Generated ones, the end included."""
    seconds: float
    """Those of the batch."""
    at_once: int
    """Prompts of the batch."""


def answer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    label: str = "answers",
) -> list[Answer]:
    """Greedy answers, up to the end token: one for each prompt; see `decoder.generate`.

    Args:
        model: a causal language model of transformers, with an adapter or without.
        tokenizer: its tokenizer.
        prompts: token ids of each prompt, ready for generation.
        max_new_tokens: longest answer, in tokens.
        batch_size: number of prompts that are answered together.
        label: name of the progress bar.

    Raises:
        BadInput: the base's files name an end of answers that is no token.
        PerpetuneError: the architecture does not generate.
    """
    codec = decoder.Codec.of(tokenizer)
    timed: dict[int, tuple[float, int]] = {}

    def answered(batch: Sequence[int], seconds: float) -> None:
        timed.update(dict.fromkeys(batch, (seconds, len(batch))))
        bar.update(len(batch))

    try:
        with tqdm(
            total=len(prompts), desc=label, unit="answer", disable=None, file=sys.stderr
        ) as bar:
            generated = decoder.generate(
                model,
                codec,
                prompts,
                max_new_tokens=max_new_tokens,
                batch_size=batch_size,
                done=answered,
            )
    except decoder.BadEnds as error:
        raise BadInput(f"base.model: {error}") from None
    except decoder.GENERATION_ERRORS as error:
        kind = type(decoder.inner_model(model)).__name__
        raise PerpetuneError(f"{label}: {kind} does not generate ({error})") from error
    return [
        Answer(codec.read(ids), codec.answer_length(ids), *timed[i])
        for i, ids in enumerate(generated)
    ]
