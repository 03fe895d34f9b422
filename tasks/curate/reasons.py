"""What each reason in the ledger means, and which setting decides it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence for the reader; if any, the key in `params.yaml` that moves the line, and what
    helps."""

    meaning: str
    setting: str | None = None
    remedy: str | None = None


REASONS = {
    "invalid_json": Reason("The line is not valid JSON."),
    "not_utf8": Reason("The line is not UTF-8."),
    "wrong_type": Reason("A field has the wrong type."),
    "missing_field": Reason("The line lacks the fields of every known format."),
    "unread_key": Reason(
        "A key that carries content is not read beside the others.",
        remedy="Rename or remove the key, or write its content into the prompt or the answer.",
    ),
    "unsupported_content": Reason("The record holds images, sound or other content than text."),
    "unsupported_weight": Reason(
        "A turn's weight cannot be honoured.",
        remedy="Only 0 and 1 can, and only on answers of the assistant.",
    ),
    "ambiguous": Reason(
        "Two keys of the record contradict each other, or one may mean two things.",
        remedy="Leave the one that counts.",
    ),
    "equal_answers": Reason("The chosen and the rejected answer are the same."),
    "unreadable_timestamp": Reason(
        "The time cannot be read, though curate.splits.validation_from or test_from asks for it.",
        remedy="Write it as ISO 8601, or as a number of seconds since 1970.",
    ),
    "too_long_line": Reason("The line is too long to be read.", "curate.max_line_bytes"),
    "truncated": Reason("The file breaks off here: what followed is lost."),
    "empty_completion": Reason(
        "There is no answer to learn from.", "curate.quality.min_completion_characters"
    ),
    "short_completion": Reason(
        "The answer has too few characters.", "curate.quality.min_completion_characters"
    ),
    "repeats_prompt": Reason(
        "The answer is the prompt once more.", "curate.quality.drop_repeated_prompts"
    ),
    "turns_out_of_order": Reason(
        "The chat's turns are out of order.", "curate.quality.check_turns"
    ),
    "refusal": Reason("The answer only refuses to answer.", "curate.quality.drop_refusals"),
    "symbol_ratio": Reason(
        "The answer is mostly punctuation that says nothing.", "curate.quality.max_symbol_ratio"
    ),
    "repetition_ratio": Reason(
        "The answer says the same again and again.", "curate.quality.max_repetition"
    ),
    "mojibake": Reason(
        "The text was decoded by a wrong character set.", "curate.quality.drop_mojibake"
    ),
    "duplicate_lines": Reason(
        "Too many of the text's lines repeat an earlier one.", "curate.quality.max_duplicate_lines"
    ),
    "mean_word_length": Reason(
        "The text's words are too short or too long on average.", "curate.quality.mean_word_length"
    ),
    "few_words_with_letters": Reason(
        "Too few of the text's words have a letter.", "curate.quality.min_alphabetic_words"
    ),
    "bullet_lines": Reason(
        "Nearly all of the text's lines begin with a bullet.", "curate.quality.max_bullet_lines"
    ),
    "ellipsis_lines": Reason(
        "Too many of the text's lines end with an ellipsis.", "curate.quality.max_ellipsis_lines"
    ),
    "placeholder_text": Reason(
        'Words stand in for an answer ("lorem ipsum", "TODO", "[your answer here]").',
        "curate.quality.drop_placeholder_text",
    ),
    "language": Reason(
        "The record is in a language that is not asked for.", "curate.quality.languages"
    ),
    "unrenderable": Reason(
        "The base model's chat template refuses this chat; another base may take it, or a "
        "template of your own.",
        "base.chat_template",
    ),
    "template_ignores": Reason(
        "The base model's chat template leaves out what the record says (tools, calls, reasoning, "
        "a role); another base may render it, or a template of your own.",
        "base.chat_template",
    ),
    "empty_turn": Reason("An answer says nothing: it would teach the model to be silent."),
    "control_tokens": Reason(
        "The text holds what the base model's tokenizer reads as a control token."
    ),
    "nothing_to_learn": Reason("No answer of the chat is to be learned: its weights are 0."),
    "too_short": Reason("The record has too few tokens.", "curate.quality.min_tokens"),
    "too_long": Reason("The record has too many tokens.", "curate.quality.max_tokens"),
    "personal_data": Reason("The record holds personal data or a secret.", "curate.privacy"),
    "duplicate": Reason("Another record says the same; the one with the smallest id stays."),
    "near_duplicate": Reason(
        "Another record says nearly the same; the one with the smallest id stays.",
        "curate.duplicates.similarity",
    ),
    "contaminated": Reason(
        "The record gives away a benchmark record.", "curate.contamination.max_overlap"
    ),
    "leaks_split": Reason(
        "The record gives away a validation or test record.", "curate.splits.max_overlap"
    ),
    "replay_surplus": Reason(
        "General data beyond the share that is mixed in.", "curate.replay.share"
    ),
}


_REMEDIES = {
    "invalid_json": "Write one JSON object a line, or name the file by what it is (.json, .csv).",
    "not_utf8": "Save the file as UTF-8.",
    "wrong_type": "Write the field that the ledger names with the type that it names.",
    "missing_field": "Rename the columns to a known format (docs/reference/what-is-read.md).",
    "truncated": "Copy the file again.",
    "unrenderable": "Take another base, or a template that renders it (base.chat_template: FILE).",
    "mojibake": "Read the source with its own encoding.",
}
REASONS |= {
    name: replace(REASONS[name], remedy=remedy)
    for name, remedy in _REMEDIES.items()
    if name in REASONS
}


def explain(reason: str) -> Reason:
    """The entry of a reason; an unknown one speaks for itself."""
    return REASONS.get(reason, Reason(reason.replace("_", " ")))
