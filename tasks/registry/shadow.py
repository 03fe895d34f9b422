"""MLflow's aliases, tags and descriptions as the shadow of the decision log.

The log says what has to be there; here it is compared with what is, and brought in line. Nothing is
ever deleted but an alias or a tag that the log does not give.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasks.core.values import Value
from tasks.decisions import Standing, State
from tasks.registry import mlflow_values
from tasks.rendering.markdown import escape, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ORDER = ("previous", "champion", "challenger")
"""`previous` is set before `champion` moves, so that there is always a way back; `challenger` is
deleted last."""
_DECIDED = ("decision", "decided_by", "decided_at", "comment", "identity", "override", "approvals")
OWN_TAGS = ("verdict", "digest", *_DECIDED)
"""Tags that the log gives."""


@dataclass(frozen=True)
class Kept:
    """A version as MLflow has it."""

    number: int
    created: str
    run_id: str
    model_id: str
    tags: Mapping[str, str]
    description: str
    aliases: tuple[str, ...]


class Change(Value):
    """One thing in MLflow that is not as the log says."""

    kind: Literal["alias", "tag", "description"]
    name: str = ""
    """Of the alias or the tag."""
    version: int | None = None
    """None: the alias is to be deleted."""
    text: str | None = None
    """Of the tag (None: it is to be deleted), or the description."""
    sentence: str


def changes(state: State, kept: Mapping[int, Kept]) -> list[Change]:
    """What makes MLflow agree with the log, in the order in which it is to be done."""
    return [*_tag_changes(state, kept), *_alias_changes(state, kept)]


def apply(client: "MlflowClient", model: str, todo: Iterable[Change]) -> None:
    """Make the changes; doing so again changes nothing more."""
    for change in todo:
        if change.kind == "alias":
            if change.version is None:
                client.delete_registered_model_alias(model, change.name)
            else:
                client.set_registered_model_alias(model, change.name, str(change.version))
        elif change.kind == "description":
            client.update_model_version(model, str(change.version), change.text)
        elif change.text is None:
            client.delete_model_version_tag(model, str(change.version), change.name)
        else:
            client.set_model_version_tag(model, str(change.version), change.name, change.text)


def own_tags(standing: Standing) -> dict[str, str]:
    """What the log says of a version, as tags on one line each."""
    tags = {"verdict": standing.gates, "digest": standing.registration.digest}
    if standing.outcome:
        tags["decision"] = standing.outcome
    if standing.approvals:
        tags["approvals"] = ", ".join(standing.approvals)
    if standing.decided:
        tags |= {
            "decided_by": standing.decided.by,
            "decided_at": standing.decided.at,
            "comment": standing.decided.comment,
            "identity": standing.decided.identity,
        }
    if standing.override:
        tags["override"] = standing.override
    limit = mlflow_values.VERSION_CHARACTERS
    return {name: mlflow_values.clip(one_line(text), limit) for name, text in tags.items()}


def _alias_changes(state: State, kept: Mapping[int, Kept]) -> Iterator[Change]:
    stands = {alias: number for number, version in kept.items() for alias in version.aliases}
    for alias in _ORDER:
        wanted, found = getattr(state.aliases, alias), stands.get(alias)
        if wanted == found or (wanted is not None and wanted not in kept):
            continue
        if wanted is None and found is not None and found not in state.versions:
            continue  # a registry from before the log: its champion stays until somebody decides
        at = "at none" if found is None else f"at version {found}"
        instead = "no version" if wanted is None else f"version {wanted}"
        yield Change(
            kind="alias",
            name=alias,
            version=wanted,
            sentence=f"MLflow's alias {alias} is {at}; by the decision log it is {instead}",
        )


def _tag_changes(state: State, kept: Mapping[int, Kept]) -> Iterator[Change]:
    for number, standing in state.versions.items():
        version = kept.get(number)
        if version is None:
            continue
        wanted = own_tags(standing)
        for name in OWN_TAGS:
            text, found = wanted.get(name), version.tags.get(name)
            if text == found:
                continue
            says = "is missing" if found is None else f"says “{one_line(found)[:60]}”"
            instead = "there is none" if text is None else f"it is “{text[:60]}”"
            yield Change(
                kind="tag",
                name=name,
                version=number,
                text=text,
                sentence=f"the tag {name} of version {number} {says} in MLflow; by the decision "
                f"log {instead}",
            )
        head = _head(standing)
        if head and not version.description.startswith(head):
            limit = mlflow_values.VERSION_CHARACTERS
            yield Change(
                kind="description",
                version=number,
                text=mlflow_values.clip(f"{head}\n\n{version.description}", limit),
                sentence=f"the description of version {number} in MLflow does not say that it was "
                "made champion against its gates",
            )


def _head(standing: Standing) -> str:
    """What the description of an overridden version begins with."""
    if not standing.override or standing.decided is None:
        return ""
    reason = mlflow_values.clip(escape(standing.override), 3000)
    return f"**Made champion against its gates ({standing.gates}).** {reason}"


def missing(state: State, kept: Mapping[int, Kept]) -> list[int]:
    """Versions of the log that somebody has deleted in MLflow."""
    return [number for number in state.versions if number not in kept]


def unknown(state: State, kept: Mapping[int, Kept]) -> list[int]:
    """Versions in MLflow that the log does not know."""
    return [number for number in kept if number not in state.versions]
