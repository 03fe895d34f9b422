"""New traffic: is it still what the champion was trained on? If not, the next round starts.

    perpetune watch                  # every window that was not checked yet
    perpetune watch --retrain        # and retrain at once, without a platform

A drifted window's labelled records join the data (half of them as a benchmark), the new version of
`data/` is recorded with DVC, and a `drift.detected` event is emitted. On the platform that event
triggers the retrain deployment.
"""

import logging
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from flows.data import DATA, POINTER
from flows.results import Watched, WindowCheck
from flows.retrain import retrain
from tasks.collect import adopt_window, write_pointer
from tasks.core import files
from tasks.core.errors import Refused
from tasks.drift import detect
from tasks.records import expand
from tasks.registry import Registry
from tasks.rendering.markdown import one_line
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)


@flow(name="watch")
def watch(
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    model: str | None = None,
    windows: list[str] | None = None,
    retrain_here: bool = False,
    auto_approve: bool = False,
) -> Watched:
    """Check every window of traffic that was not checked yet, up to the first that drifted.

    It stops at a drifted window: the next run compares later windows with the champion that the
    answer to this one brings.

    Args:
        params: the settings file.
        overrides: `section.key=value` settings that go before the file's.
        model: of `models/MODEL.yaml`; None: the project's default model.
        windows: files to check instead of those in `watch.traffic`.
        retrain_here: answer drift with a round in this process instead of an event.
        auto_approve: passed on to that round.

    Raises:
        Refused: there is no champion to compare with, or too few labelled records to retrain on.
    """
    settings = load_settings(Path(params), overrides or [], model)
    reference = _champions_reference(settings)
    checks: list[WindowCheck] = []
    for window in expand(windows or [settings.watch.traffic]):
        result_path = _result_path(settings, window)
        if result_path.is_file() and not windows:
            continue
        result = check(settings, reference, window, result_path.parent)
        checks.append(result)
        outcome = None
        if result.drift:
            reason = handle_drift(settings, window, result)
            if retrain_here:
                outcome = retrain(params, overrides, model, reason, auto_approve)
        files.write_json(result_path, result.to_json())  # last: a window is checked until answered
        if result.drift:
            return Watched(windows=tuple(checks), retrain=outcome)
    return Watched(windows=tuple(checks), retrain=None)


@task(name="check", task_run_name="check {window.name}")
def check(settings: Settings, reference: Path, window: Path, out: Path) -> WindowCheck:
    """One window against the champion's reference, with a report to look at."""
    report = out / "report.html"
    found = detect(reference, window, settings, report=report)
    result = WindowCheck(window=str(window), report=str(report), **dict(found))
    log.info(
        "%s: %s (p = %.4g, alpha = %s)",
        window.name,
        "DRIFT" if result.drift else "no drift",
        result.p_value,
        result.alpha,
    )
    create_markdown_artifact(_as_markdown(result), key="drift", description=window.name)
    return result


@task(name="handle drift", task_run_name="handle drift in {window.name}")
def handle_drift(settings: Settings, window: Path, result: WindowCheck) -> str:
    """Adopt the window's labelled records, record the data's version, and emit the event.

    Returns:
        The reason of the round that answers.

    Raises:
        Refused: the window has too few labelled records.
    """
    adopted = adopt_window(window, settings)
    if POINTER.is_file():
        write_pointer(DATA, POINTER)
    reason = f"drift in {one_line(window.stem)} (p = {result.p_value:.4g})"
    log.info("%d labelled records of %s joined the data", adopted.labelled, window.name)
    emit_event(
        event="drift.detected",
        resource={"prefect.resource.id": f"model.{settings.project.name}"},
        payload={"reason": reason, "window": str(window), "p_value": result.p_value},
    )
    return reason


def _champions_reference(settings: Settings) -> Path:
    registry = Registry(settings)
    champion = registry.versions.champion()
    if champion is None:
        raise Refused(
            f"{settings.project.name} has no champion to compare traffic with: "
            "run `perpetune run`, then `perpetune approve VERSION --by NAME`"
        )
    return registry.versions.artifact(champion.number, "reference.jsonl")


def _result_path(settings: Settings, window: Path) -> Path:
    """Where the result of a window is kept, whose content may change under one name."""
    folder = f"{window.stem}-{files.md5(window)[:8]}"
    return settings.project.model_dir / "watch" / settings.project.name / folder / "result.json"


def _as_markdown(result: WindowCheck) -> str:
    rows = "\n".join(
        f"| {test.name} | {test.statistic:.4g} | {test.p_value:.4g} | {test.threshold:.4g} |"
        for test in result.tests
    )
    word = "Drift" if result.drift else "No drift"
    return (
        f"## {word}: p = {result.p_value:.4g}, alpha = {result.alpha}\n\n"
        f"| Test | Statistic | p | Threshold |\n|---|---|---|---|\n{rows}\n"
    )
