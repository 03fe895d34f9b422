"""The limit of LoRA training: the frozen layers' matrix products alone, at the model's shapes.

    python -m benchmarks.tuning.gemm --threads 2 --tokens 544 --targets 104

Forward `x Wᵀ` and backward `g W` of each linear layer, each with weights of its own as in the
model, so that they come from memory as they do there; the head for the targets alone. With a rank,
also the six products of LoRA in each layer. Buffers are allocated beforehand; no attention, norm,
activation, loss or optimiser. The rows of a step go through together, with all threads in each
product, or in equal parts, with a thread for each: the quicker of the two is the limit.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.tuning.process import Result, call

_LAYOUTS = ("together", "apart")
_SECONDS = 4.0


def limit(job: Result) -> Result:
    """The quicker layout: a process for each, as the number of threads is set when one begins."""
    threads = job["threads"]
    layouts = _LAYOUTS if threads > 1 else _LAYOUTS[:1]
    results = [
        call("gemm", job | {"layout": layout}, threads if layout == "together" else 1)
        for layout in layouts
    ]
    return max(results, key=lambda result: float(result["tokens_per_second"]))


def measure(job: Result) -> Result:
    """Tokens a second of one layout, over the steps between the first and the last."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(job["base"])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    shapes = [
        tuple(module.weight.shape)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    dtype = getattr(torch, job["dtype"])
    parts = job["threads"] if job["layout"] == "apart" else 1
    steps = list(zip(job["tokens"], job["targets"], strict=True))[1:-1] or [
        (job["tokens"][0], job["targets"][0])
    ]
    torch.manual_seed(0)
    weights = [torch.randn(shape, dtype=dtype) * 0.02 for shape in [*shapes, head.weight.shape]]
    rank = job["rank"]
    loras = [
        (torch.randn(rank, wide, dtype=dtype) * 0.02, torch.randn(out, rank, dtype=dtype) * 0.02)
        for out, wide in shapes
        if rank
    ]
    rows = -(-max(max(step) for step in steps) // parts)
    sizes = {size for shape in shapes for size in shape} | set(head.weight.shape)

    def buffers() -> dict[int, tuple[Any, Any]]:
        return {
            size: (torch.randn(rows, size, dtype=dtype), torch.empty(rows, size, dtype=dtype))
            for size in sizes
        }

    own = [buffers() for _ in range(parts)]

    def part(number: int, count: int, asked: int) -> int:
        space, done = own[number], 0
        for at, weight in enumerate(weights):
            out, wide = weight.shape
            used = asked if at == len(weights) - 1 else count
            (x, grad_x), (grad, y) = (_cut(space[size], used) for size in (wide, out))
            torch.mm(x, weight.T, out=y)
            torch.mm(grad, weight, out=grad_x)
            done += 4 * used * out * wide
            if at < len(loras):
                down, up = loras[at]
                small = x @ down.T
                torch.mm(small, up.T, out=y)
                small_grad = grad @ up
                torch.mm(small_grad, down, out=grad_x)
                grad.T @ small
                small_grad.T @ x
                done += 6 * used * rank * (out + wide)
        return done

    def step(pool: ThreadPoolExecutor, tokens: int, targets: int) -> int:
        share, asked = -(-tokens // parts), -(-targets // parts)
        if parts == 1:
            return part(0, share, asked)
        return sum(pool.map(lambda number: part(number, share, asked), range(parts)))

    with torch.inference_mode(), ThreadPoolExecutor(parts) as pool:
        step(pool, *steps[0])
        done = tokens = 0
        began = time.perf_counter()
        while time.perf_counter() - began < _SECONDS:
            for each in steps:
                done += step(pool, *each)
                tokens += each[0]
        seconds = time.perf_counter() - began
    return {
        "layout": job["layout"],
        "tokens_per_second": tokens / seconds,
        "gflop_a_token": done / tokens / 1e9,
        "gflops": done / seconds / 1e9,
    }


def _cut(pair: tuple[Any, Any], rows: int) -> tuple[Any, Any]:
    return pair[0][:rows], pair[1][:rows]


def main() -> int:
    """Measure the default base model, or do a job given on stdin."""
    parser = argparse.ArgumentParser(description="The matrix products of LoRA training alone.")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokens", type=int, default=544, help="of a step")
    parser.add_argument("--targets", type=int, default=104, help="of a step")
    parser.add_argument("--rank", type=int, default=0)
    given = parser.parse_args()
    if given.job:
        job = json.load(sys.stdin)
        print(json.dumps(measure(job) if "layout" in job else limit(job)))
        return 0
    from tasks.model import base_source, machine
    from tasks.settings import load_settings

    settings = load_settings(Path("params.yaml"), [])
    job = {
        "base": str(base_source.locate(settings)),
        "dtype": str(machine.compute_dtype(settings.base)).removeprefix("torch."),
        "tokens": [given.tokens],
        "targets": [given.targets],
        "rank": given.rank,
        "threads": given.threads,
    }
    print(json.dumps(limit(job), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
