"""What a pass says about the learned tokens of a pack: the quantities that losses are made of."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Scores:
    """Losses of T learned tokens of E examples in G groups, for each of K adapters.

    Examples are in the order of the pack, the groups' examples one after another. In a pack of two
    pairs, `group_sizes` is (2, 2), and `pairs(log_probabilities())` is [K, 2, 2].
    """

    token_losses: torch.Tensor
    """−log p of each learned token in nats, in float32: [K, T]."""
    targets: tuple[int, ...]
    """Learned tokens of each example [E]."""
    group_sizes: tuple[int, ...]
    """Examples of each group [G]."""
    reference: torch.Tensor | None = None
    """Log-probability of each example's learned tokens under the base without an adapter [E], for
    an objective that needs it."""

    def losses(self) -> torch.Tensor:
        """−log p of each example's learned tokens in nats: [K, E]."""
        by_example = self.token_losses.split(self.targets, dim=1)
        return torch.stack([losses.sum(dim=1) for losses in by_example], dim=1)

    def log_probabilities(self) -> torch.Tensor:
        """log p of each example's learned tokens in nats: [K, E]."""
        return -self.losses()

    def pairs(self, values: torch.Tensor) -> torch.Tensor:
        """Values of examples [..., E] by their groups, which have two examples each: [..., G, 2].

        Raises:
            ValueError: a group has another size.
        """
        if set(self.group_sizes) != {2}:
            raise ValueError(f"groups of {sorted(set(self.group_sizes))} examples are no pairs")
        return values.reshape(*values.shape[:-1], -1, 2)
