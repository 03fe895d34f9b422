"""Predicted against measured peak memory and time of training, for every method.

    python -m benchmarks.tuning.memory [METHOD…]      # writes benchmarks/tuning/memory.md

Predictions are those of `perpetune plan`. Each method trains in a fresh process, a few steps of the
real base model on the default's data (`artifacts/curated`, from `make run` or `dvc repro curate`),
with two threads. Memory is what is resident in the process, by the kernel's own high-water mark,
reset when the model is loaded; on an accelerator, what PyTorch allocated there. Time is that of the
steps and of one evaluation; predictions rest on some seconds of LoRA, timed in another process.

The allocator's share of predicted memory, 30 % of what passes use, was fitted on such runs, on a
processor with bfloat16 and on one without; all else follows from shapes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path("artifacts/curated")
REPORT = Path(__file__).with_name("memory.md")
STEPS = 3


RUN = [f"tune.max_steps={STEPS}", "tune.evaluations=1", "tune.validation_examples=8"]


def predict() -> dict[str, Any]:
    """What `perpetune plan` says of this machine, and of the seconds of each method."""
    import torch

    from tasks.settings import load_settings
    from tasks.tune.plan import plan

    torch.set_num_threads(2)
    found = plan(DATA, load_settings(overrides=RUN))
    seconds = {method.method: method.seconds for method in found.methods}
    return {"machine": found.machine.to_json(), "seconds": seconds}


def measure(method: str) -> dict[str, float]:
    """One run of `method`, in this process."""
    import torch

    from tasks.settings import load_settings
    from tasks.tune.plan.arithmetic import predict_run
    from tasks.tune.plan.machine import measured_peak
    from tasks.tune.train import TrialRun, trainer

    torch.set_num_threads(2)
    settings = load_settings(overrides=[f"tune.method.name={method}", *RUN])
    prepared = trainer.prepare(DATA, settings)
    predicted = predict_run(prepared.base, prepared.train, settings)
    with tempfile.TemporaryDirectory() as out, measured_peak(prepared.base.device) as peak:
        began = time.perf_counter()
        trainer.train_runs(prepared, [TrialRun(Path(out), settings)])
        seconds = time.perf_counter() - began
    return {
        "predicted": predicted.total,
        "measured": peak.measured_bytes or 0,
        "seconds": seconds,
        **predicted.parts,
    }


def main() -> None:
    """Run every method, or those that are named, and write the table."""
    from tasks.tune.methods import METHODS

    plan = _alone("--plan")
    rows = []
    for method in sys.argv[1:] or METHODS.members():
        try:
            found = _alone("--one", method)
        except subprocess.CalledProcessError:
            print(f"{method}: failed", file=sys.stderr)
            continue
        bytes_off = found["predicted"] / found["measured"] - 1
        seconds = plan["seconds"][method]
        rows.append(
            f"| {method} | {found['predicted'] / 1e6:,.0f} | {found['measured'] / 1e6:,.0f} "
            f"| {bytes_off:+.1%} | {found['runtime'] / 1e6:,.0f} | {seconds:.1f} "
            f"| {found['seconds']:.1f} | {seconds / found['seconds'] - 1:+.0%} |"
        )
        print(rows[-1], file=sys.stderr)
    head = [
        "| method | predicted, MB | measured, MB | error | of it runtime "
        "| predicted, s | measured, s | error |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    table = "\n".join([*head, *rows])
    print(table)
    machine = plan["machine"]
    where = f"{machine['cores']} cores, {machine['accelerator'] or 'no GPU'}, {machine['dtype']}"
    if len(sys.argv) == 1:
        REPORT.write_text(
            f"# Memory and time: predicted and measured\n\n{__doc__}\n{where}:\n\n{table}\n"
        )


def _alone(*arguments: str) -> dict[str, Any]:
    """What this script says in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.tuning.memory", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    elif sys.argv[1:2] == ["--plan"]:
        print(json.dumps(predict()))
    else:
        main()
