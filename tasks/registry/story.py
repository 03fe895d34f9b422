"""The texts on MLflow's pages: how a version did, and what changed since the champion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks.core.values import Value
from tasks.registry.links import Links
from tasks.registry.results import Candidate
from tasks.rendering.templates import render

_SHOWN_SETTINGS = 12
# Where things are and what they are called changes nothing that a version is.
_NO_CHANGE = ("project.state_dir", "project.model", "project.tracking_uri", "platform", "notify")
_DATA = {
    "train_records": "training records",
    "validation_records": "validation records",
    "train_hash": "training data (MD5)",
    "validation_hash": "validation data (MD5)",
    "data_version": "raw data",
}
_CODE = {"git_commit": "commit", "code_version": "code and libraries", "base": "base model"}


class Change(Value):
    """Something that is otherwise than it was."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Predecessor:
    """The champion of the time when a candidate was registered."""

    number: int
    facts: Mapping[str, str]
    """What its version's tags say."""
    settings: Mapping[str, Any] | None
    """All of its round's settings; None where they were not kept."""


@dataclass(frozen=True)
class Story:
    """What a version's page tells, beside its model card."""

    model: str
    """Its address: `models:/m-…`."""
    run_id: str
    links: Links
    champion: Predecessor | None
    settings: Mapping[str, Any] | None
    """All settings of its round."""
    approval: str
    """Where a person decides."""

    def describe(self, candidate: Candidate, characters: int) -> str:
        """The story in Markdown, then as much of the model card as there is room for.

        No text of data, models or people in it can become a link, a picture or markup.
        """
        settings = [*self._settings_changed()]
        story = render(
            "tasks.registry",
            "version.md.j2",
            outcome=_outcome(candidate),
            champion=self.champion,
            data=[*_changed(_DATA, self.champion, candidate.tags)],
            code=[*_changed(_CODE, self.champion, candidate.tags)],
            settings=settings[:_SHOWN_SETTINGS],
            more_settings=max(0, len(settings) - _SHOWN_SETTINGS),
            settings_known=self.champion is None or self.champion.settings is not None,
            model=Markup(self.model),  # noqa: S704 (made of an id that MLflow gave)
            review_sheet=_link("review sheet", self.links.review_sheet(self.run_id)),
            round=_link("round and its trials", self.links.run(self.run_id)),
            data_card=_link("data card", self.links.data_card(self.run_id)),
            verdict=_link("verdict", self.links.artifact(self.run_id, "verdict.json")),
            approval=_link("approval form", self.approval),
            all_versions=_link("all versions and decisions", self.links.model()),
        )
        whole = f"{story.strip()}\n\n{candidate.card}"
        if len(whole) <= characters:
            return whole
        card = _link("all of the model card", self.links.artifact(self.run_id, "card.md"))
        rest = f"\n\n… {card}"
        # Half of a table would be shown as text.
        return whole[: characters - len(rest)].rpartition("\n\n")[0] + rest

    def _settings_changed(self) -> Iterator[Change]:
        if self.champion is None or self.champion.settings is None or self.settings is None:
            return
        before, after = _flat(self.champion.settings), _flat(self.settings)
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key, "not set"), after.get(key, "not set")
            if old != new and not key.startswith(_NO_CHANGE):
                yield Change(what=key, before=old, after=new)


def _outcome(candidate: Candidate) -> str:
    said = candidate.verdict.get("outcome")
    if candidate.passed is True and said in (None, "passed"):
        return "passed every gate"
    return "is not decided by every gate" if said == "cannot decide" else "was refused by a gate"


def _changed(
    names: Mapping[str, str], champion: Predecessor | None, facts: Mapping[str, str]
) -> Iterator[Change]:
    if champion is None:
        return
    for name, words in names.items():
        before, after = champion.facts.get(name), facts.get(name)
        if before != after and (before or after):
            yield Change(what=words, before=str(before or "unknown"), after=str(after or "unknown"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


def _link(words: str, address: str) -> Markup:
    """A link of ours: its address holds nothing that would end it."""
    safe = address.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
    return Markup(f"[{words}]({safe})")  # noqa: S704
