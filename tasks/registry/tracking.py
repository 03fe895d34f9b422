"""Rounds and trials as MLflow runs: their settings, figures, data and files."""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.registry import mlflow_values
from tasks.registry.connection import Connection
from tasks.registry.mlflow_values import DatasetRef
from tasks.registry.relocation import ARTIFACTS, local_path
from tasks.registry.results import Candidate, RunCounts
from tasks.tune.sweep import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ROUND_TAG = "perpetune.round"
NOTE_TAG = "mlflow.note.content"
_TRIAL_TAG = "perpetune.trial"
_NOTE = """Each round of retraining is a run here, with its trials below it: settings, data, curves
and, of a finished round, all evidence of the version that it brought (tab *Artifacts*).

- [Versions of {name}](#/models/{name}?workflowType=machine_learning): what waits for a decision,
  what is in use, and why
- In a round: `evaluate/review.html` is the review sheet, `data_card.md` the data, `verdict.json`
  the gates, `sweep.json` the search
"""
_KEY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_METRICS_A_CALL = 1000
_RUNS_A_PAGE = 1000


class Tracking:
    """The runs of one project: a round and its trials, each once for its key.

    Anything may be killed at any time and called again. All that works on one round waits for one
    lock in the state folder; processes that share a server but no state folder do not share it.
    """

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project

    def open_round(
        self,
        key: str,
        *,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: Iterable[DatasetRef],
    ) -> str:
        """Begin one retraining round, or go on with it.

        Args:
            key: what the round is made of, hashed; the same key gives the same run.
            name: run name for people.
            params: settings, nested as they are.
            tags: tags of the run.
            datasets: data that the round uses.

        Returns:
            Id of the run that all trials hang below: running, or finished if the round has been.
        """
        check_key(key)
        with self.only(key) as client:
            experiment = self._connection.experiment(client, self._project, _tags(self._project))
            found = _rounds(client, experiment, key)
            if found and found[0].info.status == "FINISHED":
                return str(found[0].info.run_id)
            if found:
                run_id = found[0].info.run_id
                client.update_run(run_id, "RUNNING")
            else:
                run_id = client.create_run(
                    experiment, tags={ROUND_TAG: key}, run_name=name
                ).info.run_id
                # The lock is this machine's: another one may have begun the round meanwhile.
                first = _rounds(client, experiment, key)[0].info.run_id
                if first != run_id:
                    client.delete_run(run_id)
                    return str(first)
            self._describe(client, run_id, params, tags, datasets)
            return str(run_id)

    def log_trial(
        self,
        round_run_id: str,
        trial: Trial,
        folder: Path,
        datasets: Iterable[DatasetRef],
    ) -> str:
        """Log one trial below its round, once: a half-logged one of before is replaced.

        Args:
            round_run_id: from `open_round`.
            trial: its number, params, state and figures.
            folder: the trial's folder; `curve.jsonl` in it is read and kept, the adapter is not.
            datasets: data that the trial has seen.

        Returns:
            Id of the trial's run. Its status is FINISHED, also if pruned (tag `state`), or FAILED.
        """
        with self._connection.client() as client:
            parent = client.get_run(round_run_id)
        experiment = parent.info.experiment_id
        marks = {ROUND_TAG: parent.data.tags[ROUND_TAG], _TRIAL_TAG: str(trial.number)}
        where = " AND ".join(f"tags.`{tag}` = '{value}'" for tag, value in marks.items())
        with self.only(marks[ROUND_TAG]) as client:
            for run in client.search_runs([experiment], where):
                if run.info.status != "RUNNING":
                    return str(run.info.run_id)
                client.delete_run(run.info.run_id)
            start = _now() - int(1000 * trial.seconds)
            run_id = client.create_run(
                experiment,
                start_time=start,
                tags=marks | {"mlflow.parentRunId": round_run_id},
                run_name=_trial_name(trial),
            ).info.run_id
            self._describe(client, run_id, trial.used_params, {"state": trial.state}, datasets)
            figures = trial.model_dump(exclude={"number", "params"})
            points = mlflow_values.metrics(figures, _now(), trial.steps)
            points += mlflow_values.curve(folder / "curve.jsonl", start)
            for batch in mlflow_values.batches(points, _METRICS_A_CALL):
                client.log_batch(run_id, metrics=batch)
            if (folder / "curve.jsonl").is_file():
                client.log_artifact(run_id, str(folder / "curve.jsonl"))
            client.set_terminated(run_id, "FAILED" if trial.state == "failed" else "FINISHED")
            return str(run_id)

    def keep(self, client: "MlflowClient", round_run_id: str, candidate: Candidate) -> None:
        """Keep all evidence of a candidate with its round: files, card, verdict and figures.

        It may be done again, after a crash say; whoever calls holds the round's lock.

        Raises:
            BadInput: a file is missing.
        """
        with TemporaryDirectory() as folder:
            card, verdict = Path(folder) / "card.md", Path(folder) / "verdict.json"
            files.write_text(card, candidate.card)
            files.write_json(verdict, dict(candidate.verdict))
            log_files(client, round_run_id, [*candidate.artifacts, card, verdict])
        tables = [
            {"path": f"{path.name}/{table.name}", "type": "table"}
            for path in candidate.artifacts
            for table in sorted(path.glob("*_table.json"))
        ]
        if tables:
            client.set_tag(round_run_id, "mlflow.loggedArtifacts", json.dumps(tables))
        self._figures(client, round_run_id, candidate.metrics)

    def finish(self, client: "MlflowClient", round_run_id: str) -> None:
        """Mark a round as finished, unless it is."""
        if client.get_run(round_run_id).info.status != "FINISHED":
            client.set_terminated(round_run_id, "FINISHED")

    def close_round(
        self,
        round_run_id: str,
        *,
        metrics: Mapping[str, Any],
        status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    ) -> None:
        """End a round that brings no version, with its figures (nested as they are)."""
        with self._connection.client() as client:
            self._figures(client, round_run_id, metrics)
            client.set_terminated(round_run_id, status)

    def counts(self) -> RunCounts:
        """How many rounds and trials there are, by how they ended; reads only."""
        rounds: Counter[str] = Counter()
        trials: Counter[str] = Counter()
        finished: list[int] = []
        for run in self._runs():
            if _TRIAL_TAG in run.data.tags:
                trials[run.data.tags.get("state", "running")] += 1
            elif ROUND_TAG in run.data.tags:
                rounds[run.info.status] += 1
                if run.info.status == "FINISHED" and run.info.end_time:
                    finished.append(run.info.end_time)
        last = max(finished) / 1000 if finished else None
        return RunCounts(rounds=rounds, trials=trials, last_success=last)

    def _runs(self) -> "Iterator[Run]":
        if self._connection.empty:
            return
        with self._connection.client() as client:
            experiment = self._connection.find_experiment(client, self._project)
            token = None
            while experiment is not None:
                page = client.search_runs([experiment], max_results=_RUNS_A_PAGE, page_token=token)
                yield from page
                token = page.token
                if not token:
                    return

    def _figures(self, client: "MlflowClient", run_id: str, metrics: Mapping[str, Any]) -> None:
        start = client.get_run(run_id).info.start_time
        for batch in mlflow_values.batches(mlflow_values.metrics(metrics, start), _METRICS_A_CALL):
            client.log_batch(run_id, metrics=batch)

    @contextmanager
    def only(self, key: str) -> "Iterator[MlflowClient]":
        """A client, while no other process works on the round of this key."""
        with self._connection.client() as client, self._connection.lock(f"round-{key}"):
            yield client

    def _describe(
        self,
        client: "MlflowClient",
        run_id: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: Iterable[DatasetRef],
    ) -> None:
        from mlflow.entities import RunTag

        for batch in mlflow_values.batches(mlflow_values.params(params)):
            client.log_batch(run_id, params=batch)
        limit = mlflow_values.RUN_TAG_CHARACTERS
        labels = [RunTag(tag, mlflow_values.clip(str(value), limit)) for tag, value in tags.items()]
        client.log_batch(run_id, tags=labels)
        client.log_inputs(run_id, mlflow_values.dataset_inputs(datasets))


def _tags(project: str) -> dict[str, str]:
    """What MLflow's page of all rounds says of itself."""
    return {
        NOTE_TAG: _NOTE.format(name=project),
        "mlflow.experiment.primaryMetric.name": "validation_loss",
        "mlflow.experiment.primaryMetric.greaterIsBetter": "false",
    }


def check_key(key: str) -> None:
    """See that a round's key can be part of a query and of a file name.

    Raises:
        BadInput: it cannot.
    """
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r}: a round's key is made of letters, digits, '.', '_' and '-'")


def log_files(client: "MlflowClient", run_id: str, paths: Iterable[Path]) -> None:
    """Keep files and folders with a run, all or none.

    Raises:
        BadInput: one of them is missing.
    """
    paths = list(paths)
    for path in paths:
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder to keep with the run")
    for path in paths:
        client.log_artifact(run_id, str(path))
    make_artifacts_readable(client.get_run(run_id).info.artifact_uri)


def make_artifacts_readable(location: str) -> None:
    """Let a server of another user read what this process has put into a local folder."""
    folder = local_path(location)
    if folder is None or not folder.exists():
        return
    files.make_readable(folder)
    for parent in folder.parents:
        if ARTIFACTS not in parent.parts:
            return
        with contextlib.suppress(PermissionError):
            parent.chmod(0o755)


def _rounds(client: Any, experiment: str, key: str) -> Sequence[Any]:
    """The runs of a round, oldest first: one, unless two machines began it in the same second."""
    found: Sequence[Any] = client.search_runs(
        [experiment],
        f"tags.`{ROUND_TAG}` = '{key}' AND tags.`{_TRIAL_TAG}` IS NULL",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return found


def _trial_name(trial: Trial) -> str:
    short = {"learning_rate": "lr"}
    parts = [
        f"{short.get(name, name)} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.used_params.items()
    ]
    return " · ".join([f"trial {trial.number}", *parts])


def _now() -> int:
    return int(time.time() * 1000)
