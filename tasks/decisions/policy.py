"""The policy: a state and an action give a decision, or a refusal with its reason.

Nothing here reads or writes anything, so all of it can be tested without a registry.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.core.errors import BadInput, Refused
from tasks.decisions.values import Aliases, Decision, Version

_NAME_CHARACTERS = 200
_COMMENT_CHARACTERS = 2000


@dataclass(frozen=True)
class State:
    """What a decision is made on: all versions of a model by number, rising, and the log."""

    model: str
    versions: Mapping[int, Version]
    history: Sequence[Decision] = ()
    """Newest first."""

    @property
    def aliases(self) -> Aliases:
        """Where the three aliases stand."""
        return aliases_of(self.versions.values())

    @property
    def unrecorded(self) -> list[int]:
        """Versions that have the alias `champion` without a decision that gave it to them."""
        champion = self.aliases.champion
        if champion is None:
            return []
        moves = (decision for decision in self.history if decision.action != "reject")
        last = next(moves, None)
        return [] if last and last.after.champion == champion else [champion]


def aliases_of(versions: Iterable[Version]) -> Aliases:
    """Where the three aliases stand, by what the versions say."""
    found = {alias: version.number for version in versions for alias in version.aliases}
    return Aliases(**{name: found.get(name) for name in Aliases.model_fields})


def effective(state: State, begun: Iterable[Decision]) -> State:
    """The state that holds: begun decisions applied, and the newest waiting version challenger.

    The registry's own aliases follow when somebody next writes; see `tasks.registry`.

    Args:
        state: as the registry has it.
        begun: decisions that a crash has left unfinished, oldest first.
    """
    now = dict(state.versions)
    aliases = aliases_of(now.values())
    for decision in begun:
        aliases = aliases.model_copy(update=dict(decision.moves()))
        if decision.subject in now:
            now[decision.subject] = _decided_on(now[decision.subject], decision.version_tags())
    waiting = [version.number for version in now.values() if version.waiting]
    for number in waiting[:-1]:
        now[number] = _decided_on(now[number], {"decision": "superseded"})
    challenger = waiting[-1] if waiting else None
    aliases = aliases.model_copy(update={"challenger": challenger})
    ours = set(Aliases.model_fields)
    placed = {}
    for number, version in now.items():
        others = tuple(name for name in version.aliases if name not in ours)
        found = tuple(sorted((*others, *aliases.of(number))))
        placed[number] = version.model_copy(update={"aliases": found})
    return replace(state, versions=placed)


def _decided_on(version: Version, tags: Mapping[str, str]) -> Version:
    update = {"decision": tags["decision"], "tags": {**version.tags, **tags}}
    return version.model_copy(update=update)


def approve(state: State, version: int, by: str, comment: str, at: str) -> Decision:
    """Make the challenger the champion; the champion of until now becomes `previous`.

    A version that a person has approved before may be approved again, too: that is the way back
    after a rollback, and to a champion older than `previous`.

    Args:
        state: what is decided on.
        version: its number.
        by: who decides.
        comment: why.
        at: when, as ISO 8601 in UTC.

    Raises:
        BadInput: no such version, or nobody decides (`by` is empty), or a text is too long.
        Refused: it is champion already, it failed its verdict, or it is not pending.
    """
    check_person(by, comment)
    before = state.aliases
    chosen = _known(state, version)
    if version == before.champion:
        raise Refused(f"version {version} is the champion already; nothing was changed")
    if chosen.verdict != "passed":
        raise Refused(
            f"version {version} did not pass its verdict ({chosen.verdict or 'it has none'}); "
            "only a version that did can be approved"
        )
    if not chosen.waiting and not chosen.was_champion:
        raise Refused(_not_pending(chosen))
    challenger = None if version == before.challenger else before.challenger
    after = Aliases(champion=version, challenger=challenger, previous=before.champion)
    return Decision(
        action="approve", version=version, by=by, comment=comment, at=at, before=before, after=after
    )


def reject(state: State, version: int, by: str, comment: str, at: str) -> Decision:
    """Turn the challenger down; it stays registered, without an alias.

    Raises:
        BadInput: no such version, or nobody decides (`by` is empty), or a text is too long.
        Refused: the version is not pending.
    """
    check_person(by, comment)
    before = state.aliases
    chosen = _known(state, version)
    if version != before.challenger:
        raise Refused(_not_pending(chosen))
    after = before.model_copy(update={"challenger": None})
    return Decision(
        action="reject", version=version, by=by, comment=comment, at=at, before=before, after=after
    )


def rollback(state: State, by: str, comment: str, at: str) -> Decision:
    """Make the previous champion the champion again.

    Afterwards there is no `previous`: a rollback that is typed twice, or by two people, must not
    bring the bad version back. `approve` takes a named version back deliberately.

    Raises:
        BadInput: nobody decides (`by` is empty), or a text is too long.
        Refused: there is no previous champion.
    """
    check_person(by, comment)
    before = state.aliases
    if before.previous is None or before.champion is None:
        raise Refused(_no_previous(state))
    after = before.model_copy(update={"champion": before.previous, "previous": None})
    return Decision(
        action="rollback",
        version=before.previous,
        by=by,
        comment=comment,
        at=at,
        before=before,
        after=after,
    )


def check_person(by: str, comment: str) -> None:
    """See that a decision has somebody behind it, and that both texts can be stored as they are.

    Raises:
        BadInput: no name, or a text that is too long or no valid text.
    """
    if not by.strip():
        raise BadInput("a decision needs a person: give a name with --by NAME")
    for option, text, limit in (
        ("--by", by, _NAME_CHARACTERS),
        ("--comment", comment, _COMMENT_CHARACTERS),
    ):
        if len(text) > limit:
            raise BadInput(f"{option}: {len(text)} characters; at most {limit} are kept")
        # No NUL, which Postgres refuses, and no half of a surrogate pair, which no database takes.
        if re.search(r"[\x00\ud800-\udfff]", text):
            raise BadInput(f"{option}: holds a character that cannot be stored")


def what_exists(versions: Mapping[int, Version]) -> str:
    """The latest versions and the aliases, for a message."""
    if not versions:
        return "nothing is registered under this name yet"
    named = [f"{alias} = {v.number}" for v in versions.values() for alias in v.aliases]
    numbers = ", ".join(str(number) for number in list(versions)[-10:])
    return f"the latest are {numbers}" + (f" ({', '.join(named)})" if named else "")


def _known(state: State, number: int) -> Version:
    if number not in state.versions:
        raise BadInput(f"{state.model} has no version {number}; {what_exists(state.versions)}")
    return state.versions[number]


def _not_pending(version: Version) -> str:
    if version.verdict != "passed":
        return f"version {version.number} did not pass its verdict: it is not pending"
    by = version.tags.get("decided_by")
    who = f" by {by} at {version.tags.get('decided_at')}" if by else ""
    return f"version {version.number} was {version.decision}{who}: it is not pending"


def _no_previous(state: State) -> str:
    last = next(iter(state.history), None)
    if last and last.action == "rollback":
        why = f"{last.by} rolled back to version {last.version} at {last.at} already"
    else:
        why = "there is no previous champion"
    older = [
        str(version.number)
        for version in state.versions.values()
        if version.was_champion and version.number != state.aliases.champion
    ]
    hint = f"; versions approved before, to approve again: {', '.join(older)}" if older else ""
    return f"{why}; nothing was changed{hint}"
