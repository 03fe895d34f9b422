"""The state of a model as the fold of its decision log."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tasks.core.values import Value
from tasks.decisions.values import Aliases, Decision, Entry, Outcome, Standing

_OUTCOMES: dict[str, Outcome] = {"approve": "approved", "reject": "rejected"}


class Problem(Value):
    """Something that is not as it has to be, and what puts it right."""

    what: str
    """A sentence."""
    remedy: str
    """A command or a sentence."""

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@dataclass(frozen=True)
class State:
    """What a decision is made on: everything that the entries of the log say together."""

    model: str
    versions: Mapping[int, Standing] = field(default_factory=dict)
    """By number, rising."""
    aliases: Aliases = field(default_factory=Aliases)
    entries: tuple[Entry, ...] = ()
    """Those that hold, oldest first."""
    problems: tuple[Problem, ...] = ()
    """Why the log does not hold from some place on; nothing behind it counts."""
    unfinished: tuple[Entry, ...] = ()
    """Entries whose aliases may not be set yet."""

    @property
    def head(self) -> str:
        """Hash of the last entry; empty where there is none."""
        return self.entries[-1].hash if self.entries else ""

    @property
    def decisions(self) -> list[Entry]:
        """What people have decided, newest first: entries without registrations and reviews."""
        return [
            entry for entry in reversed(self.entries) if entry.action not in ("register", "review")
        ]


def advance(state: State, entry: Entry) -> State:
    """The state after an entry that the policy allows on `state`."""
    versions = dict(state.versions)
    if entry.action == "register":
        assert entry.registration is not None
        if entry.after.challenger == entry.version:
            for number, standing in versions.items():
                if standing.waiting:
                    versions[number] = _with(standing, outcome="superseded", approvals=())
        versions[entry.version] = Standing(
            number=entry.version, registration=entry.registration, registered_by=entry.number
        )
        if entry.version != max(versions):  # entered as found, later than others
            versions = dict(sorted(versions.items()))
    elif entry.action == "review":
        assert entry.review is not None
        found = versions[entry.version]
        versions[entry.version] = _with(found, reviews=(*found.reviews, entry.review))
    elif entry.action == "rollback":
        assert entry.before.champion is not None
        left = versions[entry.before.champion]
        versions[left.number] = _with(left, outcome="rolled_back", approvals=(), decided=entry)
    else:
        versions[entry.version] = _decided(versions[entry.version], entry)
    return replace(
        state,
        versions=versions,
        aliases=entry.after,
        entries=(*state.entries, entry),
    )


def _decided(standing: Standing, entry: Entry) -> Standing:
    if entry.missing:
        return _with(standing, approvals=(*standing.approvals, entry.by), decided=entry)
    approved = entry.action == "approve"
    return _with(
        standing,
        outcome=_OUTCOMES[entry.action],
        approvals=(),
        override=entry.override if approved else standing.override,
        was_champion=standing.was_champion or approved,
        decided=entry,
    )


def _with(standing: Standing, **changes: object) -> Standing:
    return standing.model_copy(update=changes)


def subject(decision: Decision) -> int:
    """The version whose page tells of a decision; of a rollback, the champion that goes."""
    return (decision.before.champion or 0) if decision.action == "rollback" else decision.version
