"""One run and the sweep on a GPU, at the shapes of a model of 1.2 billion parameters.

    python -m benchmarks.tuning.gpu
    python -m benchmarks.tuning.gpu --precision nf4 --steps 40 --rounds 5

The model is a Llama of Llama 3.2 1B's shapes with random weights (speed does not ask what they
say), the records are random words; both are made in a temporary folder, which takes 2.5 GB. For
bfloat16 and for NF4 the contenders are those of `speed.py` and `sweep.py`. In one more run of ours
and of `--best` the profiler adds up the time of kernels between the end of the first step and that
of the last but one, and `nvidia-smi` is asked five times a second how busy the GPU is; peak memory
is that of PyTorch's allocator, loading included. A whole measurement takes an hour, most of it
start-up; `--only`, `--rounds` and `--peers` shorten it.
"""

import argparse
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.tuning import speed, sweep
from benchmarks.tuning.examples import prepare
from benchmarks.tuning.process import Result, rounds

SHAPES: dict[str, Any] = {
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128256,
}
"""Those of https://huggingface.co/meta-llama/Llama-3.2-1B"""
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 49152,
}
PRECISIONS = {"bf16": "null", "nf4": "nf4"}
VARIANTS = (
    speed.DEFAULTS,
    "TRL, no checkpointing",
    "TRL, bf16 weights and autocast",
    "TRL, bf16 weights",
    "TRL, bf16, packing",
    "TRL, bf16, padding_free",
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One run and the sweep on a GPU.")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers", type=int, default=8, help="runs of each peer's sweep; 0: no sweep"
    )
    parser.add_argument("--best", choices=speed.PEERS, default="TRL, bf16, packing")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="PEER")
    parser.add_argument("--words", type=int, default=180, help="mean words of a record")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    given = parser.parse_args()
    import torch

    if given.device != "cpu" and not torch.cuda.is_available():
        print("gpu: PyTorch finds no GPU here; run this where it does", file=sys.stderr)
        return 2
    result: Result = {"device": torch.cuda.get_device_name() if given.device != "cpu" else "cpu"}
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        scratch = Path(folder)
        make_model(scratch / "base", SHAPES if given.device != "cpu" else TINY, given.device)
        make_records(scratch / "data", 8 * (given.steps + 2), given.words)
        for precision in given.precision:
            overrides = [
                f"base.model={scratch / 'base'}",
                "base.dtype=bfloat16",
                f"base.quantisation={PRECISIONS[precision]}",
                f"project.state_dir={scratch / 'state'}",
                "tune.micro_batch_tokens=8192",
                "tune.max_length=1024",
            ]
            result[precision] = {"run": one_run(scratch, given, overrides)}
            if given.peers:
                result[precision]["sweep"] = sweep.race(
                    scratch / "data",
                    scratch / f"sweep-{precision}",
                    sweep.overrides_for(given.steps, 16, overrides),
                    {name: speed.PEERS[name] for name in {speed.DEFAULTS, given.best}},
                    peers=given.peers,
                    device=given.device,
                )
    result["machine"] = speed.machine(1)
    print(json.dumps(result, indent=2) if given.json else shown(result, given.precision))
    return 0


def one_run(scratch: Path, given: argparse.Namespace, overrides: Sequence[str]) -> Result:
    """The single run of `speed.py`, then once more of ours and the best under watch."""
    settings = speed.settings_for(given.steps + 2, overrides)
    material = prepare(scratch / "data", scratch / "run", settings)
    ways = {speed.OURS: partial(speed.train_ours, material, settings, None)}
    for name in dict.fromkeys([*given.only, given.best]):
        ways[name] = partial(
            speed.train_peer, material, settings, None, speed.PEERS[name], device=given.device
        )
    done, failed = rounds(ways, given.rounds)
    watched: Result = {}
    for name in (speed.OURS, given.best):
        if name in done:
            with utilisation() as busy:
                kernels = ways[name](profile=given.steps + 2)
            watched[name] = {
                "kernel_share": kernels.get("kernel_share", math.nan),
                "launched_a_step": kernels.get("launched", 0) / max(1, given.steps),
                "kernels": kernels.get("kernels", []),
                "utilisation": statistics.median(busy) if busy else None,
            }
    return {
        "tokens_a_step": sum(material.tokens) / len(material.tokens),
        "table": speed.table(done),
        "ratios": speed.ratios(done),
        "watched": watched,
        "peak_bytes": {name: max(run["peak_bytes"] for run in runs) for name, runs in done.items()},
        "failed": failed,
    }


def make_model(folder: Path, shapes: dict[str, Any], device: str) -> None:
    """A Llama with random bfloat16 weights and the tokenizer of the default base."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tasks.model import base_model

    tokenizer = base_model.load_tokenizer(speed.settings_for(1))
    config = LlamaConfig(
        **shapes,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    with torch.device(device):
        LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_records(folder: Path, count: int, words: int) -> None:
    """Chats of random words, a third of them the answer; 32 more to validate on."""
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(4000)]
    folder.mkdir()
    for name, number in (("train", count), ("validation", 32)):
        with (folder / f"{name}.jsonl").open("w") as file:
            for at in range(number):
                length = int(words * rng.uniform(0.4, 1.6))
                said = rng.choices(vocabulary, k=length)
                turns = {"user": said[length // 3 :], "assistant": said[: length // 3]}
                messages = [{"role": r, "content": " ".join(text)} for r, text in turns.items()]
                file.write(json.dumps({"id": f"{name}-{at}", "messages": messages}) + "\n")


@contextmanager
def utilisation() -> Iterator[list[float]]:
    """Per cent of the time in which a kernel ran, five times a second, where `nvidia-smi` is."""
    found: list[float] = []
    if not shutil.which("nvidia-smi"):
        yield found
        return
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms"]
    with subprocess.Popen([*asked, "200"], stdout=subprocess.PIPE, text=True) as watcher:
        try:
            yield found
        finally:
            watcher.terminate()
            said, _ = watcher.communicate()
            # What is zero was before and after the steps: imports, loading.
            found += [float(line) for line in said.split() if line.isdigit() and line != "0"]


def shown(result: Result, precisions: Sequence[str]) -> str:
    """The result as Markdown."""
    lines = [result["device"], ""]
    for precision in precisions:
        run: dict[str, Any] = result[precision]["run"]
        lines += [f"{precision}, {run['tokens_a_step']:,.0f} useful tokens a step", ""]
        lines += speed.shown_table(run)
        for name, each in run["watched"].items():
            lines.append(
                f"{name}: kernels {each['kernel_share']:.0%} of the time, "
                f"{each['launched_a_step']:,.0f} of them a step, busy "
                + ("not told" if each["utilisation"] is None else f"{each['utilisation']:.0f}%")
            )
        peaks = (f"{name} {each / 1e9:.2f} GB" for name, each in run["peak_bytes"].items())
        lines.append(f"peak memory: {', '.join(peaks)}")
        if "sweep" in result[precision]:
            raced: dict[str, Any] = result[precision]["sweep"]
            lanes = raced["table"][0]["lanes"] or "one"
            lines += ["", *sweep.shown_table(raced), "", f"trials in a pass: {lanes}"]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
