"""Answers without words, or with too few characters."""

from typing import Annotated

from pydantic import Field

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import answer_text, calls_a_tool
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.text.normalise import comparable
from tasks.records import Record
from tasks.settings.section import Section, Unit


class CompletionLength(Section):
    min_completion_characters: Annotated[int, Field(ge=0), Unit("characters")] = 1
    """Shortest completion kept; a label may be one letter."""


@FILTERS.register
class EmptyCompletion(Filter[CompletionLength]):
    """An answer (or text) without one visible character. The call of a tool is an answer."""

    name = "empty_completion"
    meaning = "There is no answer to learn from."
    settings = CompletionLength
    evidence = {"characters": "number of characters, all invisible"}
    remedy = "0 turns this and the next filter off."
    order = 10

    def is_on(self, settings: CompletionLength) -> bool:
        return settings.min_completion_characters > 0

    def check(
        self, record: Record, settings: CompletionLength, measured: Measurements
    ) -> Evidence | None:
        answer = answer_text(record)
        # A letter is visible whatever is around it: only what is left needs a closer look.
        if answer[:1].isalnum() or comparable(answer) or calls_a_tool(record):
            return None
        return {"characters": len(answer)}


@FILTERS.register
class ShortCompletion(Filter[CompletionLength]):
    """An answer (or text) of too few characters. The call of a tool is long enough."""

    name = "short_completion"
    meaning = "The answer has too few characters."
    settings = CompletionLength
    evidence = {"characters": "number of characters", "minimum": "the setting"}
    remedy = "1 (the default) keeps labels of one letter."
    order = 20

    def is_on(self, settings: CompletionLength) -> bool:
        return settings.min_completion_characters > 0

    def check(
        self, record: Record, settings: CompletionLength, measured: Measurements
    ) -> Evidence | None:
        minimum = settings.min_completion_characters
        count = len(answer_text(record).strip())
        if count >= minimum or calls_a_tool(record):
            return None
        return {"characters": count, "minimum": minimum}
