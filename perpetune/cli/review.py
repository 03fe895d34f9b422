"""The command that records what a person has marked on a review sheet."""

from datetime import UTC, datetime
from pathlib import Path

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.evaluate import show_review


@command("review")
@click.argument("version", type=int)
@click.option(
    "--marks", type=PATH, required=True, metavar="FILE", help="What the review sheet exported."
)
@click.option("--by", required=True, metavar="NAME", help="Who marked; recorded.")
@click.option("--comment", default="", help="What else to say; recorded.")
def review(context: Context, version: int, marks: Path, by: str, comment: str) -> Outcome:
    """Record a person's blind marks on VERSION.

    FILE is what its review sheet exports. Several people may review one version.
    """
    from tasks.decisions import Review
    from tasks.evaluate import KEY_FILE, count_marks
    from tasks.registry import Registry

    registry = Registry(context.settings)
    counts = count_marks(marks, registry.versions.artifact(version, f"evaluate/{KEY_FILE}"))
    found = Review(
        wins=counts.wins,
        ties=counts.ties,
        losses=counts.losses,
        p_value=counts.p_value,
        by=by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        marks=counts.marks,
        comment=comment,
    )
    registry.review(version, found, marks.read_bytes())
    said = {"version": version, "by": by, "at": found.at, "sentence": counts.sentence}
    return Outcome(said | counts.to_json(), show_review)
