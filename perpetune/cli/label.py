"""The command that hands rows of traffic out to people, and takes their answers back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.label import show_handed_out, show_taken
from tasks.core.errors import BadInput
from tasks.label import FILE_FORMS

if TYPE_CHECKING:
    from tasks.label import Known, Taken
    from tasks.settings import Settings

_FORMS = sorted(FILE_FORMS.members())


@command("label")
@click.argument("windows", nargs=-1, type=PATH)
@click.option("--budget", type=int, metavar="N", help="Write the N rows most worth an answer.")
@click.option("--format", "form", type=click.Choice(_FORMS), default="jsonl", show_default=True,
              help="Form of that file.")  # fmt: skip
@click.option("--out", type=PATH, metavar="FILE", help="That file; by default to-label.jsonl.")
@click.option("--take", "taken", type=PATH, multiple=True, metavar="FILE",
              help="Take a filled-in file back; repeatable.")  # fmt: skip
def label(
    context: Context,
    windows: tuple[Path, ...],
    budget: int | None,
    form: str,
    out: Path | None,
    taken: tuple[Path, ...],
) -> Outcome:
    """Choose rows for people to answer, and take answers back.

    The rows are those of WINDOWS; without any, of the windows that drifted and wait for a round, or
    of all traffic where none does. With --take, answers join the windows that their rows are from.
    """
    if taken and (budget is not None or windows or out):
        raise BadInput("--take stands alone: it knows the windows by the rows in FILE")
    if taken:
        return Outcome(_take(context, taken), show_taken)
    if budget is None:
        raise BadInput("give --budget N to choose rows, or --take FILE to take answers back")
    from tasks.label import hand_out
    from tasks.records import expand

    settings = context.settings
    out = out or Path("to-label").with_suffix(FILE_FORMS.get(form).suffix)
    found = expand(windows or _waiting(settings))
    handed_out = hand_out(found, budget, form, out, _champion(context), settings)
    return Outcome(handed_out, show_handed_out)


def _waiting(settings: "Settings") -> list[str]:
    """The windows of alarms without an answer; all traffic where there is none."""
    from tasks.watch import Window, pending

    alarms = pending(settings)
    names = dict.fromkeys(name for alarm in alarms for name in alarm.windows)
    paths = [Window.named(name).path for name in names]
    return [str(path) for path in paths if path.exists()] or [settings.watch.traffic]


def _take(context: Context, paths: tuple[Path, ...]) -> "Taken":
    from flows.data import DATA, POINTER
    from tasks.collect import recorded_version, write_pointer
    from tasks.label import labels_folder, take

    taken = take(paths, context.settings, _champion(context).adapter)
    if POINTER.is_file() and labels_folder(context.settings).is_relative_to(DATA):
        write_pointer(DATA, POINTER)
        return taken.model_copy(update={"data_version": recorded_version(POINTER)})
    return taken


def _champion(context: Context) -> "Known":
    from tasks.label import Known
    from tasks.registry import Registry

    versions = Registry(context.settings).versions
    champion = versions.champion()
    if champion is None:
        return Known()
    return Known(
        adapter=versions.adapter(f"models:/{context.settings.project.name}/{champion.number}"),
        reference=versions.artifact(champion.number, "reference.jsonl"),
    )
