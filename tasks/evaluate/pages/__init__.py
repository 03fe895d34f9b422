"""What people see of a verdict: the table, the plot, the review sheet and the model card."""

from pathlib import Path

from tasks.core import files
from tasks.evaluate.diagnosis import Course
from tasks.evaluate.gates import Measured
from tasks.evaluate.pages import course as curves
from tasks.evaluate.pages import plot, sheet
from tasks.evaluate.results import Verdict

COURSE_FILE = "training.svg"


def write(measured: Measured, verdict: Verdict, course: Course | None, out: Path) -> None:
    """Write the pictures and pages of a verdict into `out`.

    `metrics.png`, `review.html`, `review.md`, the data behind them (`review_key.json`,
    `review_table.json`) and, where the course of the training is known, `training.svg`.
    """
    plot.write(verdict, out / "metrics.png", measured.settings)
    drawn = ""
    if course is not None and course.steps:
        files.write_text(out / COURSE_FILE, curves.draw(course, alone=True))
        drawn = curves.draw(course)
    sheet.write(measured, verdict, drawn, out)
