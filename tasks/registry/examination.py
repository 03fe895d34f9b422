"""What is not as the decision log says, as sentences with what puts it right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.decisions import Entry, Problem, State
from tasks.registry import shadow
from tasks.registry.connection import Connection
from tasks.registry.decision_log import decisions_before
from tasks.registry.shadow import Kept
from tasks.registry.versions import Versions
from tasks.rendering.markdown import one_line

_FIX = "`perpetune doctor --fix` brings MLflow to what the log says"


@dataclass(frozen=True)
class Examination:
    """The log, MLflow, and where they part."""

    state: State
    kept: Mapping[int, Kept]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    """What is in order and has to be seen all the same."""
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        state: State,
        kept: Mapping[int, Kept],
        lacking: Problem | None,
        connection: Connection,
    ) -> "Examination":
        """Compare; reads nothing but whether a registry is older than the log.

        Args:
            state: of the log.
            kept: what MLflow has.
            lacking: from `lacking_entries`; None: nothing is gone.
            connection: to MLflow.
        """
        problems = [*state.problems, *([lacking] if lacking else []), *_deleted(state, kept)]
        if not state.problems and lacking is None:
            problems += [*_moved(state, kept), *_unknown(state, kept, connection)]
        return cls(state, kept, tuple(problems), tuple(_remarks(state)), tuple(_notes(state, kept)))

    def damaged(self, versions: Versions) -> Iterator[Problem]:
        """Versions behind an alias whose files are not those that were registered."""
        for alias, number in self.state.aliases:
            if number is None or number not in self.kept:
                continue
            wrong = versions.verify(self.state.versions[number])
            if wrong:
                yield Problem(
                    what=f"version {number} ({alias}) is not what was registered: "
                    + "; ".join(wrong[:5]),
                    remedy=f"restore the file, or {_way_out(alias, number)}",
                )


def lacking_entries(entries: Sequence[Entry], copy: Path) -> Problem:
    """Entries that this machine has seen in the log and that are not there now.

    Args:
        entries: these; at least one.
        copy: the file that they are in.
    """
    numbers = ", ".join(str(entry.number) for entry in entries)
    word = "entry" if len(entries) == 1 else "entries"
    return Problem(
        what=f"the decision log lacks {word} {numbers}, which this machine has seen in it",
        remedy="`perpetune doctor --fix` puts back what was deleted or changed; if another log has "
        f"replaced it on purpose, remove {copy}",
    )


def _deleted(state: State, kept: Mapping[int, Kept]) -> Iterator[Problem]:
    missing = set(shadow.missing(state, kept))
    for alias, number in state.aliases:
        if number in missing:
            yield Problem(
                what=f"version {number}, the {alias}, was deleted in MLflow",
                remedy=_way_out(alias, number),
            )


def _moved(state: State, kept: Mapping[int, Kept]) -> Iterator[Problem]:
    changes = shadow.changes(state, kept)
    if changes and state.unfinished:
        number = state.unfinished[-1].number
        yield Problem(
            what=f"entry {number} of the decision log is not applied in MLflow yet: somebody is "
            "about to, or was interrupted",
            remedy="the next command that writes does it, or `perpetune doctor --fix`",
        )
        return
    for change in changes:
        yield Problem(what=change.sentence, remedy=_FIX)


def _unknown(state: State, kept: Mapping[int, Kept], connection: Connection) -> Iterator[Problem]:
    unknown = [number for number in shadow.unknown(state, kept) if kept[number].model_id]
    if unknown:
        numbers = ", ".join(map(str, unknown[-10:]))
        before = 0 if state.entries else decisions_before(connection, state.model)
        if before:
            why = f"its {before} decisions were made before there was a log"
        else:
            why = "a round was interrupted, or somebody registered past Perpetune"
        yield Problem(
            what=f"not in the decision log of {state.model}: version {numbers} ({why}); nobody can "
            "approve or load what is not in it",
            remedy="run an interrupted round again; `perpetune doctor --fix` enters versions as "
            "they are found, to be approved with --override",
        )
    for number in shadow.unknown(state, kept):
        for alias in kept[number].aliases:
            if getattr(state.aliases, alias, 0) is None:
                yield Problem(
                    what=f"MLflow's alias {alias} is at version {number} without a decision",
                    remedy="`perpetune doctor --fix`, then `perpetune approve "
                    f"{number} --by NAME --override REASON`, or approve another version",
                )


def _remarks(state: State) -> Iterator[str]:
    number = state.aliases.champion
    if number is not None and state.versions[number].override:
        standing = state.versions[number]
        by = f" by {one_line(standing.decided.by)}" if standing.decided else ""
        yield (
            f"version {number} was made champion{by} AGAINST ITS GATES ({standing.gates}): "
            f"{one_line(standing.override)}"
        )


def _notes(state: State, kept: Mapping[int, Kept]) -> Iterator[str]:
    in_use = {number for _, number in state.aliases}
    for number in shadow.missing(state, kept):
        if number not in in_use:
            yield f"version {number} was deleted in MLflow"
    for number in shadow.unknown(state, kept):
        if not kept[number].model_id:
            yield f"version {number} in MLflow is of others: it holds nothing that can be approved"


def _way_out(alias: str, number: int | None) -> str:
    return {
        "champion": "`perpetune rollback --by NAME` (`--to VERSION` where there is no previous)",
        "challenger": f"`perpetune reject {number} --by NAME`",
        "previous": "approve another version, which becomes the way back",
    }[alias]
