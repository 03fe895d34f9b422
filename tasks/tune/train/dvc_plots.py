"""The curves of a run as DVC plots them."""

from pathlib import Path

from tasks.core import files

CURVES = ("train_loss", "validation_loss", "learning_rate")


def write_plots(curve: Path, folder: Path) -> None:
    """Write a file for each curve: DVC wants the same fields in every row.

    Args:
        curve: a run's `curve.jsonl`; most of its steps have no validation loss.
        folder: where the files go: `train_loss.json` and so on, rows of `step` and the figure.
    """
    rows = files.read_jsonl(curve)
    for name in CURVES:
        points = [{"step": row["step"], name: row[name]} for row in rows if name in row]
        files.write_json(folder / f"{name}.json", points)
