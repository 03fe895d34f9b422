"""What is asked, what is decided, and what the log holds; `to_json` is what is stored and shown."""

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import Field

from tasks.core import files
from tasks.core.values import Value

Action: TypeAlias = Literal["register", "review", "approve", "reject", "rollback"]
GatesOutcome: TypeAlias = Literal["passed", "failed", "cannot decide", "unknown"]
"""How the gates of a candidate ended; `unknown`: it was entered as found, without a verdict."""
Outcome: TypeAlias = Literal["approved", "rejected", "rolled_back", "superseded"]
Identity: TypeAlias = Literal["claimed", "authenticated"]
"""Whether a server has seen to it that the name is the person's."""

AUTO_APPROVER = "auto-approve"
"""Who decides in unattended demonstrations; never somebody other than the author of a round."""


class Aliases(Value):
    """The version number that each alias points at."""

    champion: int | None = None
    """In use, approved by a person."""
    challenger: int | None = None
    """Passed its gates and waits for a person."""
    previous: int | None = None
    """The champion before, which a rollback brings back."""

    def of(self, version: int) -> tuple[str, ...]:
        """The aliases that point at a version, sorted."""
        return tuple(sorted(name for name, number in self if number == version))


class Rules(Value):
    """The rules in force when something was decided; they are part of the log.

    Whoever changes what the policy refuses makes it depend on a new field here whose default is the
    old behaviour: the log is checked by repeating every decision under its own rules.
    """

    approvals: int = 1
    own_rounds: Literal["allow", "refuse"] = "allow"
    review: Literal["optional", "required"] = "optional"
    authentication: Literal["optional", "required"] = "optional"


class Registration(Value):
    """What a version is, byte for byte. Digests are SHA-256 in hex."""

    round: str | None
    """Key of the round that brought it."""
    outcome: GatesOutcome
    """Of the verdict."""
    authors: tuple[str, ...] = ()
    """The names under which whoever started the round is known."""
    run_id: str
    model_id: str
    model: Mapping[str, str] = Field(repr=False)
    """Digests of the MLflow model's files, by path; the adapter is in `artifacts/adapter`."""
    evidence: Mapping[str, str] = Field(repr=False)
    """Digests of the run's files (verdict, card, review sheet, …), by path."""
    facts: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """What else it stands on: base, hashes of the data, git commit, settings."""
    found: bool = False
    """Entered as it was found: nobody vouches for what its files were before."""

    @property
    def digest(self) -> str:
        """One digest of all of it."""
        return digest_of(self.to_json())


class Review(Value):
    """What a person has marked on a review sheet: the candidate beside the reference, blind."""

    wins: int = Field(ge=0)
    """Items on which the candidate's answer was marked the better one."""
    ties: int = Field(ge=0)
    losses: int = Field(ge=0)
    p_value: float | None = Field(default=None, ge=0, le=1)
    """Of a two-sided sign test of wins against losses; None: nothing to test."""
    by: str
    at: str
    """ISO 8601 in UTC."""
    marks: str
    """SHA-256 of the file of marks."""
    comment: str = ""

    @property
    def worse(self) -> bool:
        """Whether the person found the candidate worse, beyond chance at 5 %."""
        return self.losses > self.wins and self.p_value is not None and self.p_value < 0.05


class Request(Value):
    """What somebody asks for."""

    action: Action
    version: int | None = None
    """None only for a rollback to `previous`."""
    by: str
    identity: Identity = "claimed"
    comment: str = ""
    at: str
    """ISO 8601 in UTC, by the clock of the machine; nothing is ordered by it."""
    override: str = ""
    """Why a candidate becomes champion although its gates did not pass."""
    rules: Rules = Rules()
    registration: Registration | None = None
    review: Review | None = None


class Decision(Request):
    """What the policy has allowed, with the aliases before and after it."""

    version: int
    """The version that is registered, reviewed, approved, rejected or rolled back to."""
    before: Aliases
    after: Aliases
    missing: int = 0
    """Approvals that are missing before the version becomes champion."""


class Entry(Decision):
    """A decision in the log of one model, chained to the one before."""

    model: str
    number: int
    """Counts from 1; the order of the log."""
    previous: str
    """`hash` of the entry before; empty for the first."""
    hash: str
    """SHA-256 of the canonical JSON of everything else."""

    def canonical(self) -> str:
        """The entry as it is stored: equal entries give equal bytes, in ASCII."""
        return canonical(self.to_json())


class Standing(Value):
    """Where a version stands by the log."""

    number: int
    registration: Registration
    registered_by: int
    """Number of its `register` entry."""
    outcome: Outcome | None = None
    """None until somebody or something has decided."""
    approvals: tuple[str, ...] = ()
    """Who has approved it so far, where several have to."""
    reviews: tuple[Review, ...] = ()
    override: str = ""
    """The reason for which it became champion against its gates."""
    was_champion: bool = False
    decided: Entry | None = Field(default=None, repr=False)
    """The last decision on it."""

    @property
    def gates(self) -> GatesOutcome:
        """How its gates ended."""
        return self.registration.outcome

    @property
    def waiting(self) -> bool:
        """Whether its gates passed and nobody has decided on it."""
        return self.gates == "passed" and self.outcome is None

    @property
    def digest(self) -> str:
        """Of all that somebody who decides has to see: the registration and the reviews.

        Whoever asks a person shows this digest and gives it with the answer (`seen`).
        """
        return digest_of([self.registration.to_json(), [item.to_json() for item in self.reviews]])


class Version(Value):
    """One registered version: what the log says of it, and where MLflow keeps it."""

    name: str
    number: int
    round: str | None
    verdict: GatesOutcome | None
    """How its gates ended by the log; None: the log does not know the version."""
    decision: Outcome | None
    """None until somebody or something has decided."""
    created: str
    """ISO 8601 in UTC."""
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = Field(repr=False)
    """As MLflow has them: anybody can edit these there."""
    standing: Standing | None = Field(default=None, repr=False)

    @property
    def waiting(self) -> bool:
        """Whether its gates passed and nobody has decided on it."""
        return self.standing is not None and self.standing.waiting

    @property
    def was_champion(self) -> bool:
        """Whether people have made it champion once."""
        return self.standing is not None and self.standing.was_champion


def canonical(value: Any) -> str:
    """JSON of which equal values have equal text, in ASCII."""
    return files.to_json(value, sort_keys=True, separators=(",", ":"))


def digest_of(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def normalised(name: str) -> str:
    """A name as names are compared: case, spaces, width and invisible signs do not count."""
    shown = "".join(
        sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf"
    )
    return " ".join(shown.casefold().split())
