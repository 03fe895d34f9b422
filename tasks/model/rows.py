"""Sequences one a row, filled up on the right, as every causal model of transformers reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def padded(
    rows: Sequence[Sequence[int]], device: torch.device, *, width: int | None = None
) -> torch.Tensor:
    """Rows of unequal length as one table [rows, longest], filled up with zeros on the right."""
    table = torch.zeros((len(rows), width or max(map(len, rows))), dtype=torch.long)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    return table.to(device)


def asked_logits(model: Any, inputs: Mapping[str, Any], asked: torch.Tensor) -> torch.Tensor:
    """Logits at the positions that `asked` marks, row after row: [T, vocabulary].

    Args:
        model: a causal language model of transformers, with an adapter or without.
        inputs: keywords for its forward; no attention mask, since causal attention never looks at
            what fills up.
        asked: [rows, width], true where logits are wanted.
    """
    logits: torch.Tensor = model(**inputs, logits_to_keep=asked, use_cache=False).logits
    # Some architectures know no `logits_to_keep`, and give the logits of every position.
    return logits[asked] if logits.dim() == 3 else logits
