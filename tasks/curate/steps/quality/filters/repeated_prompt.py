"""Answers that only repeat the prompt."""

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.text.normalise import comparable
from tasks.records import Record
from tasks.settings.section import Section


class RepeatedPrompt(Section):
    drop_repeated_prompts: bool = True
    """Drop answers that only repeat the prompt."""


@FILTERS.register
class RepeatsPrompt(Filter[RepeatedPrompt]):
    """An answer that equals the prompt but for case, spaces and invisible characters."""

    name = "repeats_prompt"
    meaning = "The answer only repeats the prompt."
    settings = RepeatedPrompt
    evidence = {"text": "the answer"}
    order = 30

    def is_on(self, settings: RepeatedPrompt) -> bool:
        return settings.drop_repeated_prompts

    def check(
        self, record: Record, settings: RepeatedPrompt, measured: Measurements
    ) -> Evidence | None:
        prompt, answer = record.prompt, record.target
        # Nearly all pairs differ in their first word, which spares the comparison of the others.
        if answer is None or _first_word(answer) != _first_word(prompt):
            return None
        return {"text": answer[:300]} if comparable(answer) == comparable(prompt) else None


def _first_word(text: str) -> str:
    """The first word of `comparable(text)`, mostly without reading the rest."""
    word = "".join(map(comparable, text.split(maxsplit=1)[:1]))
    return (word or comparable(text)).partition(" ")[0]
