"""The registry of one project: candidates come in as versions, decisions move the aliases."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.core.errors import PerpetuneError, Refused
from tasks.decisions import (
    Conflict,
    Decision,
    Entry,
    Problem,
    Request,
    Review,
    Rules,
    Standing,
    State,
    Version,
    decide,
    readable,
    replay,
    seal,
)
from tasks.registry import mlflow_values, shadow
from tasks.registry.connection import Connection
from tasks.registry.decision_log import open_log
from tasks.registry.examination import Examination, lacking_entries
from tasks.registry.identity import check_identity
from tasks.registry.links import Links
from tasks.registry.log_copy import LogCopy
from tasks.registry.relocation import Relocation
from tasks.registry.results import Audit, Candidate, Pending, Status
from tasks.registry.tracking import Tracking, check_key
from tasks.registry.versions import Versions, check_log
from tasks.rendering.markdown import one_line
from tasks.settings import Settings

log = logging.getLogger(__name__)

_ATTEMPTS = 20


class Registry:
    """The runs, versions, aliases and decisions of one project.

    The decision log is the authority: what may be used is what its entries say together, and
    MLflow's aliases and tags follow. Anything may be killed at any time and called again: a round,
    a trial and a version exist once for each key, and an entry that was written down counts and is
    applied by whoever writes next.

    Writers of one state folder wait for one another. Between state folders that share a server
    nobody waits: the log admits one entry of each number, and who comes second decides again on
    what is there then. `champion` is moved by one call to MLflow: whoever reads it finds the old
    version or the new, both of which people have approved. What only reads takes no lock and writes
    nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._log = open_log(self._connection, settings)
        self._copy = LogCopy(settings, self._log, in_local_mlflow=self._connection.local)
        self._rules = Rules(
            **{name: getattr(settings.decisions, name) for name in Rules.model_fields}
        )
        self.name = settings.project.name
        self.tracking = Tracking(self._connection, self.name)
        """Rounds and trials as runs."""
        self.versions = Versions(self._connection, settings)
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

    @property
    def rules(self) -> Rules:
        """The rules under which decisions are made now."""
        return self._rules

    def status(self) -> Status:
        """Where the aliases stand by the log, what waits, and what is not as it has to be."""
        found = self._examined()
        state = found.state
        aliases = state.aliases
        waiting = () if aliases.challenger is None else (state.versions[aliases.challenger],)
        return Status(
            model=self.name,
            champion=aliases.champion,
            challenger=aliases.challenger,
            previous=aliases.previous,
            pending=tuple(self._pending(standing, found) for standing in waiting),
            warnings=(*map(str, found.problems), *found.remarks),
        )

    def history(self) -> Sequence[Entry]:
        """Every decision of a person, newest first."""
        return self.versions.state().decisions

    def audit(self) -> Audit:
        """Whether the log holds, MLflow agrees with it, and the files in use are whole."""
        found = self._examined()
        state = found.state
        problems = (*found.problems, *found.damaged(self.versions))
        return Audit(
            model=self.name,
            holds=not problems,
            log=self._log.where,
            head=state.head,
            entries=state.entries,
            problems=problems,
            notes=(*found.remarks, *found.notes),
        )

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
            PerpetuneError: what was stored is not what the round made.
        """
        check_key(key)
        with self.tracking.only(key) as client:
            if self.versions.find(key) is None:
                # All evidence is there before the version is.
                self.tracking.keep(client, round_run_id, candidate)
                self._enter(round_run_id, key, candidate)
        self.reconcile()
        version = self.versions.find(key)
        assert version is not None
        self.complete(version)
        return version

    def complete(self, version: Version) -> None:
        """End the round of a version, where a crash came between: it has all its evidence."""
        with self._connection.client() as client:
            self.tracking.finish(client, version.run_id)

    def _enter(self, run_id: str, key: str, candidate: Candidate) -> None:
        """Make the version, and write its entry in the log."""
        kept = self.versions.create(run_id, key, candidate)
        registration = self.versions.registration(kept, candidate, key)
        by = registration.authors[0]
        request = Request(
            action="register",
            version=kept.number,
            by=by,
            at=_now(),
            rules=self._rules,
            registration=registration,
        )
        try:
            with self._connection.lock():
                self._write(request)
        except Refused:
            # Another state folder has brought the same round to an end meanwhile.
            if self.versions.find(key) is None:
                raise
            self.versions.discard(kept)

    def review(self, version: int, review: Review, marks: bytes | None = None) -> Decision:
        """Record what a person has marked on the review sheet of a version.

        Args:
            version: its number.
            review: what the marks say.
            marks: the file of marks; kept with the version's run, in `reviews/`, before the log
                names it.

        Raises:
            BadInput: no such version, or the review names nobody.
        """
        if marks is not None:
            self.versions.keep_marks(version, review.marks, marks)
        return self._decide("review", version, review.by, review.comment, review=review)

    def approve(
        self,
        version: int,
        by: str,
        comment: str = "",
        *,
        override: str = "",
        seen: str | None = None,
    ) -> Decision:
        """Make a version the champion, or count one of several approvals that this takes.

        Args:
            version: its number.
            by: who decides.
            comment: why.
            override: why a version whose gates did not pass becomes champion all the same.
            seen: digest of what the person was shown (`Pending.digest`); None: not known.

        Raises:
            BadInput: no such version, or nobody decides.
            Refused: policy (`tasks.decisions.decide`), or something has changed since it was
                registered, or since the person was shown it.
        """
        return self._decide("approve", version, by, comment, override=override, seen=seen)

    def reject(self, version: int, by: str, comment: str = "") -> Decision:
        """Turn the challenger down; see `tasks.decisions.decide`."""
        return self._decide("reject", version, by, comment)

    def rollback(self, by: str, comment: str = "", *, to: int | None = None) -> Decision:
        """Make an earlier champion the champion again; see `tasks.decisions.decide`.

        Args:
            by: who decides.
            comment: why.
            to: its number; None: `previous`.
        """
        return self._decide("rollback", to, by, comment)

    def reconcile(self) -> None:
        """Bring MLflow's aliases and tags to what the log says, where a crash left them behind.

        What somebody has changed in MLflow past Perpetune stays to be seen; see `repair`.

        Raises:
            Refused: the log does not hold.
        """
        if self._connection.empty:
            return
        with self._connection.lock():
            self._settled()

    def repair(self) -> list[str]:
        """Put right what can be put right without deciding anything (`perpetune doctor --fix`).

        Entries that the log lacks or has changed come back from this machine's copy, MLflow's
        aliases and tags are brought to what the log says, and versions that the log does not know
        are entered as they are found. No version and no entry is deleted.

        Returns:
            A sentence for each thing that was put right.
        """
        if self._connection.empty:
            return []
        done: list[str] = []
        with self._connection.lock():
            stored = self._log.stored()
            held = {entry.number for item in stored if (entry := readable(item))}
            for entry in self._copy.restorable(stored):
                if entry.number in held:
                    continue  # another one: which of them is right a person has to say
                self._log.restore(entry)
                done.append(f"entry {entry.number} was put back into the decision log")
            state, lacking = self._read()
            if not state.problems and not lacking:
                done += self._enter_unknown(state)
                done += self._apply(self.versions.state())
        return done

    def _enter_unknown(self, state: State) -> list[str]:
        done = []
        for number in shadow.unknown(state, kept := self.versions.recorded()):
            if not kept[number].model_id:
                continue
            try:
                registration = self.versions.registration(kept[number])
            except PerpetuneError as error:
                log.warning("version %d cannot be entered: %s", number, error)
                continue
            request = Request(
                action="register",
                version=number,
                by="perpetune doctor",
                at=_now(),
                comment="entered as it was found",
                rules=self._rules,
                registration=registration,
            )
            self._write(request)
            done.append(f"version {number} was entered into the decision log as it was found")
        return done

    def _decide(
        self,
        action: str,
        version: int | None,
        by: str,
        comment: str,
        *,
        override: str = "",
        seen: str | None = None,
        review: Review | None = None,
    ) -> Decision:
        request = Request.model_validate(
            {
                "action": action,
                "version": version,
                "by": by,
                "comment": comment,
                "at": _now(),
                "override": override,
                "rules": self._rules,
                "review": review,
            }
        )
        with self._connection.lock():
            entry = self._write(request, seen)
        words = "%s version %d of %s, by %s"
        log.info(words, entry.action, entry.version, self.name, one_line(entry.by))
        return entry

    def _write(self, request: Request, seen: str | None = None) -> Entry:
        """Decide, write the decision down, and bring MLflow to what it says.

        Raises:
            Refused: policy, or others decide without an end.
        """
        if request.action != "register":
            identity = check_identity(self._connection, request.by)
            request = request.model_copy(update={"identity": identity})
        for _ in range(_ATTEMPTS):
            state = self._settled()
            decision = decide(state, request)
            self._check_whole(state, decision, seen)
            entry = seal(state, decision)
            try:
                self._log.begin(entry)
            except Conflict:
                continue
            self._settled()
            return entry
        raise Refused("others decide on this model at the same time; try again")

    def _check_whole(self, state: State, decision: Decision, seen: str | None) -> None:
        """See that what becomes champion is what was registered, and what the person was shown.

        Raises:
            Refused: it is not; the message names the files.
        """
        if decision.action not in ("approve", "rollback"):
            return
        standing = state.versions[decision.version]
        if seen is not None and seen != standing.digest:
            raise Refused(
                f"version {standing.number} is not what you were shown: it was reviewed or "
                "registered anew meanwhile; look at it again"
            )
        if standing.number not in self.versions.recorded():
            raise Refused(f"version {standing.number} was deleted in MLflow")
        wrong = self.versions.verify(standing)
        if decision.action == "approve":
            base = self.versions.changed_base(standing)
            wrong += [base] if base else []
        if wrong:
            raise Refused(
                f"version {standing.number} is not what was registered: {'; '.join(wrong[:5])}"
                + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            )

    def _settled(self) -> State:
        """The state, now that MLflow agrees with it; whoever calls holds the lock.

        Raises:
            Refused: the log does not hold: nobody decides on it before it is put right.
        """
        applied = None
        for _ in range(_ATTEMPTS):
            state, lacking = self._read()
            check_log(state)
            if lacking:
                raise Refused(str(lacking))
            self._copy.take(state.entries)
            if not state.unfinished and applied in (None, state.head):
                return state
            self._apply(state)
            applied = state.head
            # Somebody of another state folder may have decided meanwhile, and what was just
            # applied may be older than what they applied: look again.
            if self.versions.state().head == applied:
                for entry in state.unfinished:
                    self._log.finish(entry)
        raise Refused("others decide on this model at the same time; try again")

    def _apply(self, state: State) -> list[str]:
        """Bring MLflow's aliases, tags and descriptions to what the log says."""
        for again in (True, True, False):
            todo = shadow.changes(state, self.versions.recorded())
            try:
                with self._connection.client() as client:
                    shadow.apply(client, self.name, todo)
                break
            except PerpetuneError:
                # MLflow fails where two set the same tag at once: look at what is left to do.
                if not again:
                    raise
        return [change.sentence for change in todo]

    def _examined(self) -> Examination:
        state, lacking = self._read()
        return Examination.of(state, self.versions.recorded(), lacking, self._connection)

    def _read(self) -> tuple[State, Problem | None]:
        """What the log says, and what this machine has seen in it that is not there now."""
        stored = self._log.stored()
        lacking = self._copy.restorable(stored)
        problem = lacking_entries(lacking, self._copy.path) if lacking else None
        return replay(self.name, stored), problem

    def _pending(self, standing: Standing, found: Examination) -> Pending:
        registration = standing.registration
        kept = found.kept.get(standing.number)
        try:
            with self._connection.client() as client:
                metrics = client.get_run(registration.run_id).data.metrics
        except PerpetuneError:  # somebody has deleted the run; verification says so
            metrics = {}
        return Pending(
            version=standing.number,
            verdict=standing.gates,
            round=registration.round,
            created=kept.created if kept else "",
            run_id=registration.run_id,
            metrics={
                mlflow_values.unquoted(name): value for name, value in sorted(metrics.items())
            },
            digest=standing.digest,
            approvals=standing.approvals,
            missing=max(1, self._rules.approvals - len(standing.approvals)),
            reviews=standing.reviews,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
