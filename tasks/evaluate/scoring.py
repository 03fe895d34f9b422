"""Losses of a model on the reference answers."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from tqdm import tqdm

from tasks.model import decoder
from tasks.model.decoder import Beginning
from tasks.model.encoding import Example
from tasks.model.rows import asked_logits, padded

log = logging.getLogger(__name__)

WORST_LOSS = 1e4
"""Loss that counts for a token without a finite one: far worse than any working model's."""

_BATCH_TOKENS = 1024
_MOST_IN_CACHE = 8 * _BATCH_TOKENS
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
    see. Logits are computed at target positions only, their softmax in float32. A long beginning
    that examples share (examples before every question) is computed once, where the model gives the
    same losses so.
    """
    found = _at_targets(model, examples, _token_losses, label)
    broken = sum(int((~losses.isfinite()).sum()) for losses in found)
    if broken:
        total = sum(map(len, found))
        log.warning("%s: no finite loss on %d of %d tokens", label, broken, total)
    return found


@torch.inference_mode()
def token_confidences(
    model: Any, examples: Sequence[Example], *, label: str = "confidence"
) -> list[torch.Tensor]:
    """The probability of the likeliest token at every target position, whatever the target is.

    Of each example a float64 tensor [targets]; the maximum softmax probability of Hendrycks &
    Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples".
    """
    return _at_targets(model, examples, _top_probabilities, label)


_Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From logits [tokens, vocabulary] and targets [tokens] to a figure for each token."""


def _at_targets(
    model: Any, examples: Sequence[Example], measure: _Measure, label: str
) -> list[torch.Tensor]:
    found = [torch.empty(0)] * len(examples)
    with tqdm(total=len(examples), desc=label, unit="ex", disable=None, file=sys.stderr) as bar:
        for beginning, members in _planned(model, examples):
            for batch in _batches([examples[i] for i in members], beginning.length):
                chosen = [members[i] for i in batch]
                rows = [examples[i] for i in chosen]
                parts = _measure_batch(model, rows, beginning, measure)
                for i, part in zip(chosen, parts, strict=True):
                    found[i] = part
                bar.update(len(batch))
    return found


def _planned(model: Any, examples: Sequence[Example]) -> list[tuple[Beginning, list[int]]]:
    """Which examples are computed behind which beginning."""

    def gives_the_same(i: int, beginning: Beginning) -> bool:
        whole, behind = (
            _measure_batch(model, [examples[i]], start, _token_losses)[0]
            for start in (Beginning(), beginning)
        )
        exact = model.dtype in (torch.float32, torch.float64)
        return bool((whole - behind).abs().max() <= (1e-3 if exact else 0.25))

    # A token has to stand behind the beginning before the first that counts.
    most = [example.learned.index(True) - 1 for example in examples]
    rows = [example.input_ids for example in examples]
    return decoder.beginnings(model, rows, most, gives_the_same)


def _measure_batch(
    model: Any, rows: Sequence[Example], beginning: Beginning, measure: _Measure
) -> tuple[torch.Tensor, ...]:
    """The figures of each row's target tokens."""
    device = next(model.parameters()).device
    start = beginning.length
    ids = padded([row.input_ids[start:] for row in rows], device)
    # The logits at position i predict token i + 1.
    learned = [row.learned[start + 1 :] for row in rows]
    predicts = padded(learned, device, width=ids.shape[1]).bool()
    kept = functional.pad(predicts, (_prompt_length(model), 0))
    logits = asked_logits(model, {"input_ids": ids, **beginning.inputs(len(rows))}, kept)
    figures = measure(logits, ids.roll(-1, dims=1)[predicts]).double().cpu()
    parts: tuple[torch.Tensor, ...] = figures.split([row.targets for row in rows])
    return parts


def _prompt_length(model: Any) -> int:
    """Number of virtual tokens before each row, if the model gives logits for them."""
    if not _is_prompt_learning(model) or model.active_peft_config.peft_type == "PREFIX_TUNING":
        return 0
    return int(model.active_peft_config.num_virtual_tokens)


def _is_prompt_learning(model: Any) -> bool:
    """Whether an adapter puts virtual tokens before each row."""
    return isinstance(model, PeftModel) and bool(model.active_peft_config.is_prompt_learning)


def _token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # In parts: the float32 copy of all logits would be the largest thing in memory.
    pairs = zip(logits.split(_LOGITS_AT_ONCE), targets.split(_LOGITS_AT_ONCE), strict=True)
    return torch.cat([functional.cross_entropy(x.float(), y, reduction="none") for x, y in pairs])


def _top_probabilities(logits: torch.Tensor, _targets: torch.Tensor) -> torch.Tensor:
    parts = [x.float().softmax(dim=-1).amax(dim=-1) for x in logits.split(_LOGITS_AT_ONCE)]
    return torch.cat(parts)


def _batches(examples: Sequence[Example], computed: int) -> Iterator[list[int]]:
    """Indices of examples that are computed together; `computed` tokens of each are there."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
    batch: list[int] = []
    for i in order:
        length, rows = len(examples[i].input_ids), len(batch) + 1
        full = rows * (length - computed) > _BATCH_TOKENS or rows * length > _MOST_IN_CACHE
        if full and batch:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
