"""The registry: rounds and trials as runs, adapters as versions, decisions as alias moves."""

import json
import logging
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.registry import evidence
from tasks.registry.connection import Connection, another_may_be_first
from tasks.registry.decisions import (
    ALIASES,
    MODEL_TAG,
    ROUND_TAG,
    Aliases,
    Decision,
    Version,
    aliases_of,
    check_person,
)
from tasks.registry.evidence import DatasetRef
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

log = logging.getLogger(__name__)

_TRIAL_TAG = "perpetune.trial"
_KEY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_REFERENCE = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[\w-]+)|/(?P<number>\d{1,9}))")
_METRICS_A_CALL = 1000


class Registry:
    """The runs, versions, aliases and decisions of one project in MLflow.

    Anything may be killed at any time and called again: a round, a trial and a version exist once
    for each key, and a decision that was written down is carried out by whoever comes next. All
    that moves aliases waits for one lock in the state folder, so that two decisions never
    interleave, and so does all that works on one round; processes that share a server but no state
    folder do not share these locks.

    `champion` is moved by one call to MLflow: whoever reads it finds the old version or the new.
    `challenger` is always the newest version that passed and that nobody has decided on.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings)
        self.name = settings.project.name
        self._decisions = f"{self.name}/decisions"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address, for programs: it may hold a password."""
        return self._connection.uri

    @property
    def shown_uri(self) -> str:
        """MLflow's address, for people."""
        return self._connection.shown

    # Rounds and trials

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
        _check_key(key)
        with self._round(key) as client:
            experiment = self._connection.experiment(client, self.name)
            found = client.search_runs(
                [experiment], f"tags.`{ROUND_TAG}` = '{key}' AND tags.`{_TRIAL_TAG}` IS NULL"
            )
            if found and found[0].info.status == "FINISHED":
                return str(found[0].info.run_id)
            if found:
                run_id = found[0].info.run_id
                client.update_run(run_id, "RUNNING")
            else:
                run_id = client.create_run(
                    experiment, tags={ROUND_TAG: key}, run_name=name
                ).info.run_id
            self._describe(client, run_id, params, tags, datasets)
            return str(run_id)

    def log_trial(
        self,
        round_run_id: str,
        trial: Mapping[str, Any],
        folder: Path,
        datasets: Iterable[DatasetRef],
    ) -> str:
        """Log one trial below its round, once: a half-logged one of before is replaced.

        Args:
            round_run_id: from `open_round`.
            trial: its number, params, state and figures, as `tasks.tune` gives them.
            folder: the trial's folder; `curve.jsonl` in it is read and kept, the adapter is not.
            datasets: data that the trial has seen.

        Returns:
            Id of the trial's run. Its status is FINISHED, also if pruned (tag `state`), or FAILED.
        """
        with self._connection.client() as client:
            parent = client.get_run(round_run_id)
        experiment = parent.info.experiment_id
        marks = {ROUND_TAG: parent.data.tags[ROUND_TAG], _TRIAL_TAG: str(trial["number"])}
        where = " AND ".join(f"tags.`{tag}` = '{value}'" for tag, value in marks.items())
        with self._round(marks[ROUND_TAG]) as client:
            for run in client.search_runs([experiment], where):
                if run.info.status != "RUNNING":
                    return str(run.info.run_id)
                client.delete_run(run.info.run_id)
            start = _now() - int(1000 * (trial.get("seconds") or 0))
            run_id = client.create_run(
                experiment,
                start_time=start,
                tags=marks | {"mlflow.parentRunId": round_run_id},
                run_name=_trial_name(trial),
            ).info.run_id
            params = {name: each for name, each in trial["params"].items() if each is not None}
            self._describe(client, run_id, params, {"state": trial["state"]}, datasets)
            figures = {name: trial[name] for name in trial if name not in ("number", "params")}
            points = evidence.metrics(figures, _now(), trial.get("steps") or 0)
            points += evidence.curve(folder / "curve.jsonl", start)
            for batch in evidence.batches(points, _METRICS_A_CALL):
                client.log_batch(run_id, metrics=batch)
            if (folder / "curve.jsonl").is_file():
                client.log_artifact(run_id, str(folder / "curve.jsonl"))
            client.set_terminated(run_id, "FAILED" if trial["state"] == "failed" else "FINISHED")
            return str(run_id)

    def close_round(
        self,
        round_run_id: str,
        *,
        metrics: Mapping[str, Any],
        artifacts: Iterable[Path] = (),
        status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    ) -> None:
        """End a round: its figures (nested as they are), and files or folders under their names."""
        with self._connection.client() as client:
            start = client.get_run(round_run_id).info.start_time
            for batch in evidence.batches(evidence.metrics(metrics, start), _METRICS_A_CALL):
                client.log_batch(round_run_id, metrics=batch)
            _log_files(client, round_run_id, artifacts)
            client.set_terminated(round_run_id, status)

    # Versions

    def find_version(self, key: str) -> Version | None:
        """The version that the round of this key has brought, if it has come to that."""
        _check_key(key)
        with self._connection.client() as client:
            return self._find(client, key)

    def register(
        self,
        round_run_id: str,
        key: str,
        adapter: Path,
        verdict: Mapping[str, Any],
        card: str,
        artifacts: Iterable[Path] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Register the adapter that a round has brought, once for each key.

        If the verdict is a pass, the version becomes the challenger, in place of one on which
        nobody has decided until now; if not, it is kept without an alias.

        Args:
            round_run_id: from `open_round`.
            key: the round's key.
            adapter: plain PEFT adapter folder, whose base is not stored, or a whole model's.
            verdict: what the judge found; `passed` must be true for a pass.
            card: Markdown that describes the version; kept whole as `card.md` with the run.
            artifacts: files and folders, kept under their names with the run (see `artifact`).
            tags: further tags of the version.

        Raises:
            BadInput: the folder is neither of these, or a file is missing.
        """
        _check_key(key)
        with self._round(key) as client:
            if self._find(client, key) is None:
                _log_files(client, round_run_id, artifacts)
                client.log_text(round_run_id, card, "card.md")
                text = json.dumps(verdict, indent=2, sort_keys=True, default=str)
                client.log_text(round_run_id, text, "verdict.json")
                model = self._model(client, round_run_id, key, adapter)
                self._create(client, model, key, verdict, card, tags or {})
        with self._settled() as (_, versions):
            return next(version for version in versions.values() if version.round == key)

    def champion(self) -> Version | None:
        """The version that is in use, if a person has approved one."""
        with self._settled() as (_, versions):
            return next((v for v in versions.values() if "champion" in v.aliases), None)

    def adapter(self, reference: str, into: Path | None = None) -> Path:
        """The plain PEFT adapter folder, or a whole model's, of a registered version.

        Args:
            reference: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
            into: a new folder to put it; without one it goes to a cache in the state folder, which
                is to be read only.

        Raises:
            BadInput: there is no such version, it holds no adapter, or `into` is not empty.
        """
        version = self._resolve(reference)
        with self._connection.client() as client:
            # By its location: what is given as `models:/…` MLflow looks up in its own global store.
            location = client.get_logged_model(version.model_id).artifact_location
        found = self._fetch(version, "model", f"{location}/artifacts/adapter")
        return _copy(found, into)

    def artifact(self, version: int, name: str) -> Path:
        """A file or folder that was registered with a version, say `reference.jsonl`.

        It lies in the same cache as adapters do, and is to be read only.

        Raises:
            BadInput: there is no such version, or nothing of that name with it.
        """
        known = self._resolve(f"models:/{self.name}/{version}")
        with self._connection.client() as client:
            folder = PurePosixPath(name).parent.as_posix()
            entries = client.list_artifacts(known.run_id, None if folder == "." else folder)
            names = [entry.path for entry in entries]
            if name not in names:
                raise BadInput(f"version {version} holds no {name}; it has {', '.join(names)}")
            location = client.get_run(known.run_id).info.artifact_uri
        return self._fetch(known, f"run/{quote(name, safe='')}", f"{location}/{name}")

    # Decisions

    def status(self) -> dict[str, Any]:
        """Where the aliases stand, and what waits for a decision.

        Returns:
            `model`; `champion`, `challenger`, `previous` (version number or None); `pending` (the
            versions to decide on, with verdict, round, creation time and metrics); `warnings`
            (sentences, empty in good order).
        """
        if self._connection.empty:
            # Nothing to read: spare the user the creation of a database.
            return {"model": self.name, **dict.fromkeys(ALIASES), "pending": [], "warnings": []}
        with self._settled() as (client, versions):
            aliases = aliases_of(versions.values())
            pending = [self._pending(client, versions[n]) for n in (aliases["challenger"],) if n]
            warnings = [
                f"version {number} is champion without a recorded decision: somebody moved the "
                "alias past Perpetune"
                for number in self._unaccounted(client, aliases)
            ]
            return {"model": self.name, **aliases, "pending": pending, "warnings": warnings}

    def approve(self, version: int, by: str, comment: str = "") -> Decision:
        """Make the challenger the champion; the champion of until now becomes `previous`.

        A version that a person has approved before may be approved again, too: that is the way
        back after a rollback, and to a champion older than `previous`.

        Raises:
            BadInput: no such version, or nobody decides (`by` is empty), or a text is too long.
            Refused: it is champion already, it failed its verdict, or it is not pending.
        """
        check_person(by, comment)
        with self._settled() as (client, versions):
            before = aliases_of(versions.values())
            chosen = self._known(versions, version)
            if version == before["champion"]:
                raise Refused(f"version {version} is the champion already; nothing was changed")
            if chosen.verdict != "passed":
                raise Refused(
                    f"version {version} did not pass its verdict "
                    f"({chosen.verdict or 'it has none'}); only a version that did can be approved"
                )
            if not chosen.waiting and not chosen.reinstatable:
                raise Refused(_decided(chosen))
            after = before | {"champion": version, "previous": before["champion"]}
            if version == before["challenger"]:
                after["challenger"] = None
            return self._decide(client, "approve", version, by, comment, before, after)

    def reject(self, version: int, by: str, comment: str = "") -> Decision:
        """Turn the challenger down; it stays registered, without an alias.

        Raises:
            BadInput: no such version, or nobody decides (`by` is empty), or a text is too long.
            Refused: the version is not pending.
        """
        check_person(by, comment)
        with self._settled() as (client, versions):
            before = aliases_of(versions.values())
            chosen = self._known(versions, version)
            if version != before["challenger"]:
                raise Refused(_decided(chosen))
            after = before | {"challenger": None}
            return self._decide(client, "reject", version, by, comment, before, after)

    def rollback(self, by: str, comment: str = "") -> Decision:
        """Make the previous champion the champion again.

        Afterwards there is no `previous`: a rollback that is typed twice, or by two people, must
        not bring the bad version back. `approve` takes a named version back deliberately.

        Raises:
            BadInput: nobody decides (`by` is empty), or a text is too long.
            Refused: there is no previous champion.
        """
        check_person(by, comment)
        with self._settled() as (client, versions):
            before = aliases_of(versions.values())
            if before["previous"] is None or before["champion"] is None:
                raise Refused(self._no_previous(client, versions, before))
            after = before | {"champion": before["previous"], "previous": None}
            return self._decide(client, "rollback", before["previous"], by, comment, before, after)

    def history(self) -> list[Decision]:
        """Every decision, newest first."""
        with self._settled() as (client, _):
            return self._history(client)

    def audit(self) -> list[int]:
        """Versions that bear the alias `champion` without a decision that gave it to them."""
        with self._settled() as (client, versions):
            return self._unaccounted(client, aliases_of(versions.values()))

    # Links

    def ui_link(self, version: int) -> str:
        """Link to a version's page in MLflow's UI (on the local platform where no server is)."""
        return self._connection.page(f"models/{self.name}/versions/{version}")

    def run_link(self, run_id: str) -> str:
        """Link to a run's page in MLflow's UI, in the model-training view."""
        with self._connection.client() as client:
            experiment = client.get_run(run_id).info.experiment_id
        return self._connection.page(f"experiments/{experiment}/runs/{run_id}")

    # Writing

    @contextmanager
    def _round(self, key: str) -> "Iterator[MlflowClient]":
        """A client, while no other process works on the same round: what is half-made is ours."""
        with self._connection.client() as client, self._connection.alone(f"round-{key}"):
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

        for batch in evidence.batches(evidence.params(params)):
            client.log_batch(run_id, params=batch)
        limit = evidence.RUN_TAG_CHARACTERS
        labels = [RunTag(tag, evidence.clip(str(value), limit)) for tag, value in tags.items()]
        client.log_batch(run_id, tags=labels)
        client.log_inputs(run_id, evidence.dataset_inputs(datasets))

    def _model(self, client: "MlflowClient", run_id: str, key: str, adapter: Path) -> "LoggedModel":
        """The round's adapter as an MLflow model, uploaded whole; a half-made one is replaced."""
        from mlflow.entities import LoggedModelOutput

        from tasks.registry import package

        run = client.get_run(run_id)
        experiment = run.info.experiment_id
        model = None
        for found in client.search_logged_models([experiment], f"tags.`{ROUND_TAG}` = '{key}'"):
            if found.status == "READY":
                model = found
            else:
                client.delete_logged_model(found.model_id)
        if model is None:
            model = client.create_logged_model(
                experiment, name="adapter", source_run_id=run_id, tags={ROUND_TAG: key}
            )
            with TemporaryDirectory() as folder:
                saved = package.save(adapter, Path(folder), model, self._settings)
                client.log_model_artifacts(model.model_id, str(saved))
            model = client.finalize_logged_model(model.model_id, "READY")
        outputs = run.outputs.model_outputs if run.outputs else []
        if model.model_id not in {output.model_id for output in outputs}:
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

    def _create(
        self,
        client: "MlflowClient",
        model: "LoggedModel",
        key: str,
        verdict: Mapping[str, Any],
        card: str,
        tags: Mapping[str, str],
    ) -> None:
        """Create the version with all that it bears in one call, so that it exists whole or not."""
        limit = evidence.VERSION_CHARACTERS
        labels = {tag: evidence.clip(str(value), limit) for tag, value in tags.items()} | {
            "verdict": "passed" if verdict.get("passed") is True else "failed",
            ROUND_TAG: key,
            MODEL_TAG: model.model_id,
        }
        with another_may_be_first():
            client.create_registered_model(self.name, description=self._about())
        version = client.create_model_version(
            self.name,
            # Given as `models:/…` MLflow would look the model up in its process-wide store.
            source=model.artifact_location,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=labels,
            description=evidence.clip(card, limit, "\n\n… (the rest is in the run's card.md)"),
        )
        log.info("registered %s version %s", self.name, version.version)

    def _about(self) -> str:
        return (
            f"{self._settings.base.model}, tuned: one version for each retraining round that "
            "came to an end.\n\n"
            "- `champion`: in use, approved by a person\n"
            "- `challenger`: passed its verdict, waits for a person\n"
            "- `previous`: the champion before, which a rollback brings back\n\n"
            f"Every decision is a run in the experiment `{self._decisions}`."
        )

    # Deciding

    @contextmanager
    def _settled(self) -> "Iterator[tuple[MlflowClient, dict[int, Version]]]":
        """Keep others out, finish what a crash has left undone; yield a client and all versions."""
        with self._connection.client() as client, self._connection.alone():
            for run in self._decision_runs(client, "attributes.status = 'RUNNING'"):
                self._carry_out(client, run.info.run_id, Decision.read(run))
            yield client, self._point_at_challenger(client)

    def _decide(
        self,
        client: "MlflowClient",
        action: Literal["approve", "reject", "rollback"],
        version: int,
        by: str,
        comment: str,
        before: Aliases,
        after: Aliases,
    ) -> Decision:
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        decision = Decision(action, version, by, comment, at, before, after)
        run = client.create_run(
            self._connection.experiment(client, self._decisions),
            tags=decision.run_tags() | {"mlflow.user": by},
            run_name=f"{action} version {version}",
        )
        self._carry_out(client, run.info.run_id, decision)
        log.info("%s version %d of %s, by %s", action, version, self.name, by)
        return decision

    def _carry_out(self, client: "MlflowClient", run_id: str, decision: Decision) -> None:
        """Bring aliases and tags to where the decision wants them; again and again if need be."""
        # The way back is laid before the champion moves, and the challenger is let go of last.
        for alias in ("previous", "champion", "challenger"):
            if decision.after[alias] != decision.before[alias]:
                self._point(client, alias, decision.after[alias])
        for tag, value in decision.version_tags().items():
            client.set_model_version_tag(self.name, str(decision.marked), tag, value)
        client.set_terminated(run_id)

    def _point(self, client: "MlflowClient", alias: str, version: int | None) -> None:
        if version is None:
            client.delete_registered_model_alias(self.name, alias)
        else:
            client.set_registered_model_alias(self.name, alias, str(version))

    def _point_at_challenger(self, client: "MlflowClient") -> dict[int, Version]:
        versions = self._versions(client, self.name)
        waiting = [version.number for version in versions.values() if version.waiting]
        challenger = waiting[-1] if waiting else None
        if len(waiting) < 2 and aliases_of(versions.values())["challenger"] == challenger:
            return versions
        for number in waiting[:-1]:
            client.set_model_version_tag(self.name, str(number), "decision", "superseded")
        self._point(client, "challenger", challenger)
        return self._versions(client, self.name)

    # Reading

    def _versions(self, client: "MlflowClient", name: str) -> dict[int, Version]:
        """All versions of a model by number, rising; none if there is no such model."""
        models = client.search_registered_models(f"name = '{name}'")
        if not models:
            return {}
        found: list[Version] = []
        token = None
        while True:
            page = client.search_model_versions(f"name = '{name}'", page_token=token)
            found += [Version.read(entity, models[0].aliases) for entity in page]
            token = page.token
            if not token:
                return {v.number: v for v in sorted(found, key=lambda version: version.number)}

    def _find(self, client: "MlflowClient", key: str) -> Version | None:
        versions = self._versions(client, self.name)
        return next((version for version in versions.values() if version.round == key), None)

    def _resolve(self, reference: str) -> Version:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise BadInput(f"{reference}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
        with self._settled() as (client, versions):
            if match["name"] != self.name:
                versions = self._versions(client, match["name"])
        for version in versions.values():
            if match["alias"] in version.aliases or str(version.number) == match["number"]:
                break
        else:
            raise BadInput(f"{reference}: no such version; {_what_exists(versions)}")
        if not version.model_id:
            raise BadInput(f"{reference}: was not registered by Perpetune and holds no adapter")
        return version

    def _known(self, versions: Mapping[int, Version], number: int) -> Version:
        if number not in versions:
            raise BadInput(f"{self.name} has no version {number}; {_what_exists(versions)}")
        return versions[number]

    def _fetch(self, version: Version, place: str, uri: str) -> Path:
        """Download into the cache unless it is there: what a version holds never changes."""
        # Every new database counts versions from 1 again; a model's id is unique.
        state = self._settings.project.state_dir
        target = state / "versions" / version.model_id / place
        if not target.is_dir():
            from mlflow.artifacts import download_artifacts

            with self._connection.client(), files.atomic_folder(target) as building:
                download_artifacts(uri, dst_path=str(building), tracking_uri=self.tracking_uri)
        (found,) = target.iterdir()
        return found

    def _pending(self, client: "MlflowClient", version: Version) -> dict[str, Any]:
        run = client.get_run(version.run_id)
        return {
            "version": version.number,
            "verdict": version.verdict,
            "round": version.round,
            "created": version.created,
            "run_id": version.run_id,
            "metrics": {
                evidence.unquoted(name): value for name, value in sorted(run.data.metrics.items())
            },
        }

    def _decision_runs(self, client: "MlflowClient", where: str) -> "list[Run]":
        """Runs that record decisions, oldest first."""
        experiment = self._connection.find_experiment(client, self._decisions)
        found: list[Run] = []
        token = None
        while experiment is not None:
            page = client.search_runs(
                [experiment], where, order_by=["tags.at ASC"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                break
        return found

    def _history(self, client: "MlflowClient") -> list[Decision]:
        runs = self._decision_runs(client, "attributes.status = 'FINISHED'")
        return [Decision.read(run) for run in reversed(runs)]

    def _unaccounted(self, client: "MlflowClient", aliases: Aliases) -> list[int]:
        champion = aliases["champion"]
        if champion is None:
            return []
        moves = (decision for decision in self._history(client) if decision.action != "reject")
        last = next(moves, None)
        return [] if last and last.after["champion"] == champion else [champion]

    def _no_previous(
        self, client: "MlflowClient", versions: Mapping[int, Version], aliases: Aliases
    ) -> str:
        last = next(iter(self._history(client)), None)
        if last and last.action == "rollback":
            why = f"{last.by} rolled back to version {last.version} at {last.at} already"
        else:
            why = "there is no previous champion"
        older = [
            str(v.number)
            for v in versions.values()
            if v.reinstatable and v.number != aliases["champion"]
        ]
        hint = f"; versions approved before, to approve again: {', '.join(older)}" if older else ""
        return f"{why}; nothing was changed{hint}"


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r}: a round's key is made of letters, digits, '.', '_' and '-'")


def _log_files(client: "MlflowClient", run_id: str, paths: Iterable[Path]) -> None:
    paths = list(paths)
    for path in paths:
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder to keep with the run")
    for path in paths:
        client.log_artifact(run_id, str(path))


def _copy(found: Path, into: Path | None) -> Path:
    if into is None:
        return found
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BadInput(f"{into}: exists already; name a new or empty folder")
    with files.atomic_folder(into) as building:
        shutil.copytree(found, building, dirs_exist_ok=True)
    return into


def _trial_name(trial: Mapping[str, Any]) -> str:
    short = {"learning_rate": "lr"}
    parts = [
        f"{short.get(name, name)} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial["params"].items()
        if value is not None
    ]
    return " · ".join([f"trial {trial['number']}", *parts])


def _decided(version: Version) -> str:
    """Why a version is not up for a decision."""
    if version.verdict != "passed":
        return f"version {version.number} did not pass its verdict: it is not pending"
    by = version.tags.get("decided_by")
    who = f" by {by} at {version.tags.get('decided_at')}" if by else ""
    return f"version {version.number} was {version.decision}{who}: it is not pending"


def _what_exists(versions: Mapping[int, Version]) -> str:
    if not versions:
        return "nothing is registered under this name yet"
    named = [f"{alias} = {v.number}" for v in versions.values() for alias in v.aliases]
    numbers = ", ".join(str(number) for number in list(versions)[-10:])
    return f"the latest are {numbers}" + (f" ({', '.join(named)})" if named else "")


def _now() -> int:
    return int(time.time() * 1000)
