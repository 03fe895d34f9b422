"""What people see of a verdict: the table, the plot, the review sheet and the model card."""

from pathlib import Path

from tasks.evaluate.gates import Measured
from tasks.evaluate.pages import plot, sheet
from tasks.evaluate.results import Verdict


def write(measured: Measured, verdict: Verdict, out: Path) -> None:
    """Write `metrics.png`, `review.html` and `review.md` into `out`."""
    plot.write(verdict, out / "metrics.png", measured.settings)
    sheet.write(measured, verdict, out)
