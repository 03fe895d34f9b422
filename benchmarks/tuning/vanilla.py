"""Validation loss of adapters by one measure: vanilla transformers and peft, in float32.

Not a padded token, not a line of ours but the ids: each example alone, the mean over all targets of
the cross-entropy in nats. A job names `base`, `adapters` (name → folder) and `files` (name → JSONL
as `examples.py` writes it for a peer).
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.tuning.process import Result, answer


def losses(job: Result) -> Result:
    """For each adapter and each file, the loss."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    device = torch.device(job.get("device", "cpu"))
    found: Result = {}
    for name, folder in job["adapters"].items():
        base = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32)
        model = PeftModel.from_pretrained(base, folder).to(device).eval()
        found[name] = {label: _loss(model, path, device) for label, path in job["files"].items()}
    return found


def _loss(model: Any, path: str, device: Any) -> float:
    import torch

    total, count = 0.0, 0
    with Path(path).open(encoding="utf-8") as lines, torch.inference_mode():
        for row in map(json.loads, lines):
            ids = torch.tensor([row["ours"]], device=device)
            asked = torch.tensor(row["learned"][1:], device=device).nonzero()[:, 0]
            logits = model(input_ids=ids).logits[0, asked]
            targets = ids[0, asked + 1]
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            count += len(targets)
    return total / count


if __name__ == "__main__":
    answer(losses)
