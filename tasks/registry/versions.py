"""Registered versions: how they are made, and their files."""

import logging
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.decisions import DecisionLog, State, Version, effective, what_exists
from tasks.registry import mlflow_values
from tasks.registry.connection import Connection, ignore_existing
from tasks.registry.results import Candidate
from tasks.registry.tracking import ROUND_TAG, check_key, make_artifacts_readable
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

MODEL_TAG = "perpetune.model_id"
_REFERENCE = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[\w-]+)|/(?P<number>\d{1,9}))")


class Versions:
    """The versions of one registered model.

    Reading writes nothing and takes no lock: it gives the state that holds, decisions that a crash
    has left unfinished included.
    """

    def __init__(self, connection: Connection, settings: Settings, log: DecisionLog) -> None:
        self._connection = connection
        self._settings = settings
        self._log = log
        self.model = settings.project.name

    def state(self) -> State:
        """All versions, with the aliases and decisions that hold, and the log."""
        if self._connection.empty:
            # Nothing to read: spare the user the creation of a database.
            return State(self.model, {})
        history = self._log.history()
        while True:
            begun = self._log.begun()
            found = self.recorded()
            # Whoever decides meanwhile moves aliases one by one: read on until nothing has changed.
            before, history = history, self._log.history()
            if begun == self._log.begun() and before == history:
                state = State(self.model, found, history)
                return effective(state, [decision for _, decision in begun])

    def find(self, key: str) -> Version | None:
        """The version that the round of this key has brought, if it has come to that."""
        check_key(key)
        versions = self.state().versions.values()
        return next((version for version in versions if version.round == key), None)

    def champion(self) -> Version | None:
        """The version that is in use, if a person has approved one."""
        state = self.state()
        number = state.aliases.champion
        return None if number is None else state.versions[number]

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

        It is in the same cache as adapters, and is to be read only.

        Raises:
            BadInput: there is no such version, or nothing of that name with it.
        """
        known = self._resolve(f"models:/{self.model}/{version}")
        with self._connection.client() as client:
            folder = PurePosixPath(name).parent.as_posix()
            entries = client.list_artifacts(known.run_id, None if folder == "." else folder)
            names = [entry.path for entry in entries]
            if name not in names:
                raise BadInput(f"version {version} holds no {name}; it has {', '.join(names)}")
            location = client.get_run(known.run_id).info.artifact_uri
        return self._fetch(known, f"run/{quote(name, safe='')}", f"{location}/{name}")

    def create(self, run_id: str, key: str, candidate: Candidate) -> None:
        """Make the version of a round, unless it is there; whoever calls holds the round's lock."""
        if any(version.round == key for version in self.recorded().values()):
            return
        with self._connection.client() as client:
            model = self._model(client, run_id, key, candidate.adapter)
            self._create(client, model, key, candidate)

    def recorded(self, name: str | None = None) -> dict[int, Version]:
        """All versions of a model by number, rising, as MLflow has them; none if there is none."""
        name = name or self.model
        with self._connection.client() as client:
            models = client.search_registered_models(f"name = '{name}'")
            if not models:
                return {}
            found: list[Version] = []
            token = None
            while True:
                page = client.search_model_versions(f"name = '{name}'", page_token=token)
                found += [_version(entity, models[0].aliases) for entity in page]
                token = page.token
                if not token:
                    return {v.number: v for v in sorted(found, key=lambda version: version.number)}

    def _model(self, client: "MlflowClient", run_id: str, key: str, adapter: Path) -> "LoggedModel":
        """The round's adapter as an MLflow model, uploaded whole; a half-made one is replaced."""
        from mlflow.entities import LoggedModelOutput

        from tasks.registry import mlflow_model

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
                saved = mlflow_model.save(adapter, Path(folder), model, self._settings)
                client.log_model_artifacts(model.model_id, str(saved))
                make_artifacts_readable(model.artifact_location)
            model = client.finalize_logged_model(model.model_id, "READY")
        outputs = run.outputs.model_outputs if run.outputs else []
        if model.model_id not in {output.model_id for output in outputs}:
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

    def _create(
        self, client: "MlflowClient", model: "LoggedModel", key: str, candidate: Candidate
    ) -> None:
        """Create the version with all that it bears in one call, so that it exists whole or not."""
        limit = mlflow_values.VERSION_CHARACTERS
        tags = {tag: mlflow_values.clip(value, limit) for tag, value in candidate.tags.items()}
        tags |= {
            "verdict": "passed" if candidate.passed is True else "failed",
            ROUND_TAG: key,
            MODEL_TAG: model.model_id,
        }
        with ignore_existing():
            client.create_registered_model(self.model, description=self._about())
        rest = "\n\n… (the rest is in the run's card.md)"
        version = client.create_model_version(
            self.model,
            # Given as `models:/…` MLflow would look the model up in its process-wide store.
            source=model.artifact_location,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=tags,
            description=mlflow_values.clip(candidate.card, limit, rest),
        )
        log.info("registered %s version %s", self.model, version.version)

    def _about(self) -> str:
        return (
            f"{self._settings.base.model}, tuned: one version for each retraining round that "
            "came to an end.\n\n"
            "- `champion`: in use, approved by a person\n"
            "- `challenger`: passed its verdict, waits for a person\n"
            "- `previous`: the champion before, which a rollback brings back\n\n"
            f"Every decision is a run in the experiment `{self.model}/decisions`."
        )

    def _resolve(self, reference: str) -> Version:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise BadInput(f"{reference}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
        ours = match["name"] == self.model
        versions = self.state().versions if ours else self.recorded(match["name"])
        for version in versions.values():
            if match["alias"] in version.aliases or str(version.number) == match["number"]:
                break
        else:
            raise BadInput(f"{reference}: no such version; {what_exists(versions)}")
        if not version.model_id:
            raise BadInput(f"{reference}: was not registered by Perpetune and holds no adapter")
        return version

    def _fetch(self, version: Version, place: str, uri: str) -> Path:
        """Download into the cache unless it is there: what a version holds never changes."""
        # Every new database counts versions from 1 again; a model's id is unique.
        state = self._settings.project.state_dir
        target = state / "versions" / version.model_id / place
        if not target.is_dir():
            from mlflow.artifacts import download_artifacts

            with self._connection.client(), files.atomic_folder(target) as building:
                download_artifacts(uri, dst_path=str(building), tracking_uri=self._connection.uri)
        (found,) = target.iterdir()
        return found


def _version(entity: "ModelVersion", aliases: Mapping[str, str]) -> Version:
    """The version as MLflow gives it; one that others registered lacks most of our tags.

    Args:
        entity: the version.
        aliases: all aliases of its model; MLflow's searches leave them out of versions.
    """
    tags: dict[str, Any] = dict(entity.tags)
    created = datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC)
    return Version(
        name=entity.name,
        number=int(entity.version),
        round=tags.get(ROUND_TAG),
        verdict=tags.get("verdict"),
        decision=tags.get("decision"),
        created=created.isoformat(timespec="seconds"),
        run_id=entity.run_id or "",
        model_id=tags.get(MODEL_TAG, ""),
        aliases=tuple(sorted(a for a, n in aliases.items() if str(n) == str(entity.version))),
        tags=tags,
    )


def _copy(found: Path, into: Path | None) -> Path:
    if into is None:
        return found
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BadInput(f"{into}: exists already; name a new or empty folder")
    with files.atomic_folder(into) as building:
        shutil.copytree(found, building, dirs_exist_ok=True)
    return into
