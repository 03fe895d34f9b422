"""Predicted against measured peak memory of training, for every method.

    python -m benchmarks.tuning.memory [METHOD…]      # writes benchmarks/tuning/memory.md

Each method trains in a fresh process, a few steps of the real base model on the default's data
(`artifacts/curated`, from `make run` or `dvc repro curate`), with two threads. What is measured is
the memory resident in the process, by the kernel's own high-water mark, reset when the model is
loaded; on an accelerator, what PyTorch allocated there.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path("artifacts/curated")
REPORT = Path(__file__).with_name("memory.md")
STEPS = 3


def measure(method: str) -> dict[str, float]:
    """One run of `method`, in this process."""
    import torch

    from tasks.settings import load_settings
    from tasks.tune import memory, training

    torch.set_num_threads(2)
    settings = load_settings(
        overrides=[
            f"tune.method={method}",
            f"tune.max_steps={STEPS}",
            "tune.evaluations=1",
            "tune.validation_examples=8",
        ]
    )
    prepared = training.prepare(DATA, settings)
    predicted = memory.of_run(prepared.base, prepared.train, settings)
    with tempfile.TemporaryDirectory() as out, memory.measured_peak(prepared.base.device) as peak:
        training.run(prepared, Path(out), settings)
    return {
        "predicted": predicted.total,
        "measured": peak.measured_bytes or 0,
        **predicted.parts,
    }


def main() -> None:
    """Run every method, or those that are named, and write the table."""
    from tasks.tune.methods import METHODS

    rows = []
    for method in sys.argv[1:] or METHODS:
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.tuning.memory", "--one", method],
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
        if run.returncode:
            print(f"{method}: failed", file=sys.stderr)
            continue
        found = json.loads(run.stdout.splitlines()[-1])
        error = found["predicted"] / found["measured"] - 1
        rows.append(
            f"| {method} | {found['predicted'] / 1e6:,.0f} | {found['measured'] / 1e6:,.0f} "
            f"| {error:+.1%} | {found['runtime'] / 1e6:,.0f} |"
        )
        print(rows[-1], file=sys.stderr)
    head = [
        "| method | predicted, MB | measured, MB | error | of it runtime |",
        "|---|--:|--:|--:|--:|",
    ]
    table = "\n".join([*head, *rows])
    print(table)
    if len(sys.argv) == 1:
        REPORT.write_text(f"# Memory: predicted and measured\n\n{__doc__.strip()}\n\n{table}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main()
