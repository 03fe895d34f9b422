"""What each reason in the ledger means, and which setting decides it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence for the reader, and the key in `params.yaml` that moves the line, if any."""

    meaning: str
    setting: str | None = None


REASONS = {
    "invalid_json": Reason("The line is not valid JSON."),
    "not_utf8": Reason("The line is not UTF-8."),
    "wrong_type": Reason("A field has the wrong type."),
    "missing_field": Reason("The line lacks the fields of every known format."),
    "empty_completion": Reason("There is no answer to learn from."),
    "short_completion": Reason(
        "The answer has too few characters.", "curate.min_completion_characters"
    ),
    "repeats_prompt": Reason("The answer is the prompt once more."),
    "symbol_ratio": Reason(
        "The answer is mostly neither letters nor digits.", "curate.max_symbol_ratio"
    ),
    "repetition_ratio": Reason("The answer repeats itself.", "curate.max_repetition"),
    "unrenderable": Reason("The base model's chat template cannot render this chat."),
    "too_short": Reason("The record has too few tokens.", "curate.min_tokens"),
    "too_long": Reason("The record has too many tokens.", "curate.max_tokens"),
    "duplicate": Reason("Another record says the same; the one with the smallest id stays."),
    "contaminated": Reason("The record gives away a benchmark record.", "curate.max_contamination"),
}


def explain(reason: str) -> Reason:
    """The entry of a reason; an unknown one speaks for itself."""
    return REASONS.get(reason, Reason(reason.replace("_", " ")))
