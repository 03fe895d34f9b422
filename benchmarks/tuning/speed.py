"""How fast one training run is, beside TRL and beside the processor's limit.

    python -m benchmarks.tuning.speed                      # 12 steps, 3 rounds, all cores
    python -m benchmarks.tuning.speed --threads 1 --rounds 5 --only "TRL, defaults" ours

Every contender trains LoRA (r 16, alpha 32, all linear layers) by AdamW on the same examples in the
same order, 8 a step, with the same learning rates, in a process of its own. What counts is useful
tokens (those that are no padding) a second, over all steps but the first, which warms caches up,
and the last, which ours follows by an evaluation. Start-up (imports, loading, tokenising) is what
remains of the process's time, and is in a column of its own.

TRL, defaults   `SFTTrainer(model=FOLDER, ...)` as it comes: float32 weights, bfloat16 autocast,
                gradient checkpointing, batches padded to their longest example.
TRL, others     what makes it quicker: no checkpointing; bfloat16 weights; eager attention, which is
                quicker than SDPA for short sequences on some processors; no padding, by rows of
                several examples (`packing`, as long as a batch on average, so that its steps see as
                many examples) or one row of the batch (`padding_free`). The loss stays that of the
                completion alone. The quickest of them, by the median, counts as its best.
ours            `tasks.tune.train`, the library behind `perpetune train`. What examples begin with
                alike, as a system prompt, is computed once a pack; once more without that.
limit           the frozen layers' matrix products alone, forward and backward, the head for the
                targets only: `gemm.py`. Once more with the products of LoRA.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.tuning.examples import Material, prepare
from benchmarks.tuning.process import Result, call, cores, median, rounds, take_cores
from tasks.model.machine import compute_dtype
from tasks.settings import Settings, load_settings

OURS = "ours"
UNSHARED = "ours, nothing shared"
LIMITS = {"limit": False, "limit, with LoRA": True}
_QUICK = {"gradient_checkpointing": False}
_BF16 = {"model_init_kwargs": {"dtype": "bfloat16"}}
_EAGER = {"model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "eager"}}
_UNPADDED = {"padding_free": True, "max_length": None}
_FP32 = {"bf16": False}
PEERS: Mapping[str, dict[str, Any]] = {
    "TRL, defaults": {},
    "TRL, no checkpointing": _QUICK,
    "TRL, bf16 weights and autocast": _QUICK | _BF16,
    "TRL, bf16 weights": _QUICK | _BF16 | {"bf16": False},
    "TRL, bf16, eager": _QUICK | _EAGER,
    "TRL, bf16, padding_free": _QUICK | _BF16 | _UNPADDED,
    "TRL, bf16, padding_free, eager": _QUICK | _EAGER | _UNPADDED,
    "TRL, bf16, packing": _QUICK | _BF16 | {"packing": True},
    "TRL, fp32": _QUICK | _FP32,
    "TRL, fp32, padding_free": _QUICK | _FP32 | _UNPADDED,
    "TRL, fp32, packing": _QUICK | _FP32 | {"packing": True},
}
"""What each variant sets in `SFTConfig`; `packing` gets the length of its rows from the data."""
DEFAULTS = next(iter(PEERS))


def settings_for(steps: int, overrides: Sequence[str] = ()) -> Settings:
    """Those of `params.yaml`, with the run that every contender makes; `overrides` come last."""
    fixed = {
        "method": "{name: lora, rank: 16, alpha: 32, dropout: 0, target_modules: all-linear}",
        "learning_rate": 1e-3,
        "schedule": "linear",
        "batch_size": 8,
        "epochs": 1,
        "max_steps": steps,
        "source_weights": "{}",
        "evaluations": 1,
        "validation_examples": 1,
    }
    given = [f"tune.{key}={value}" for key, value in fixed.items()]
    return load_settings(Path("params.yaml"), [*given, *overrides])


def train_ours(material: Material, settings: Settings, threads: int | None, **more: Any) -> Result:
    """A run of ours; `more` goes into its job."""
    with tempfile.TemporaryDirectory(prefix="ours-") as out:
        job = {"data": material.folder, "out": out, "settings": settings.plain()} | more
        return _timed(call("ours", job, threads))


def train_peer(
    material: Material,
    settings: Settings,
    threads: int | None,
    arguments: Mapping[str, Any],
    **more: Any,
) -> Result:
    """A run of TRL with `arguments` for its `SFTConfig`; `more` goes into its job."""
    tune = settings.tune
    rate = tune.learning_rate
    arguments = dict(arguments)
    if arguments.get("packing"):
        mean = -(-sum(material.tokens) // len(material.tokens))
        arguments |= {"max_length": max(mean, material.longest), "per_device_train_batch_size": 1}
    with tempfile.TemporaryDirectory(prefix="trl-") as scratch:
        whole = {
            "scratch": scratch,
            "arguments": arguments,
            "rank": tune.method.rank,
            "alpha": tune.method.scaling_alpha,
            "target_modules": tune.method.target_modules,
            "batch_size": tune.batch_size,
            "learning_rate": rate,
            "warmup_share": tune.warmup_share,
            "weight_decay": tune.weight_decay,
            "max_gradient_norm": tune.max_gradient_norm,
            "seed": settings.project.seed,
            "nf4": settings.base.quantisation == "nf4",
            "device": "cpu",
        }
        return _timed(call("trl_run", material.plain() | whole | more, threads))


def limit(material: Material, settings: Settings, threads: int, with_lora: bool) -> Result:
    """The matrix products of such a run alone."""
    dtype = str(compute_dtype(settings.base)).removeprefix("torch.")
    rank = settings.tune.method.rank if with_lora else 0
    return call("gemm", material.plain() | {"rank": rank, "threads": threads, "dtype": dtype})


def contenders(
    material: Material, settings: Settings, threads: int, names: Sequence[str]
) -> dict[str, Callable[[], Result]]:
    """The contenders of these names, ready to run."""
    peers = {
        name: partial(train_peer, material, settings, threads, arguments, check=name == DEFAULTS)
        for name, arguments in PEERS.items()
    }
    limits = {
        name: partial(limit, material, settings, threads, lora) for name, lora in LIMITS.items()
    }
    every: dict[str, Callable[[], Result]] = {
        OURS: partial(train_ours, material, settings, threads),
        UNSHARED: partial(train_ours, material, settings, threads, shared=False),
        **peers,
        **limits,
    }
    return {name: every[name] for name in every if name in names}


def main() -> int:
    """Measure and print."""
    every = [OURS, UNSHARED, *PEERS, *LIMITS]
    parser = argparse.ArgumentParser(description="Speed of one training run beside its peers.")
    parser.add_argument("--data", type=Path, default=Path("artifacts/curated"))
    parser.add_argument("--steps", type=int, default=12, help="steps that count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    take_cores(given.threads)
    settings = settings_for(given.steps + 2, given.set)
    with tempfile.TemporaryDirectory(prefix="tuning-") as scratch:
        material = prepare(given.data, Path(scratch), settings)
        done, failed = rounds(
            contenders(material, settings, given.threads, given.only), given.rounds
        )
    result = {
        "machine": machine(given.threads),
        "steps": given.steps,
        "rounds": given.rounds,
        "tokens_a_step": sum(material.tokens) / len(material.tokens),
        "targets_a_step": sum(material.targets) / len(material.targets),
        "runs": done,
        "failed": failed,
        "table": table(done),
        "ratios": ratios(done),
    }
    print(json.dumps(result, indent=2) if given.json else shown(result))
    return 0


def table(done: Mapping[str, Sequence[Result]]) -> list[Result]:
    """Median, slowest and fastest of each contender."""
    return [
        {
            "name": name,
            "tokens_per_second": median(runs, "tokens_per_second"),
            "slowest": min(run["tokens_per_second"] for run in runs),
            "fastest": max(run["tokens_per_second"] for run in runs),
            "start_up_seconds": median(runs, "start_up_seconds") if name not in LIMITS else None,
            "loss": runs[-1].get("loss"),
        }
        for name, runs in done.items()
    ]


def ratios(done: Mapping[str, Sequence[Result]]) -> Result:
    """Ours to TRL's defaults, to the quickest of its variants, and to the limit."""
    rates = {name: median(runs, "tokens_per_second") for name, runs in done.items()}
    found: Result = {}
    best = max((name for name in rates if name in PEERS), key=rates.__getitem__, default=None)
    against = {"TRL, defaults": DEFAULTS, f"TRL at its best ({best})": best, "limit": "limit"}
    for label, name in against.items():
        if OURS in rates and name in rates:
            found[label] = rates[OURS] / rates[name]
            if UNSHARED in rates:
                found[f"{label}, nothing shared"] = rates[UNSHARED] / rates[name]
    return found


def machine(threads: int) -> Result:
    """What the figures were taken on."""
    packages = ("torch", "transformers", "peft", "trl")
    return {
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
    } | {name: version(name) for name in packages}


def shown(result: Result) -> str:
    """The result as Markdown."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in result["machine"].items()),
        f"{result['steps']} steps of {result['tokens_a_step']:.0f} useful tokens, "
        f"{result['targets_a_step']:.0f} of them learned; medians of {result['rounds']} "
        "alternating rounds",
        "",
        *shown_table(result),
    ]
    checks = result["runs"].get(DEFAULTS)
    if checks:
        check = checks[0]
        lines += [
            "",
            f"TRL reads {check['same_ids']} of {check['examples']} examples as our ids, "
            f"{check['same_targets']} with our targets",
        ]
        if "differs" in check:
            lines.append(f"tokens that only TRL learns: {check['differs']['only_they_learn']}")
    return "\n".join(lines)


def shown_table(result: Result) -> list[str]:
    """`table`, `failed` and `ratios` as lines of Markdown."""
    lines = [
        "| | useful tokens/s | slowest–fastest | start-up, s | mean loss |",
        "|---|---|---|---|---|",
    ]
    for line in result["table"]:
        start_up, loss = line["start_up_seconds"], line["loss"]
        lines.append(
            f"| {line['name']} | {line['tokens_per_second']:,.0f} "
            f"| {line['slowest']:,.0f}–{line['fastest']:,.0f} "
            f"| {'–' if start_up is None else f'{start_up:.1f}'} "
            f"| {'–' if loss is None else f'{loss:.3f}'} |"
        )
    lines += [
        f"| {name} | left out: {why.strip().splitlines()[-1]} | | | |"
        for name, why in result["failed"].items()
    ]
    return [*lines, "", *(f"ours / {name}: {each:.3g}" for name, each in result["ratios"].items())]


def _timed(result: Result) -> Result:
    return result | {"start_up_seconds": result["wall_seconds"] - result["steps_seconds"]}


def _processor() -> str:
    try:
        names = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
