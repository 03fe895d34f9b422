"""Records that the base model cannot be given as they are meant.

No setting of curation turns these filters off: training would stop at such a record.
"""

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Section


class NotEncodable(Filter[Section]):
    """A record that encoding refuses for the reason `name` (`tasks.model.encoding`)."""

    settings = Section

    def check(self, record: Record, settings: Section, measured: Measurements) -> Evidence | None:
        error = measured.encoding_error(record)
        return error.evidence if error is not None and error.reason == self.name else None


class _Template(NotEncodable):
    """A record that the chat template does not render as it is meant."""

    @property
    def keys(self) -> tuple[str, ...]:
        return ("base.chat_template",)


@FILTERS.register
class Unrenderable(_Template):
    """A chat that the base model's chat template refuses."""

    name = "unrenderable"
    meaning = (
        "The base model's chat template refuses this chat; another base may take it, or a "
        "template of your own."
    )
    evidence = {"error": "the template's words", "role": "of the turn", "help": "what would help"}
    remedy = "Take another base, or a template that renders it (base.chat_template: FILE)."
    order = 160


@FILTERS.register
class TemplateIgnores(_Template):
    """A chat of which the base model's chat template leaves something out."""

    name = "template_ignores"
    meaning = (
        "The base model's chat template leaves out what the record says (tools, calls, reasoning, "
        "a role); another base may render it, or a template of your own."
    )
    evidence = {
        "key": "what is left out: tools, tool_calls, reasoning, content or a role",
        "turn": "number of the turn, from 0",
        "help": "what would help",
    }
    order = 170


@FILTERS.register
class EmptyTurn(NotEncodable):
    """A chat with an answer that says and calls nothing."""

    name = "empty_turn"
    meaning = "An answer says nothing: it would teach the model to be silent."
    evidence = {"turn": "number of the turn, from 0"}
    remedy = "Leave the turn out, or write it."
    order = 180


@FILTERS.register
class ControlTokens(NotEncodable):
    """A record whose content the tokenizer reads as a control token."""

    name = "control_tokens"
    meaning = "The text holds what the base model's tokenizer reads as a control token."
    evidence = {"token": "the control token", "key": "where it is"}
    remedy = "Write it otherwise."
    order = 190


@FILTERS.register
class NothingToLearn(NotEncodable):
    """A chat of which no answer is to be learned."""

    name = "nothing_to_learn"
    meaning = "No answer of the chat is to be learned: its weights are 0."
    remedy = "Give one answer a weight of 1."
    order = 200
