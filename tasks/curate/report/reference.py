"""The page of all reasons, made of what steps and filters declare.

python -m tasks.curate.report.reference docs/reference/curation-reasons.md
"""

import sys
from pathlib import Path

from markupsafe import Markup

from tasks.core import files
from tasks.curate.run.steps import STEPS
from tasks.rendering.templates import render


def reasons_page() -> str:
    """`docs/reference/curation-reasons.md`: the steps in order, and the reasons of each."""
    return render(__package__ or "", "reasons.md.j2", steps=STEPS, code=_code)


def _code(name: str) -> Markup:
    """A name of ours in a code span, where nothing is escaped."""
    return Markup(f"`{name}`")  # noqa: S704 (no name is of a user)


if __name__ == "__main__":
    files.write_text(Path(sys.argv[1]), reasons_page())
