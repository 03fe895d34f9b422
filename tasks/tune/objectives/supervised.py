"""Supervised fine-tuning: the mean loss of the tokens that the model is to write."""

from typing import TYPE_CHECKING

from tasks.tune.objectives.contract import Encoder, Objective

if TYPE_CHECKING:
    import torch

    from tasks.records import Record
    from tasks.tune.data.groups import Group
    from tasks.tune.data.scores import Scores


class Supervised(Objective):
    """Learns the assistant's turns of chats, and all of texts; the mean is over tokens."""

    name = "supervised"
    learns_from = "chats and texts"
    remedy = "write the good answers as prompt and completion"

    def refusal(self, record: "Record") -> str | None:
        """As `Objective.refusal`."""
        return None if record.kind in ("chat", "text") else f"of kind {record.kind}"

    def encode(self, record: "Record", encoder: Encoder) -> "list[Group]":
        """Each example alone."""
        from tasks.tune.data.groups import Group

        return [Group.of(example) for example in encoder.all_of(record)]

    def losses(self, scores: "Scores") -> "torch.Tensor":
        """−log p of the learned tokens of each example in nats: [K, E]."""
        return scores.losses()

    def total_loss(self, scores: "Scores") -> "torch.Tensor":
        """The same, summed over all tokens at once: [K]."""
        return scores.token_losses.sum(dim=1)

    def weight(self, group: "Group") -> int:
        """Its learned tokens."""
        return group.targets
