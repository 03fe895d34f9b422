"""What is measured of a batch of records at once, for every filter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.curate.ledger import Place, place
from tasks.curate.steps.quality.token_counts import TokenCounts
from tasks.model.chat_rendering import Unrenderable
from tasks.records import Record


@dataclass(frozen=True, slots=True)
class Measurements:
    """Figures of the records of a batch, by record.

    Attributes:
        counts: tokens of each record, or why the base model cannot be given it.
        repeated: by place, the share (0 to 1) of the last answer's words that are inside word
            5-grams which it has said before; 0 where a record is absent.
    """

    counts: TokenCounts = field(default_factory=TokenCounts)
    repeated: Mapping[Place, float] = field(default_factory=dict)

    def tokens(self, record: Record) -> int | None:
        """Tokens with the base model's chat template; None: the base cannot be given it."""
        return self.counts.tokens.get(place(record))

    def encoding_error(self, record: Record) -> Unrenderable | None:
        """Why the base model cannot be given the record; None: it can."""
        return self.counts.errors.get(place(record))

    def repeated_share(self, record: Record) -> float:
        """Fraction (0 to 1) of the last answer's words in 5-grams that it has said before."""
        return self.repeated.get(place(record), 0.0)
