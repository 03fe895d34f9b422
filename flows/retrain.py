"""The main job: curate → sweep → evaluate → register → ask for a decision.

    perpetune run                          # here and now
    prefect deployment run retrain/nightly # on the platform that `perpetune up` started

A round is named by a key of everything that decides its outcome (`flows.round`). Each step keeps
what it has done in a store of its own (DVC's cache, Optuna's study, the evaluations' folder, the
MLflow registry), so running the same round again goes on where it was interrupted and registers its
version once. A round that has its version already imports none of the code that trains.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.states import Completed

from flows.artifacts import show_alarms, show_links, show_story, show_timeline
from flows.data import CuratedData, curated_data
from flows.forms import Form, Request, tend_forms
from flows.recovery import alive, recover, resume
from flows.results import Links, Round, RoundData
from flows.round import RoundInputs, code_state, only_round
from flows.steps import step, tag_run, tries_at_first
from tasks.core import files
from tasks.decisions import AUTO_APPROVER, Version
from tasks.evaluate import Verdict
from tasks.registry import Registry
from tasks.rendering.markdown import escape, one_line
from tasks.settings import Settings, load_settings
from tasks.tune.sweep import SweepResult
from tasks.watch import answer, answered, pending

log = logging.getLogger(__name__)


@flow(
    name="retrain",
    flow_run_name="retrain: {reason}",
    on_crashed=[resume],
    # Its steps are tried again, each by itself; a flow that is run again would begin at the first.
    retries=0,
    persist_result=False,
)
def retrain(
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    model: str | None = None,
    reason: str = "on demand",
    auto_approve: bool = False,
    alarm: str | None = None,
) -> Round | None:
    """Bring a candidate to the registry and ask for a decision on it.

    Args:
        params: the settings file, relative to the project's folder.
        overrides: `section.key=value` settings that go before the file's.
        model: of `models/MODEL.yaml`; None: the project's default model.
        reason: why this round runs; shown to the reviewer.
        auto_approve: approve a candidate that passed its gates, for unattended demonstrations.
        alarm: of the watch, which this round answers; if it was answered before, the run ends.

    Returns:
        The round; None where the alarm was answered before.

    Raises:
        BadInput: the settings or the data cannot be used.
        PerpetuneError: another round runs here, or a step failed.
    """
    started = time.monotonic()
    settings = load_settings(Path(params), overrides or [], model or None)
    request = Request(settings, params, overrides or [], model or None)
    tag_run(f"model {settings.project.name}", f"reason {one_line(reason)[:60]}")
    with alive(settings):
        # Asked before waiting for a round that runs, and again after it has ended.
        if why := _answered(settings, alarm):
            return _done(None, why)
        with only_round(settings):
            if why := _answered(settings, alarm):
                return _done(None, why)
            result = _round(request, reason, auto_approve, started)
    show_links(settings, result.links)
    said = sentence(result)
    show_story(settings, reason, [escape(said)])
    return _done(result, said)


def _round(request: Request, reason: str, auto_approve: bool, started: float) -> Round:
    settings = request.settings
    prepare_step.with_options(retries=tries_at_first())(settings)
    code = code_state()  # before DVC writes its lock file
    alarms = pending(settings)  # windows that drift after the data was read are no part of it
    if alarms:
        show_alarms(settings, alarms)
        show_timeline(settings)
    data = curate_step(settings)
    inputs = RoundInputs(settings, data, reason, code, alarms)
    known = find_step(inputs)
    version = known or _make_candidate(inputs)
    forms = ask_step(request, version, auto_approve)
    result = _result(inputs, version, new=known is None, forms=forms, started=started)
    answer(settings, alarms, version.number, sentence(result))
    return result


def _answered(settings: Settings, alarm: str | None) -> str:
    """Why there is nothing to do about an alarm; nothing, if there is."""
    known = answered(settings, alarm) if alarm else None
    return f"The alarm {alarm} was answered before: {known.why}" if known else ""


def _done(result: Round | None, message: str) -> Round | None:
    # Prefect takes the message from the state, and gives the caller the data.
    return cast("Round | None", Completed(message=message, data=result))


@step("prepare", hours=0.25)
def prepare_step(settings: Settings) -> None:
    """See that what killed rounds left behind is put right, and that the decision log holds."""
    recover(settings)
    Registry(settings).reconcile()  # a log that does not hold is known before a day of training


@step("curate", hours=24)
def curate_step(settings: Settings) -> CuratedData:
    """Versioned data, curated."""
    data = curated_data(settings)
    log.info("curated: %s kept, %s dropped", data.counts.kept, data.counts.dropped)
    return data


@step("find", hours=0.25)
def find_step(inputs: RoundInputs) -> Version | None:
    """The version that this round has brought already; None: there is something to do."""
    registry = Registry(inputs.settings)
    known = registry.versions.find(inputs.key)
    if known:
        registry.complete(known)
        log.info("nothing has changed since version %s: no new version", known.number)
    return known


@step("ask", shown="ask for a decision on version {version.number}")
def ask_step(request: Request, version: Version, auto_approve: bool) -> tuple[Form, ...]:
    """Approve the version if that was asked for; see that what waits has its form."""
    registry = Registry(request.settings)
    if auto_approve and registry.status().challenger == version.number:
        registry.approve(version.number, AUTO_APPROVER, "unattended demonstration")
    return tend_forms(request)


def _make_candidate(inputs: RoundInputs) -> Version:
    from flows.candidate import make_candidate

    return make_candidate(inputs)


def _result(
    inputs: RoundInputs, version: Version, *, new: bool, forms: Sequence[Form], started: float
) -> Round:
    def read(path: Path) -> Any:
        return files.read_json(path) if path.is_file() else None

    registry = Registry(inputs.settings)
    data, swept = inputs.data, read(inputs.folder / "sweep" / "sweep.json")
    verdict = read(inputs.folder / "evaluate" / "verdict.json")
    return Round(
        round=inputs.key,
        reason=inputs.reason,
        folder=str(inputs.folder),
        data=RoundData(**data.counts.to_json(), version=data.raw_version, folder=str(data.folder)),
        sweep=SweepResult.from_json(swept) if swept else None,
        verdict=Verdict.from_json(verdict) if verdict else None,
        version=version.number,
        new=new,
        status=registry.status(),
        links=_links(registry, version, forms),
        seconds=round(time.monotonic() - started, 1),
    )


def sentence(found: Round) -> str:
    """What came of a round, for people."""
    if not found.new:
        return f"Nothing has changed since version {found.version}."
    if not found.passed:
        return f"Version {found.version} did not pass its gates."
    if found.status.champion == found.version:
        return f"Version {found.version} is the champion now."
    return f"Version {found.version} waits for a decision."


def _links(registry: Registry, version: Version, forms: Sequence[Form]) -> Links:
    return Links(
        version=registry.links.version(version.number),
        review=registry.links.review_sheet(version.run_id),
        form=next((form.url for form in forms if form.version == version.number), None),
    )
