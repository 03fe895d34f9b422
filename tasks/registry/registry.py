"""The registry of one project: candidates come in as versions, decisions move the aliases."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks import decisions
from tasks.decisions import Decision, State, Version, effective
from tasks.registry import mlflow_values
from tasks.registry.connection import Connection
from tasks.registry.decision_log import MlflowDecisionLog
from tasks.registry.links import Links
from tasks.registry.relocation import Relocation
from tasks.registry.results import Candidate, Pending, Status
from tasks.registry.tracking import Tracking, check_key
from tasks.registry.versions import Versions
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


class Registry:
    """The runs, versions, aliases and decisions of one project in MLflow.

    Anything may be killed at any time and called again: a round, a trial and a version exist once
    for each key, and a decision that was written down is applied by whoever writes next. All that
    moves aliases waits for one lock in the state folder, so that two decisions never interleave;
    processes that share a server but no state folder do not share this lock. What only reads takes
    no lock and writes nothing.

    `champion` is moved by one call to MLflow: whoever reads it finds the old version or the new.
    `challenger` is always the newest version that passed and that nobody has decided on.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._log = MlflowDecisionLog(self._connection, settings.project.name)
        self.name = settings.project.name
        self.tracking = Tracking(self._connection, self.name)
        """Rounds and trials as runs."""
        self.versions = Versions(self._connection, settings, self._log)
        """Registered versions and their files."""
        self.links = Links(self._connection, settings)
        """Pages of MLflow's UI."""

    @property
    def tracking_uri(self) -> str:
        """MLflow's address, for programs: it may hold a password."""
        return self._connection.uri

    @property
    def redacted_uri(self) -> str:
        """MLflow's address without a password, for messages."""
        return self._connection.redacted_uri

    def relocation(self) -> Relocation:
        """Whether this project was moved or copied, and its artifacts still lead elsewhere."""
        return self._connection.relocation()

    def relocate(self) -> Relocation:
        """Let the artifacts of a moved or copied project lead to it; returns what was changed.

        Whoever writes to the registry does so first in any case.
        """
        return self._connection.relocate()

    def status(self) -> Status:
        """Where the aliases stand, and what waits for a decision."""
        state = self.versions.state()
        aliases = state.aliases
        waiting = () if aliases.challenger is None else (state.versions[aliases.challenger],)
        return Status(
            model=self.name,
            champion=aliases.champion,
            challenger=aliases.challenger,
            previous=aliases.previous,
            pending=tuple(self._pending(version) for version in waiting),
            warnings=tuple(
                f"version {number} is champion without a recorded decision: somebody moved the "
                "alias past Perpetune"
                for number in state.unrecorded
            ),
        )

    def history(self) -> Sequence[Decision]:
        """Every decision, newest first."""
        return self.versions.state().history

    def audit(self) -> list[int]:
        """Versions that have the alias `champion` without a decision that gave it to them."""
        return self.versions.state().unrecorded

    def register(self, round_run_id: str, key: str, candidate: Candidate) -> Version:
        """Register what a round has brought, once for each key.

        A candidate that passed becomes the challenger, in place of one on which nobody has decided
        until now; another one is kept without an alias.

        Args:
            round_run_id: from `tracking.open_round`.
            key: the round's key.
            candidate: the adapter with its verdict, card and files.

        Raises:
            BadInput: the adapter's folder is none, or a file is missing.
        """
        check_key(key)
        with self.tracking.only(key) as client:
            if self.versions.find(key) is None:
                # All evidence is there before the version is.
                self.tracking.keep(client, round_run_id, candidate)
                self.versions.create(round_run_id, key, candidate)
        self.reconcile()
        version = self.versions.find(key)
        assert version is not None
        self.complete(version)
        return version

    def complete(self, version: Version) -> None:
        """End the round of a version, where a crash came between: it has all its evidence."""
        with self._connection.client() as client:
            self.tracking.finish(client, version.run_id)

    def approve(self, version: int, by: str, comment: str = "") -> Decision:
        """Make a version the champion; see `tasks.decisions.approve`."""
        with self._connection.lock():
            state = self._reconciled()
            return self._apply(decisions.approve(state, version, by, comment, _now()))

    def reject(self, version: int, by: str, comment: str = "") -> Decision:
        """Turn the challenger down; see `tasks.decisions.reject`."""
        with self._connection.lock():
            state = self._reconciled()
            return self._apply(decisions.reject(state, version, by, comment, _now()))

    def rollback(self, by: str, comment: str = "") -> Decision:
        """Make the previous champion the champion again; see `tasks.decisions.rollback`."""
        with self._connection.lock():
            state = self._reconciled()
            return self._apply(decisions.rollback(state, by, comment, _now()))

    def reconcile(self) -> None:
        """Bring MLflow's aliases and tags to the state that holds, where a crash left them behind.

        Makes MLflow's local database where there is none.
        """
        with self._connection.lock():
            self._reconciled()

    def _reconciled(self) -> State:
        """The state, now that MLflow agrees with it; whoever calls holds the lock."""
        with self._connection.client() as client:
            for key, decision in self._log.begun():
                self._move(client, decision)
                self._log.finish(key)
            recorded = State(self.name, self.versions.recorded(), self._log.history())
            state = effective(recorded, ())
            for number, version in state.versions.items():
                if version.decision != recorded.versions[number].decision:
                    self._tag(client, number, {"decision": str(version.decision)})
            if recorded.aliases.challenger != state.aliases.challenger:
                self._point(client, "challenger", state.aliases.challenger)
        return state

    def _apply(self, decision: Decision) -> Decision:
        key = self._log.begin(decision)
        with self._connection.client() as client:
            self._move(client, decision)
        self._log.finish(key)
        log.info(
            "%s version %d of %s, by %s", decision.action, decision.version, self.name, decision.by
        )
        return decision

    def _move(self, client: "MlflowClient", decision: Decision) -> None:
        """Bring aliases and tags to where the decision wants them; again and again if need be."""
        for alias, version in decision.moves():
            self._point(client, alias, version)
        self._tag(client, decision.subject, decision.version_tags())

    def _point(self, client: "MlflowClient", alias: str, version: int | None) -> None:
        if version is None:
            client.delete_registered_model_alias(self.name, alias)
        else:
            client.set_registered_model_alias(self.name, alias, str(version))

    def _tag(self, client: "MlflowClient", version: int, tags: dict[str, str]) -> None:
        for tag, value in tags.items():
            client.set_model_version_tag(self.name, str(version), tag, value)

    def _pending(self, version: Version) -> Pending:
        with self._connection.client() as client:
            metrics = client.get_run(version.run_id).data.metrics
        return Pending(
            version=version.number,
            verdict=version.verdict,
            round=version.round,
            created=version.created,
            run_id=version.run_id,
            metrics={
                mlflow_values.unquoted(name): value for name, value in sorted(metrics.items())
            },
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
