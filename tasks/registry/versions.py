"""Registered versions: how they are made, and their files, which are read only when verified."""

import hashlib
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.decisions import Aliases, Registration, Standing, State, Version, replay, what_exists
from tasks.registry import mlflow_values
from tasks.registry.connection import Connection, ignore_existing
from tasks.registry.decision_log import open_log
from tasks.registry.digests import differences, digests
from tasks.registry.identity import author_names
from tasks.registry.links import Links
from tasks.registry.relocation import located
from tasks.registry.results import Candidate
from tasks.registry.shadow import Kept
from tasks.registry.story import Predecessor, Story
from tasks.registry.tracking import (
    NOTE_TAG,
    ROUND_TAG,
    check_key,
    log_files,
    make_artifacts_readable,
)
from tasks.rendering.markdown import escape, one_line
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

MODEL_TAG = "perpetune.model_id"
_ADAPTER = "artifacts/adapter"
"""Where the adapter is in the MLflow model."""
_REFERENCE = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[\w-]+)|/(?P<number>\d{1,9}))")


class Versions:
    """The versions of one registered model.

    What a version is, byte for byte, and where the aliases stand, is what the decision log says;
    MLflow keeps the files. Reading writes nothing and takes no lock.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self.model = settings.project.name

    def state(self, model: str | None = None) -> State:
        """What the decision log says, of the project's model or another one."""
        model = model or self.model
        return replay(model, open_log(self._connection, self._settings, model).stored())

    def all(self, model: str | None = None) -> dict[int, Version]:
        """All versions by number, rising: what the log says of each, and where MLflow keeps it."""
        state, kept = self.state(model), self.recorded(model)
        numbers = sorted(state.versions.keys() | kept.keys())
        return {number: _version(state, kept.get(number), number) for number in numbers}

    def find(self, key: str) -> Version | None:
        """The version that the round of this key has brought, if it has come to that."""
        check_key(key)
        for number, standing in self.state().versions.items():
            if standing.registration.round == key:
                return self.all()[number]
        return None

    def champion(self) -> Version | None:
        """The version that is in use, if people have approved one.

        Raises:
            Refused: the decision log does not hold: nobody can say which it is.
        """
        state = self.state()
        check_log(state)
        number = state.aliases.champion
        return None if number is None else self.all()[number]

    def adapter(self, reference: str, into: Path | None = None) -> Path:
        """The plain PEFT adapter folder, or a whole model's, of a registered version.

        Args:
            reference: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
            into: a new folder to put it; without one it goes to a cache in the state folder, which
                is to be read only.

        Raises:
            BadInput: there is no such version, it holds no adapter, or `into` is not empty.
            Refused: its files are not those that were registered, or nobody knows what those were.
        """
        version, standing = self._resolve(reference)
        with self._connection.client() as client:
            # By its location: what is given as `models:/…` MLflow looks up in its own global store.
            location = client.get_logged_model(standing.registration.model_id).artifact_location
        prefix = f"{_ADAPTER}/"
        registered = {
            name.removeprefix(prefix): digest
            for name, digest in standing.registration.model.items()
            if name.startswith(prefix)
        }
        found = self._fetch(version, "model", f"{location}/{_ADAPTER}", registered)
        return _copy(found, into)

    def artifact(self, version: int, name: str) -> Path:
        """A file or folder that was registered with a version, say `reference.jsonl`.

        It is in the same cache as adapters, and is to be read only. What was registered with the
        version is verified; what came to its run later is not.

        Raises:
            BadInput: there is no such version, or nothing of that name with it.
            Refused: it is not what was registered.
        """
        known, standing = self._resolve(f"models:/{self.model}/{version}")
        with self._connection.client() as client:
            folder = PurePosixPath(name).parent.as_posix()
            entries = client.list_artifacts(known.run_id, None if folder == "." else folder)
            names = [entry.path for entry in entries]
            if name not in names:
                raise BadInput(f"version {version} holds no {name}; it has {', '.join(names)}")
            location = client.get_run(known.run_id).info.artifact_uri
        evidence = standing.registration.evidence
        registered = {
            found.removeprefix(f"{name}/"): digest
            for found, digest in evidence.items()
            if found.startswith(f"{name}/")
        }
        if name in evidence:
            registered = {".": evidence[name]}
        place = f"run/{quote(name, safe='')}"
        return self._fetch(known, place, f"{location}/{name}", registered)

    def keep_marks(self, version: int, digest: str, marks: bytes) -> None:
        """Keep a file of marks with a version's run, as `reviews/DIGEST.json`; once for each.

        Raises:
            BadInput: there is no such version.
            PerpetuneError: the bytes are not those of the digest.
        """
        if hashlib.sha256(marks).hexdigest() != digest:
            raise PerpetuneError("the marks have changed while they were read; record them again")
        known, _ = self._resolve(f"models:/{self.model}/{version}")
        with self._connection.client() as client, TemporaryDirectory() as folder:
            path = Path(folder) / "reviews" / f"{digest[:12]}.json"
            path.parent.mkdir()
            path.write_bytes(marks)
            log_files(client, known.run_id, [path.parent])

    def verify(self, standing: Standing) -> list[str]:
        """What is stored of a version and is not what was registered: a sentence for each file."""
        registration = standing.registration
        try:
            with self._connection.client() as client:
                location = client.get_logged_model(registration.model_id).artifact_location
                run = client.get_run(registration.run_id).info.artifact_uri
        except PerpetuneError as error:
            return [f"its files cannot be found ({error})"]
        found = differences(registration.model, self._stored_digests(location))
        stored = self._stored_files(run, registration.evidence)
        found += differences(registration.evidence, stored)
        # What others load by name is where MLflow says that the version is.
        loaded = self._loaded_from(standing.number)
        if loaded not in (None, location):
            found.append(f"MLflow leads to other files ({loaded})")
        return found

    def _loaded_from(self, number: int) -> str | None:
        """Where MLflow finds the files of a version; None: it was deleted there."""
        try:
            with self._connection.client() as client:
                uri = client.get_model_version_download_uri(self.model, str(number))
        except PerpetuneError:
            return None
        return located(uri, self._connection.artifacts) if self._connection.local else uri

    def changed_base(self, standing: Standing) -> str | None:
        """A sentence where the base of a version is on this machine and has changed since.

        Where it is not here nothing is said: a registered model verifies its base when loaded.
        """
        recorded = standing.registration.facts.get("base")
        if recorded is None:
            return None
        from tasks.model import base_source

        with self._connection.client() as client:
            params = client.get_run(standing.registration.run_id).data.params
        names = ("model", "revision", "chat_template")
        given = {name: params.get(f"base.{name}", "null") for name in names}
        base = {name: None if text == "null" else text for name, text in given.items()}
        if base["model"] is None:
            return None
        try:
            settings = self._settings.replace(base=self._settings.base.replace(**base))
            found = base_source.identity(settings)
        except (PerpetuneError, OSError):
            return None
        elsewhere = recorded.startswith("folder:") != found.startswith("folder:")
        if found == recorded or elsewhere:
            return None
        return f"the base {one_line(base['model'])} was changed: it is {found}, and was {recorded}"

    def registration(
        self, version: Kept, candidate: Candidate | None = None, key: str | None = None
    ) -> Registration:
        """What is stored of a version, as its entry in the log has it.

        Args:
            version: as MLflow has it.
            candidate: what was to be stored; None: it is entered as it is found.
            key: of the round.

        Raises:
            PerpetuneError: what is stored is not what the candidate is.
        """
        with self._connection.client() as client:
            location = client.get_logged_model(version.model_id).artifact_location
            run = client.get_run(version.run_id).info.artifact_uri
        model = self._stored_digests(location)
        if candidate is None:
            evidence = self._stored_files(run, ("card.md", "verdict.json"))
            return Registration(
                round=version.tags.get(ROUND_TAG),
                outcome="unknown",
                run_id=version.run_id,
                model_id=version.model_id,
                model=model,
                evidence=evidence,
                found=True,
            )
        given: dict[str, str] = {}
        for path in candidate.artifacts:
            given |= digests(path)
        names = dict.fromkeys(("card.md", "verdict.json"), "") | given
        evidence = self._stored_files(run, names)
        adapter = {name: digest for name, digest in model.items() if _in_adapter(name)}
        wrong = [
            *differences(digests(candidate.adapter, _ADAPTER), adapter),
            *differences(given, {name: evidence.get(name, "") for name in given}),
            *(f"{name} is missing" for name in names if name not in evidence),
        ]
        if wrong:
            raise PerpetuneError(
                f"what MLflow has stored is not what the round made: {'; '.join(wrong[:5])}; "
                "run the round again"
            )
        return Registration(
            round=key,
            outcome=candidate.outcome,
            authors=tuple(dict.fromkeys((*candidate.authors, *author_names()))),
            run_id=version.run_id,
            model_id=version.model_id,
            model=model,
            evidence=evidence,
            facts=dict(candidate.tags),
        )

    def create(self, run_id: str, key: str, candidate: Candidate) -> Kept:
        """Make the version of a round, unless it is there; whoever calls holds the round's lock.

        It is nothing to MLflow's readers before it has its entry in the log: no alias points at it.
        """
        for version in self.recorded().values():
            if version.tags.get(ROUND_TAG) == key:
                return version
        with self._connection.client() as client:
            model = self._model(client, run_id, key, candidate.adapter)
            number = self._create(client, model, key, candidate)
        return self.recorded()[number]

    def discard(self, version: Kept) -> None:
        """Delete a version that was just made and that another one has made needless."""
        with self._connection.client() as client:
            client.delete_model_version(self.model, str(version.number))

    def recorded(self, name: str | None = None) -> dict[int, Kept]:
        """All versions of a model by number, rising, as MLflow has them; none if there is none."""
        name = name or self.model
        if self._connection.empty:
            # Nothing to read: spare the user the creation of a database.
            return {}
        with self._connection.client() as client:
            models = client.search_registered_models(f"name = '{name}'")
            if not models:
                return {}
            found: list[Kept] = []
            token = None
            while True:
                page = client.search_model_versions(f"name = '{name}'", page_token=token)
                found += [_kept(entity, models[0].aliases) for entity in page]
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
    ) -> int:
        """Create the version with all that it bears in one call, so that it exists whole or not."""
        limit = mlflow_values.VERSION_CHARACTERS
        tags = {tag: mlflow_values.clip(value, limit) for tag, value in candidate.tags.items()}
        tags |= {
            "verdict": candidate.outcome,
            ROUND_TAG: key,
            MODEL_TAG: model.model_id,
            "mlflow_run": str(model.source_run_id),
        }
        tags |= {
            mlflow_values.quoted(f"sha256.{name}"): digest
            for name, digest in files.sha256s(candidate.adapter).items()
        }
        with ignore_existing():
            client.create_registered_model(self.model, description=self._about())
        story = self._story(model, candidate)
        note = story.describe(candidate, mlflow_values.RUN_TAG_CHARACTERS)
        client.set_tag(str(model.source_run_id), NOTE_TAG, note)
        version = client.create_model_version(
            self.model,
            # Given as `models:/…` MLflow would look the model up in its process-wide store.
            source=model.artifact_location,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=tags,
            description=story.describe(candidate, limit),
        )
        log.info("registered %s version %s", self.model, version.version)
        return int(version.version)

    def _story(self, model: "LoggedModel", candidate: Candidate) -> Story:
        champion = self.champion()
        predecessor = None
        if champion is not None:
            try:
                settings = files.read_json(self.artifact(champion.number, "params.json"))
            except (BadInput, Refused):  # a version of before they were kept, or an altered one
                settings = None
            predecessor = Predecessor(champion.number, champion.tags, settings)
        params = [path for path in candidate.artifacts if path.name == "params.json"]
        return Story(
            model=f"models:/{model.model_id}",
            run_id=str(model.source_run_id),
            links=Links(self._connection, self._settings, relative=True),
            champion=predecessor,
            settings=files.read_json(params[0]) if params else None,
            approval=f"http://127.0.0.1:{self._settings.platform.prefect_port}/",
        )

    def _about(self) -> str:
        rounds = Links(self._connection, self._settings, relative=True).rounds()
        return (
            f"{escape(self._settings.base.model)}, tuned: one version for each retraining round "
            "that came to an end.\n\n"
            "- `champion`: in use, approved by a person\n"
            "- `challenger`: passed its verdict, waits for a person\n"
            "- `previous`: the champion before, which a rollback brings back\n\n"
            f"Every decision is a version of `{self.model} decisions`, which these aliases follow. "
            f"[All rounds and trials]({rounds})"
        )

    def _resolve(self, reference: str) -> tuple[Version, Standing]:
        """The version of a reference, and what the log says of it.

        Raises:
            BadInput: there is none.
            Refused: nothing vouches for its files.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise BadInput(f"{reference}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
        state = self.state(match["name"])
        if match["alias"]:
            check_log(state)
        for version in self.all(match["name"]).values():
            if match["alias"] in version.aliases or str(version.number) == match["number"]:
                break
        else:
            raise BadInput(f"{reference}: no such version; {what_exists(state)}")
        if version.standing is None:
            raise Refused(
                f"{reference}: is not in the decision log, so nothing vouches for its files; "
                "`perpetune doctor` says what to do"
            )
        return version, version.standing

    def _fetch(self, version: Version, place: str, uri: str, registered: Mapping[str, str]) -> Path:
        """Download into the cache unless it is there, and verify it.

        Args:
            version: whose file or folder it is.
            place: its name in the cache.
            uri: where it is stored.
            registered: digests by path in the folder, or of the file as `.`; empty: unknown.

        Raises:
            Refused: it is not what was registered.
        """
        # Every new database counts versions from 1 again; a model's id is unique.
        state = self._settings.project.state_dir
        target = state / "versions" / version.model_id / place
        for again in (False, True):
            if again or not target.is_dir():
                self._download(uri, target)
            (found,) = target.iterdir()
            wrong = differences(registered, digests(found, ".")) if registered else []
            if not wrong:
                return found
        what = "; ".join(wrong[:5]).replace(". was", f"{found.name} was")
        raise Refused(
            f"version {version.number} of {version.name} is not what was registered: {what}; "
            "restore the file, or decide against the version (reject or roll back)"
        )

    def _download(self, uri: str, target: Path) -> None:
        from mlflow.artifacts import download_artifacts

        with self._connection.client(), files.atomic_folder(target) as building:
            download_artifacts(uri, dst_path=str(building), tracking_uri=self._connection.uri)

    def _stored_digests(self, uri: str) -> dict[str, str]:
        """Digests of a folder where it is stored."""
        with self._stored(uri) as folder:
            return digests(folder, ".") if folder.exists() else {}

    def _stored_files(self, uri: str, names: Iterable[str]) -> dict[str, str]:
        """Digests of those of these files of a run that there are."""

        def one(name: str) -> dict[str, str]:
            try:
                with self._stored(f"{uri}/{name}") as path:
                    return digests(path, name) if path.is_file() else {}
            except PerpetuneError:
                return {}

        with ThreadPoolExecutor(8) as pool:
            found: dict[str, str] = {}
            for digest in pool.map(one, names):
                found |= digest
            return found

    @contextmanager
    def _stored(self, uri: str) -> Iterator[Path]:
        """A stored file or folder: in its place if that is on this machine, else downloaded."""
        parts = urlsplit(uri)
        if parts.scheme in ("", "file"):
            yield Path(unquote(parts.path))
            return
        from mlflow.artifacts import download_artifacts

        with TemporaryDirectory() as folder:
            with self._connection.client():
                found = download_artifacts(uri, dst_path=folder, tracking_uri=self._connection.uri)
            yield Path(found)


def check_log(state: State) -> None:
    """See that the decision log holds to its end.

    Raises:
        Refused: it does not; the message names the place.
    """
    if state.problems:
        raise Refused(f"the decision log of {state.model} does not hold: {state.problems[0]}")


def _version(state: State, kept: Kept | None, number: int) -> Version:
    standing = state.versions.get(number)
    registration = standing.registration if standing else None
    others = [name for name in (kept.aliases if kept else ()) if name not in Aliases.model_fields]
    return Version(
        name=state.model,
        number=number,
        round=registration.round if registration else None,
        verdict=registration.outcome if registration else None,
        decision=standing.outcome if standing else None,
        created=kept.created if kept else "",
        run_id=registration.run_id if registration else kept.run_id if kept else "",
        model_id=registration.model_id if registration else kept.model_id if kept else "",
        aliases=tuple(sorted((*state.aliases.of(number), *others))),
        tags=kept.tags if kept else {},
        standing=standing,
    )


def _kept(entity: "ModelVersion", aliases: Mapping[str, str]) -> Kept:
    """The version as MLflow gives it; one that others registered lacks most of our tags.

    Args:
        entity: the version.
        aliases: all aliases of its model; MLflow's searches leave them out of versions.
    """
    tags: dict[str, Any] = dict(entity.tags)
    created = datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC)
    return Kept(
        number=int(entity.version),
        created=created.isoformat(timespec="seconds"),
        run_id=entity.run_id or "",
        model_id=tags.get(MODEL_TAG, ""),
        tags=tags,
        description=entity.description or "",
        aliases=tuple(sorted(a for a, n in aliases.items() if str(n) == str(entity.version))),
    )


def _in_adapter(name: str) -> bool:
    return name.startswith(f"{_ADAPTER}/")


def _copy(found: Path, into: Path | None) -> Path:
    if into is None:
        return found
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BadInput(f"{into}: exists already; name a new or empty folder")
    with files.atomic_folder(into) as building:
        shutil.copytree(found, building, dirs_exist_ok=True)
    return into
