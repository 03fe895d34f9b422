"""Records of too few or too many tokens, counted as training counts them."""

from typing import Annotated

from pydantic import Field

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Section, Unit


class FewestTokens(Section):
    min_tokens: Annotated[int, Field(ge=0), Unit("tokens")] = 8
    """Shortest record kept, in tokens of the base model with its chat template."""


@FILTERS.register
class TooShort(Filter[FewestTokens]):
    """A record of too few tokens."""

    name = "too_short"
    meaning = "The record has too few tokens."
    settings = FewestTokens
    evidence = {"tokens": "number of tokens", "minimum": "the setting"}
    order = 210

    def is_on(self, settings: FewestTokens) -> bool:
        return settings.min_tokens > 0

    def check(
        self, record: Record, settings: FewestTokens, measured: Measurements
    ) -> Evidence | None:
        tokens, minimum = measured.tokens(record), settings.min_tokens
        if tokens is None or tokens >= minimum:
            return None
        return {"tokens": tokens, "minimum": minimum}


class MostTokens(Section):
    max_tokens: Annotated[int, Field(ge=8), Unit("tokens")] = 512
    """Longest record kept, in tokens of the base model with its chat template."""


@FILTERS.register
class TooLong(Filter[MostTokens]):
    """A record of too many tokens; of huge ones a lower bound is counted."""

    name = "too_long"
    meaning = "The record has too many tokens."
    settings = MostTokens
    evidence = {
        "tokens": "number of tokens; a lower bound of a huge record",
        "maximum": "the setting",
    }
    remedy = "Raise it, and tune.max_length with it."
    order = 220

    def check(
        self, record: Record, settings: MostTokens, measured: Measurements
    ) -> Evidence | None:
        tokens, maximum = measured.tokens(record), settings.max_tokens
        if tokens is None or tokens <= maximum:
            return None
        return {"tokens": tokens, "maximum": maximum}
