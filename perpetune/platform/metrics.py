"""Figures for Prometheus: what the registry, the watch and Prefect say, read and never written.

    perpetune metrics                   # as they are now
    perpetune metrics --port 9109       # to be scraped
    perpetune metrics --out FILE        # for node_exporter's textfile collector, from cron

A model whose registry or history cannot be read has `perpetune_up` 0 and nothing else.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.registry import Registry
from tasks.settings import Settings, load_settings, models

log = logging.getLogger(__name__)

_FRESH_SECONDS = 30.0
"""Scrapes that come sooner get the figures of the last one: each asks MLflow and Prefect."""


class Family(NamedTuple):
    """One metric: its kind, what it says, and the names of its labels."""

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ("model",)


class Sample(NamedTuple):
    """One figure of a metric, with a value for each of its labels."""

    name: str
    labels: tuple[str, ...]
    value: float

    def to_json(self) -> dict[str, Any]:
        """With the names of the labels."""
        labels = dict(zip(FAMILIES[self.name].labels, self.labels, strict=True))
        return {"name": self.name, "labels": labels, "value": self.value}


FAMILIES: Mapping[str, Family] = {
    "perpetune_up": Family("gauge", "1 if registry and history of the model could be read."),
    "perpetune_rounds": Family(
        "gauge", "Rounds by MLflow's status of their run.", ("model", "status")
    ),
    "perpetune_last_round_success_timestamp_seconds": Family(
        "gauge", "When the last round finished."
    ),
    "perpetune_trials": Family("gauge", "Trials by how they ended.", ("model", "state")),
    "perpetune_verdicts_total": Family(
        "counter", "Versions registered, by the outcome of their gates.", ("model", "outcome")
    ),
    "perpetune_decisions_total": Family(
        "counter", "Decisions of people in the log.", ("model", "action")
    ),
    "perpetune_last_decision_timestamp_seconds": Family("gauge", "When the last one was made."),
    "perpetune_champion_version": Family("gauge", "Number of the version in use; 0: none."),
    "perpetune_candidates_waiting": Family("gauge", "Versions that wait for a person."),
    "perpetune_candidate_waiting_since_timestamp_seconds": Family(
        "gauge", "When the version that waits was registered."
    ),
    "perpetune_registry_warnings": Family(
        "gauge", "Warnings of `perpetune status`: moved aliases, changed tags, a log that lacks."
    ),
    "perpetune_watch_looks_total": Family(
        "counter", "Looks at windows of traffic, by what they found.", ("model", "status")
    ),
    "perpetune_watch_last_look_timestamp_seconds": Family("gauge", "When the last look was."),
    "perpetune_watch_rows": Family("gauge", "Rows of the newest window that could be compared."),
    "perpetune_drift_p_value": Family(
        "gauge", "Of the newest window, and of pools of 2^scale windows.", ("model", "scale")
    ),
    "perpetune_drift_threshold": Family(
        "gauge", "What this comparison may spend: at or below it is drift.", ("model", "scale")
    ),
    "perpetune_drift_alpha_spent": Family(
        "gauge", "Chance of a false alarm that all looks have spent."
    ),
    "perpetune_drift_alpha_released": Family("gauge", "Chance that they were allowed to spend."),
    "perpetune_drift_alarms_total": Family("counter", "Alarms that were raised."),
    "perpetune_drift_alarms_open": Family("gauge", "Alarms that no round has answered."),
    "perpetune_flow_runs": Family(
        "gauge", "Flow runs in Prefect that have not ended, by name of their state.", ("state",)
    ),
    "perpetune_flow_runs_failed": Family(
        "gauge", "Flow runs that failed or crashed in the last 24 hours.", ()
    ),
    "perpetune_prefect_up": Family("gauge", "1 if Prefect's server answered.", ()),
    "perpetune_scrape_duration_seconds": Family("gauge", "Time that reading all this took.", ()),
}


class Exporter(Collector):
    """A collector of prometheus_client over all models of a project."""

    def __init__(self, params: Path, overrides: Sequence[str], model: str | None) -> None:
        """Remember where the models are; each look reads the settings anew.

        Args:
            params: the settings file.
            overrides: `section.key=value` settings that go before the file's.
            model: only this model of `models/`; None: all of the project.
        """
        self._params = params
        self._overrides = overrides
        self._only = model
        self._lock = threading.Lock()
        self._read: tuple[float, Sequence[Sample]] | None = None

    def samples(self) -> Sequence[Sample]:
        """The figures of now, or of some seconds ago."""
        with self._lock:
            if self._read is None or time.monotonic() - self._read[0] > _FRESH_SECONDS:
                started = time.monotonic()
                found = [*self._of_models(), *_of_prefect()]
                seconds = time.monotonic() - started
                found.append(Sample("perpetune_scrape_duration_seconds", (), seconds))
                self._read = time.monotonic(), found
            return self._read[1]

    def collect(self) -> Iterator[Metric]:
        """The figures as prometheus_client wants them."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, family in FAMILIES.items():
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            families[name] = kind(name, family.help, labels=family.labels)
        for sample in self.samples():
            families[sample.name].add_metric(sample.labels, sample.value)
        yield from families.values()

    def _of_models(self) -> Iterator[Sample]:
        for model in [self._only] if self._only else [None, *models(self._params)]:
            name = model or self._params.stem
            try:
                settings = load_settings(self._params, self._overrides, model)
                name = settings.project.name
                found = [*_of_registry(settings), *_of_watch(settings)]
            except PerpetuneError as error:
                log.warning("%s: no figures: %s", name, error)
                yield Sample("perpetune_up", (name,), 0)
            else:
                yield Sample("perpetune_up", (name,), 1)
                yield from found


def as_text(exporter: Exporter) -> str:
    """All figures in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter)
    return generate_latest(registry).decode()


def write(exporter: Exporter, path: Path) -> None:
    """Write the text format to a file, whole or not at all; everybody may read it.

    Raises:
        OSError: it cannot be written.
    """
    files.write_text(path, as_text(exporter))
    path.chmod(0o644)


def serve(exporter: Exporter, host: str, port: int) -> None:
    """Answer scrapes until the process is told to end.

    Raises:
        BadInput: the port is taken, or the address is none of this machine.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise BadInput(f"--port {port}: cannot listen at {host}:{port}: {error}") from None
    log.info("metrics at http://%s:%d/metrics", host, port)
    try:
        thread.join()
    finally:
        server.shutdown()


def _of_registry(settings: Settings) -> Iterator[Sample]:
    name = settings.project.name
    registry = Registry(settings)
    status, state, counts = registry.status(), registry.versions.state(), registry.tracking.counts()
    for label, number in counts.rounds.items():
        yield Sample("perpetune_rounds", (name, label), number)
    for label, number in counts.trials.items():
        yield Sample("perpetune_trials", (name, label), number)
    if counts.last_success is not None:
        success = "perpetune_last_round_success_timestamp_seconds"
        yield Sample(success, (name,), counts.last_success)
    gates = [standing.gates for standing in state.versions.values()]
    for outcome in ("passed", "failed", "cannot decide"):
        yield Sample("perpetune_verdicts_total", (name, outcome), gates.count(outcome))
    actions = [entry.action for entry in state.decisions]
    for action in ("approve", "reject", "rollback"):
        yield Sample("perpetune_decisions_total", (name, action), actions.count(action))
    if state.decisions:
        last = "perpetune_last_decision_timestamp_seconds"
        yield Sample(last, (name,), timestamp(state.decisions[0].at))
    yield Sample("perpetune_champion_version", (name,), status.champion or 0)
    yield Sample("perpetune_candidates_waiting", (name,), len(status.pending))
    for pending in status.pending:
        if not pending.created:  # deleted in MLflow: a warning says so
            continue
        since = "perpetune_candidate_waiting_since_timestamp_seconds"
        yield Sample(since, (name,), timestamp(pending.created))
    yield Sample("perpetune_registry_warnings", (name,), len(status.warnings))


def _of_watch(settings: Settings) -> Iterator[Sample]:
    from tasks.watch import History, replay

    name = settings.project.name
    state = replay(History(settings).entries())
    found = [looked.look.status for looked in state.looks]
    for status in ("quiet", "drift", "undecidable"):
        yield Sample("perpetune_watch_looks_total", (name, status), found.count(status))
    yield Sample("perpetune_drift_alarms_total", (name,), len(state.alarms))
    yield Sample("perpetune_drift_alarms_open", (name,), len(state.open()))
    if not state.looks:
        return
    newest = state.looks[-1]
    at = timestamp(newest.at)
    yield Sample("perpetune_watch_last_look_timestamp_seconds", (name,), at)
    yield Sample("perpetune_watch_rows", (name,), newest.look.rows)
    yield Sample("perpetune_drift_alpha_spent", (name,), newest.look.alpha_spent)
    yield Sample("perpetune_drift_alpha_released", (name,), newest.look.alpha_released)
    for pool in newest.look.scales:
        label = (name, str(pool.scale))
        yield Sample("perpetune_drift_p_value", label, pool.p_value)
        yield Sample("perpetune_drift_threshold", label, pool.alpha)


def _of_prefect() -> Iterator[Sample]:
    from flows.queue import failed_runs, open_runs
    from flows.server import has_server

    if not has_server():
        yield Sample("perpetune_prefect_up", (), 0)
        return
    try:
        found, failed = open_runs(), failed_runs()
    except PerpetuneError as error:
        log.warning("%s", error)
        yield Sample("perpetune_prefect_up", (), 0)
        return
    yield Sample("perpetune_prefect_up", (), 1)
    for state in sorted({"Late", "Running", *found}):
        yield Sample("perpetune_flow_runs", (state,), found.get(state, 0))
    yield Sample("perpetune_flow_runs_failed", (), failed)


def timestamp(text: str) -> float:
    """ISO 8601 as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()
