"""The chain of a log: how an entry is sealed, and what is read back of what is stored.

An entry holds if it is as its own hash says, comes next by its number, names the hash of the entry
before, and is what the policy decides at its place. From the first that does not hold on, nothing
counts: a changed log can take a champion away, never make one. Whoever can write to the log can
also write a whole other chain; that is seen where the hash of the last entry is known from
elsewhere (the copy in the state folder, the note of somebody who ran `perpetune audit`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tasks.core.errors import PerpetuneError
from tasks.decisions.log import Stored
from tasks.decisions.policy import decide
from tasks.decisions.state import Problem, State, advance
from tasks.decisions.values import Decision, Entry, Request, canonical, digest_of

_RESTORE = (
    "`perpetune doctor --fix` restores it where this machine has a copy of the log; otherwise "
    "restore the log from a backup"
)


def seal(state: State, decision: Decision) -> Entry:
    """The decision as the next entry of the log."""
    values = {name: getattr(decision, name) for name in Decision.model_fields}
    number = len(state.entries) + 1
    entry = Entry(**values, model=state.model, number=number, previous=state.head, hash="")
    return entry.model_copy(update={"hash": hash_of(entry)})


def hash_of(entry: Entry) -> str:
    """What `hash` of an entry has to be."""
    content = entry.to_json()
    del content["hash"]
    return digest_of(content)


def replay(model: str, stored: Iterable[Stored]) -> State:
    """The state that a log gives, checked entry by entry; problems name the place."""
    state = State(model)
    items = [item for item in stored if not item.lost]
    for place, item in enumerate(items):
        entry, problem = _checked(state, item)
        if entry is None:
            return replace(state, problems=_problems(problem, items[place + 1 :]))
        state = advance(state, entry)
        if not item.finished:
            state = replace(state, unfinished=(*state.unfinished, entry))
    return state


def readable(item: Stored) -> Entry | None:
    """The entry in a place if it is as its own hash says."""
    try:
        entry = Entry.from_json(json.loads(item.text))
    except (ValueError, PerpetuneError, RecursionError):
        return None
    whole = canonical(entry.to_json()) == item.text and hash_of(entry) == entry.hash
    return entry if whole else None


def _checked(state: State, item: Stored) -> tuple[Entry | None, str]:
    """The next entry, or what is wrong with it."""
    entry, number = readable(item), len(state.entries) + 1
    if entry is None:
        return None, f"entry {number} ({item.place}) was changed: it is not what its hash says"
    if entry.model != state.model:
        return None, f"entry {number} ({item.place}) is of another model, {entry.model}"
    if entry.number > number:
        missing = f"{number}" if entry.number == number + 1 else f"{number} to {entry.number - 1}"
        return None, f"entry {missing} is missing before entry {entry.number} ({item.place})"
    if entry.number < number:
        return None, f"entry {entry.number} is there twice (again in {item.place}): a fork"
    if entry.previous != state.head:
        return None, (
            f"entry {number} ({item.place}) does not follow entry {number - 1}: one of them was "
            "changed"
        )
    asked = {name: getattr(entry, name) for name in Request.model_fields}
    try:
        allowed = decide(state, Request(**asked))
    except PerpetuneError as refusal:
        return None, f"entry {number} ({item.place}) is not allowed at its place: {refusal}"
    kept = {name: getattr(entry, name) for name in Decision.model_fields}
    if allowed != Decision(**kept):
        return None, f"entry {number} ({item.place}) does not say what the policy decides there"
    return entry, ""


def _problems(first: str, later: Sequence[Stored]) -> tuple[Problem, ...]:
    if later:
        first += (
            f"; {len(later)} later {'entry does' if len(later) == 1 else 'entries do'} not count"
        )
    changed = [item.place for item in later if readable(item) is None]
    sentences = [first, *(f"the entry in {place} was changed" for place in changed)]
    return tuple(Problem(what=sentence, remedy=_RESTORE) for sentence in sentences)


def restorable(stored: Sequence[Stored], copy: Sequence[Entry]) -> list[Entry]:
    """Entries of a copy of the log that the log lacks or has changed, in their order."""
    found = {entry.hash for item in stored if (entry := readable(item)) is not None}
    return [entry for entry in copy if entry.hash not in found]
