"""The decision log in MLflow: a version of the registered model `PROJECT decisions` an entry.

MLflow numbers the versions of a model by a primary key of its database and never gives a number
twice, not even a deleted one's. So every reader sees the entries in the same order, and of two
written at once for the same place the first counts: compare-and-set, over HTTP, too. (MLflow's
runs have no such order, and its folders of files, which it no longer recommends, no such key.)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import PerpetuneError
from tasks.decisions import Conflict, DecisionLog, Entry, FileLog, SqlLog, Stored, readable
from tasks.registry import mlflow_values
from tasks.registry.connection import Connection, ignore_existing
from tasks.rendering.markdown import escape, one_line
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ENTRY = "perpetune.entry"
_FINISHED = "perpetune.finished"
_LOST = "perpetune.lost"
_SOURCE = "perpetune:/decisions"
"""MLflow demands a place of files; a decision has none."""
_TAG_CHARACTERS = 40_000
"""MySQL keeps 65,535 bytes in a tag."""


def open_log(connection: Connection, settings: Settings, model: str | None = None) -> DecisionLog:
    """The log that `decisions.log` names, for the project's model or another one."""
    where, name = settings.decisions.log, model or settings.project.name
    if where == "mlflow":
        return MlflowDecisionLog(connection, name)
    if "://" in where:
        return SqlLog(where, name)
    return FileLog(Path(where), name)


class MlflowDecisionLog:
    """A `DecisionLog` in MLflow's model registry."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self.name = f"{project} decisions"

    @property
    def where(self) -> str:
        """The registered model."""
        return f"the registered model '{self.name}' in MLflow at {self._connection.redacted_uri}"

    def stored(self) -> Sequence[Stored]:
        """Everything in the log, in its order: by number, then by the order of arrival."""
        return [item for _, item in self._ordered()]

    def begin(self, entry: Entry) -> None:
        """Append an entry; see `DecisionLog.begin`."""
        if self._holder(entry) is not None:
            raise Conflict(f"entry {entry.number} is in {self.where} already")
        with self._connection.client() as client:
            version = self._append(client, entry)
            if self._holder(entry) != version:
                client.set_model_version_tag(self.name, version, _LOST, "true")
                raise Conflict(f"somebody else's entry {entry.number} came first")

    def finish(self, entry: Entry) -> None:
        """Note that the aliases are as the entry says."""
        for again in (True, False):
            version, finished = self._place(entry)
            if version is None or finished:
                return
            try:
                with self._connection.client() as client:
                    client.set_model_version_tag(self.name, version, _FINISHED, "true")
            except PerpetuneError:
                # MLflow fails where two set the same tag at once.
                if not again:
                    raise

    def restore(self, entry: Entry) -> None:
        """Put back an entry that was changed or taken out; it has the hash that it had."""
        with self._connection.client() as client:
            for version in self._versions(client):
                changed = readable(_stored(version, self.name)) is None
                if changed and version.tags.get("number") == str(entry.number):
                    for tag, text in _chunks(entry).items():
                        client.set_model_version_tag(self.name, version.version, tag, text)
                    return
            self._append(client, entry)

    def _append(self, client: "MlflowClient", entry: Entry) -> str:
        with ignore_existing():
            client.create_registered_model(self.name, description=self._about())
        tags = _chunks(entry) | {
            "number": str(entry.number),
            "action": entry.action,
            "version": str(entry.version),
            "by": one_line(entry.by),
            "identity": entry.identity,
            "at": entry.at,
        }
        if entry.override:
            tags["override"] = one_line(entry.override)
        version = client.create_model_version(
            self.name,
            _SOURCE,
            tags=tags,
            description=mlflow_values.clip(describe(entry), mlflow_values.VERSION_CHARACTERS),
            await_creation_for=0,
        )
        return str(version.version)

    def _holder(self, entry: Entry) -> str | None:
        """MLflow's version that has the entry of this number."""
        return self._place(entry)[0]

    def _place(self, entry: Entry) -> tuple[str | None, bool]:
        """MLflow's version that has the entry of this number, and whether it is finished."""
        for version, item in self._ordered():
            found = None if item.lost else readable(item)
            if found is not None and found.number == entry.number:
                return version, item.finished
        return None, False

    def _ordered(self) -> list[tuple[str, Stored]]:
        """MLflow's versions and what they hold, in the order of the log."""
        if self._connection.empty:
            return []
        with self._connection.client() as client:
            versions = self._versions(client)
        found: list[tuple[float, str, Stored]] = []
        numbers: set[int] = set()
        last = 0.0
        for version in versions:
            item = _stored(version, self.name)
            entry = readable(item)
            if entry is None:
                last += 0.001  # in the order of arrival
                found.append((last, version.version, item))
                continue
            if entry.number in numbers:
                item = item.model_copy(update={"lost": True})
            if not item.lost:
                numbers.add(entry.number)
                last = float(entry.number)
            found.append((float(entry.number), version.version, item))
        found.sort(key=lambda row: row[0])
        return [(str(version), item) for _, version, item in found]

    def _versions(self, client: "MlflowClient") -> "list[ModelVersion]":
        found: list[ModelVersion] = []
        token = None
        while True:
            page = client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def _about(self) -> str:
        return (
            f"The decision log of `{self._project}`: a version for each registration, review, "
            "approval, rejection and rollback, chained by hashes. `perpetune audit` verifies it. "
            "Who must not decide must not be able to write here."
        )


def describe(entry: Entry) -> str:
    """An entry as Markdown in which nothing that people wrote is markup."""
    words = f"{entry.action} version {entry.version}, by {escape(entry.by)}"
    if entry.identity == "claimed":
        words += " (a claim: nobody has checked the name)"
    if entry.missing:
        words += f"; approvals missing: {entry.missing}"
    if entry.override:
        words += f"\n\n**Against its gates**: {escape(entry.override)}"
    return words + (f"\n\n{escape(entry.comment)}" if entry.comment else "")


def _chunks(entry: Entry) -> dict[str, str]:
    text = entry.canonical()
    if len(text) > 100 * _TAG_CHARACTERS:
        raise PerpetuneError("the version has too many files for one entry of the decision log")
    parts = [
        text[start : start + _TAG_CHARACTERS] for start in range(0, len(text), _TAG_CHARACTERS)
    ]
    return {ENTRY if not place else f"{ENTRY}.{place:02}": part for place, part in enumerate(parts)}


def _stored(version: "ModelVersion", name: str) -> Stored:
    tags: dict[str, Any] = dict(version.tags)
    parts = sorted(tag for tag in tags if tag == ENTRY or tag.startswith(f"{ENTRY}."))
    return Stored(
        text="".join(tags[part] for part in parts),
        place=f"version {version.version} of '{name}' in MLflow",
        finished=tags.get(_FINISHED) == "true",
        lost=tags.get(_LOST) == "true",
    )


def decisions_before(connection: Connection, project: str) -> int:
    """Decisions that a Perpetune without this log has written down, as runs."""
    with connection.client() as client:
        experiment = connection.find_experiment(client, f"{project}/decisions")
        if experiment is None:
            return 0
        return len(client.search_runs([experiment]))
