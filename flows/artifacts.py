"""What a round shows on its page in Prefect, so that the page alone tells the story.

    progress-NAME     the search, while it runs
    trials-NAME       every trial, when it is over; curves-NAME and heatmap-NAME their pictures
    verdict-NAME      gates, figures and diagnosis; metrics-NAME their picture
    alarms-NAME       the alarms that the round answers; timeline-NAME the looks behind them
    version-NAME, review-NAME, form-NAME    where to read on, and to decide
    round-NAME        why the round ran, and what came of it
    traffic-NAME      what a watch found of each window; timeline-NAME all looks as a picture

NAME is the model's; artifacts of one key are one history over all rounds. None of this can fail a
round: a picture that is not shown is logged.
"""

import base64
import contextvars
import functools
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

from flows.approval_text import verdict_text
from flows.results import Housekept, Links
from flows.server import no_answer
from tasks.core.errors import PerpetuneError, first_line
from tasks.evaluate import Verdict
from tasks.rendering.markdown import escape, one_line
from tasks.settings import Settings
from tasks.tune.sweep import SweepResult, Trial, selection_sentence
from tasks.watch import Alarm, History

log = logging.getLogger(__name__)

_PAUSE = 5.0  # seconds between two updates of the progress
_PATIENCE = 10.0  # seconds for the last of them
_LARGEST = 2_000_000  # bytes of a picture, which goes into Prefect's database
_P = ParamSpec("_P")


def key(name: str, settings: Settings) -> str:
    """The key of an artifact of a model: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{settings.project.name}".lower()).strip("-")


def _spared(show: Callable[_P, None]) -> Callable[_P, None]:
    """`show`, whose failure is logged: the work does not depend on what is shown of it."""

    @functools.wraps(show)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except _problems() as error:
            log.info("not shown on the run's page: %s", first_line(error))

    return run


def _problems() -> tuple[type[Exception], ...]:
    """What can happen on the way: in Prefect's client, its server, with a picture that is gone."""
    return (*no_answer(), PerpetuneError, OSError, ValueError)


@contextmanager
def following(settings: Settings) -> Iterator[Callable[[list[Trial]], None]]:
    """Show how far a search is, as an artifact that moves.

    Yields a function that takes all trials after each change. A thread writes: a server that does
    not answer must not hold up training.
    """
    progress = _Progress(key("progress", settings))
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(progress.run,), daemon=True
    )
    thread.start()
    try:
        yield progress.note
    finally:
        progress.over.set()
        thread.join(timeout=_PATIENCE)


class _Progress:
    """The newest state of a search, and the artifact that shows it."""

    def __init__(self, name: str) -> None:
        self.over = threading.Event()
        self._key = name
        self._artifact: Any = None
        self._newest: tuple[float, str] | None = None
        self._shown: tuple[float, str] | None = None

    def note(self, trials: Sequence[Trial]) -> None:
        """Take all trials as they are now."""
        done = sum(trial.state != "running" for trial in trials)
        losses = [t.validation_loss for t in trials if t.validation_loss is not None]
        text = f"{done} of {len(trials)} trials finished"
        if losses:
            text += f"; lowest validation loss {min(losses):.4g}"
        self._newest = (100 * done / max(len(trials), 1), text)

    def run(self) -> None:
        """Write what is new, every few seconds and at the end."""
        while not self.over.wait(_PAUSE):
            self._write()
        self._write()

    @_spared
    def _write(self) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        newest = self._newest
        if newest is None or newest == self._shown:
            return
        progress, text = newest
        if self._artifact is None:
            self._artifact = create_progress_artifact(progress, key=self._key, description=text)
        else:
            update_progress_artifact(self._artifact, progress=progress, description=text)
        self._shown = newest


@_spared
def show_sweep(settings: Settings, swept: SweepResult, folder: Path) -> None:
    """The table of trials, and the pictures of the search."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(
        [_row(trial, best=trial.number == swept.best.number) for trial in swept.trials],
        key=key("trials", settings),
        description=selection_sentence(swept.selection, swept.best.validation_loss),
    )
    show_picture(settings, "curves", folder / "curves.png", "Loss of every trial over its steps")
    show_picture(settings, "heatmap", folder / "heatmap.png", "Lowest validation loss by setting")


def _row(trial: Trial, *, best: bool) -> dict[str, Any]:
    loss = trial.validation_loss
    return {
        "trial": trial.number,
        "choice": "best" if best else "",
        **{one_line(name): one_line(str(value)) for name, value in trial.used_params.items()},
        "state": trial.state,
        "steps": trial.steps,
        "validation loss": None if loss is None else round(loss, 4),
        "seconds": round(trial.seconds, 1),
    }


@_spared
def show_verdict(settings: Settings, verdict: Verdict, folder: Path) -> None:
    """The verdict in words and figures, and their picture."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(
        f"# {verdict.outcome.value.capitalize()}\n\n{verdict_text(verdict)}",
        key=key("verdict", settings),
        description=f"The candidate beside the {verdict.reference}",
    )
    show_picture(settings, "metrics", folder / "metrics.png", "Metrics with their intervals")


@_spared
def show_picture(settings: Settings, name: str, path: Path, description: str) -> None:
    """A PNG file as an image; nothing where there is none, or it is very large."""
    from prefect.artifacts import create_image_artifact

    if not path.is_file() or path.stat().st_size > _LARGEST:
        return
    # Inside the page: a link to MLflow's server would ask another origin, which the page may not.
    data = base64.b64encode(path.read_bytes()).decode()
    create_image_artifact(
        f"data:image/png;base64,{data}", key=key(name, settings), description=description
    )


@_spared
def show_links(settings: Settings, links: Links) -> None:
    """Where to read on, and where to decide."""
    from prefect.artifacts import create_link_artifact

    pages = {"version": links.version, "review": links.review, "form": links.form}
    texts = {
        "version": "The version in MLflow",
        "review": "The review sheet in MLflow",
        "form": "The form that waits for a decision",
    }
    for name, url in pages.items():
        if url and url.startswith("http"):
            create_link_artifact(url, texts[name], key=key(name, settings))


@_spared
def show_alarms(settings: Settings, alarms: Sequence[Alarm]) -> None:
    """The alarms that a round answers: what drifted, and how sure that is."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(
        [
            {
                "alarm": alarm.id,
                "raised": alarm.at,
                "windows": escape(", ".join(alarm.windows)),
                "p": f"{alarm.p_value:.3g}",
                "alpha": f"{alarm.alpha:.3g}",
                "rows": alarm.rows,
                "labelled": alarm.labelled,
                "why": escape(alarm.reason),
            }
            for alarm in alarms
        ],
        key=key("alarms", settings),
        description="The alarms of the watch that this round answers",
    )


@_spared
def show_timeline(settings: Settings) -> None:
    """Every look at traffic as a picture: evidence, what was spent, alarms, promotions."""
    from tasks.watch import draw_history  # takes matplotlib

    picture = draw_history(settings, History(settings).folder / "timeline.png")
    if picture:
        show_picture(settings, "timeline", picture, "Every look: evidence, alpha spent, alarms")


@_spared
def show_story(settings: Settings, reason: str, lines: Sequence[str]) -> None:
    """Why a round ran, and what came of it: `lines` are Markdown."""
    from prefect.artifacts import create_markdown_artifact

    items = "\n".join(f"- {line}" for line in lines)
    create_markdown_artifact(
        f"# Round of {escape(settings.project.name)}\n\n"
        f"Why: {escape(one_line(reason))}\n\n{items}\n",
        key=key("round", settings),
        description="Why this round ran, and what came of it",
    )


@_spared
def show_housekeeping(settings: Settings, result: Housekept) -> None:
    """What the housekeeping did, part by part."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(
        [
            {"part": part.name, "done": "yes" if part.well else "failed", "what": escape(part.what)}
            for part in result.done
        ],
        key=key("housekeeping", settings),
        description="What was deleted, and what was saved",
    )


@_spared
def show_traffic(settings: Settings, found: str, timeline: Path | None) -> None:
    """What a watch found, as Markdown, and the picture of all looks so far."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(
        found,
        key=key("traffic", settings),
        description=f"New windows of traffic of {one_line(settings.project.name)}",
    )
    if timeline is not None:
        show_picture(settings, "timeline", timeline, "Every look: evidence, alpha spent, alarms")
