"""Rows unlike what the champion was trained on."""

from tasks.core.errors import BadInput
from tasks.label.pool import Pool, ranks, spread
from tasks.label.strategies import STRATEGIES


@STRATEGIES.register
class Novelty:
    """The rows farthest from the training data, groups in turn."""

    name = "novelty"
    meaning = (
        "Rows far from what the champion was trained on, by the distance to the fifth nearest row "
        "(Sun et al. 2022, “Out-of-distribution detection with deep nearest neighbors”)."
    )

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:  # noqa: ARG002
        """As `Strategy.choose`."""
        if pool.novelty is None:
            raise BadInput(
                "label.strategy: novelty compares rows with the training data, and there is none: "
                "approve a first version, name `curate.inputs`, or set label.strategy=diversity"
            )
        return spread(ranks(pool.novelty), pool.groups, count)

    def reason(self, pool: Pool, row: int) -> str:
        """As `Strategy.reason`."""
        assert pool.novelty is not None
        share = ranks(pool.novelty)[row]
        return f"further from the training data than {share - 1 / len(pool):.0%} of the rows"
