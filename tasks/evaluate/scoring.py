"""Losses of a model on the reference answers."""

import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from tqdm import tqdm

from tasks.model.encoding import Example
from tasks.model.rows import asked_logits, padded

log = logging.getLogger(__name__)

WORST_LOSS = 1e4
"""Loss that counts for a token without a finite one: far worse than any working model's."""

_BATCH_TOKENS = 1024
_LOGITS_AT_ONCE = 256


def negative_log_likelihoods(
    model: Any, examples: Sequence[Example], *, label: str = "loss"
) -> list[float]:
    """−log p(answer | prompt) of each example in nats: the sum over its target tokens.

    A token without a finite loss counts as `WORST_LOSS`.
    """
    return [summed(losses) for losses in token_losses(model, examples, label=label)]


def summed(losses: torch.Tensor) -> float:
    """The sum over an example's tokens; one without a finite loss counts as `WORST_LOSS`."""
    return float(losses.where(losses.isfinite(), WORST_LOSS).sum())


@torch.inference_mode()
def token_losses(
    model: Any, examples: Sequence[Example], *, label: str = "loss"
) -> list[torch.Tensor]:
    """−log p of every target token in nats: for each example a float64 tensor [targets].

    Batches hold sequences of similar length, padded on the right, which causal attention does not
    see. Logits are computed at target positions only, their softmax in float32.
    """
    device = next(model.parameters()).device
    prompt = _prompt_length(model)
    found = [torch.empty(0)] * len(examples)
    with tqdm(total=len(examples), desc=label, unit="ex", disable=None, file=sys.stderr) as bar:
        for batch in _batches(examples):
            rows = [examples[i] for i in batch]
            ids = padded([row.input_ids for row in rows], device)
            # The logits at position i predict token i + 1.
            learned = [row.learned[1:] for row in rows]
            predicts = padded(learned, device, width=ids.shape[1]).bool()
            kept = functional.pad(predicts, (prompt, 0))
            logits = asked_logits(model, {"input_ids": ids}, kept)
            losses = _token_losses(logits, ids.roll(-1, dims=1)[predicts]).double().cpu()
            parts = losses.split([row.targets for row in rows])
            for i, part in zip(batch, parts, strict=True):
                found[i] = part
            bar.update(len(batch))
    broken = sum(int((~losses.isfinite()).sum()) for losses in found)
    if broken:
        total = sum(map(len, found))
        log.warning("%s: no finite loss on %d of %d tokens", label, broken, total)
    return found


def _prompt_length(model: Any) -> int:
    """Number of virtual tokens before each row, if the model gives logits for them."""
    if not isinstance(model, PeftModel):
        return 0
    config: Any = model.active_peft_config
    embedded = config.is_prompt_learning and config.peft_type != "PREFIX_TUNING"
    return config.num_virtual_tokens if embedded else 0


def _token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # In parts: the float32 copy of all logits would be the largest thing in memory.
    pairs = zip(logits.split(_LOGITS_AT_ONCE), targets.split(_LOGITS_AT_ONCE), strict=True)
    return torch.cat([functional.cross_entropy(x.float(), y, reduction="none") for x, y in pairs])


def _batches(examples: Sequence[Example]) -> Iterator[list[int]]:
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
    batch: list[int] = []
    for i in order:
        if (len(batch) + 1) * len(examples[i].input_ids) > _BATCH_TOKENS and batch:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
