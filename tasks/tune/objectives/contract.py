"""What an objective is: which records it learns from, how, and what it minimises."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from tasks.tune.objectives.settings import ObjectiveSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from tasks.model.encoding import AnyTokenizer, Example
    from tasks.records import Record
    from tasks.tune.data.groups import Group
    from tasks.tune.data.scores import Scores


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes records for the base model, up to `max_length` tokens an example."""

    tokenizer: "AnyTokenizer"
    max_length: int

    def all_of(self, record: "Record") -> "list[Example]":
        """All of a record, in as many examples as that takes.

        Raises:
            Unrenderable: the base cannot be given this record without losing some of it.
        """
        from tasks.model.encoding import encode_all

        return encode_all(record, self.tokenizer, self.max_length)

    def last_answer(self, record: "Record") -> "Example":
        """A record as one example, which ends with its last answer.

        Raises:
            Unrenderable: as `all_of`.
        """
        from tasks.model.encoding import encode

        return encode(record, self.tokenizer, self.max_length)


class Objective(Protocol):
    """One way to learn from records; a member of `OBJECTIVES` subclasses it.

    The trainer, the sweep, checkpoints, the memory estimate and evaluations know an objective by
    these methods only. A training step minimises Σ losses / Σ weights over the groups of a batch;
    the validation loss is the same over the validation groups.

    Everything is stateless: a member is registered once, and `configured` gives a copy with the
    settings of `tune.objective`. Losses may be called by several threads at once.
    """

    name: str
    """By which `tune.objective` chooses it."""
    learns_from: str
    """The records it learns from, in the plural, for messages: "chats and texts"."""
    settings: type[ObjectiveSettings] = ObjectiveSettings
    """The class of `tune.objective` for this objective."""
    options: Any = None
    """An instance of `settings`."""
    remedy: str = ""
    """What to do with other records, apart from leaving them out."""
    needs_reference: bool = False
    """Losses need the log-probabilities of the base without an adapter (`Scores.reference`)."""
    head: str | None = None
    """What is put on the base; None: its own language-model head."""
    metric_names: "Sequence[str]" = ()
    """Keys of what `metrics` returns."""

    def configured(self, options: ObjectiveSettings) -> Self:
        """A copy with these settings."""
        chosen = copy.copy(self)
        chosen.options = options
        return chosen

    def refusal(self, record: "Record") -> str | None:
        """Why this objective cannot learn from a record, in words that follow "N records"; None
        where it can. It is asked of every record before anything is encoded: what an objective
        does not use (a kind, a label, a weight) is refused, never trained on."""
        ...

    def encode(self, record: "Record", encoder: Encoder) -> "list[Group]":
        """The groups of a record that is not refused; ids of examples are unique in the data.

        Raises:
            BadInput: the record cannot be encoded; the message names its file and line.
        """
        ...

    def losses(self, scores: "Scores") -> "torch.Tensor":
        """The loss of each group: [K, G]."""
        ...

    def total_loss(self, scores: "Scores") -> "torch.Tensor":
        """The sum of `losses` over the groups: [K]."""
        return self.losses(scores).sum(dim=1)

    def weight(self, group: "Group") -> int:  # noqa: ARG002 (for those that need it)
        """What a group adds to the divisor of the mean loss: 1, or its learned tokens."""
        return 1

    def metrics(self, scores: "Scores") -> "Mapping[str, torch.Tensor]":  # noqa: ARG002
        """What is reported beside the loss: a value of each group [K, G], by name. Evaluations
        report their means over the validation groups."""
        return {}
