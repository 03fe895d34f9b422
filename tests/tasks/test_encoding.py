"""Records become the tokens that the base model will see, and only answers are learned."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tasks import records
from tasks.core.errors import BadInput
from tasks.model.decoder import PLAIN_TEMPLATE
from tasks.model.encoding import Example, encode, encode_prompt
from tasks.records import Record


@pytest.fixture(scope="module")
def tokenizer(tiny_base) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_base)


def record(**row) -> Record:
    parsed = records.parse(row, "a.jsonl", 3)
    assert isinstance(parsed, Record), parsed
    return parsed


def chat(*turns: str) -> Record:
    roles = ["user", "assistant"]
    return record(
        messages=[{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
    )


def learned_text(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    pairs = zip(example.input_ids, example.learned, strict=True)
    return tokenizer.decode([token for token, learned in pairs if learned])


def test_a_chat_is_the_template_and_its_answers_are_learned(tokenizer):
    example = encode(chat("Hi", "Hello.", "Bye", "See you."), tokenizer)
    text = tokenizer.decode(example.input_ids)
    assert text == tokenizer.apply_chat_template(
        chat("Hi", "Hello.", "Bye", "See you.").content()["messages"], tokenize=False
    )
    assert learned_text(tokenizer, example) == "Hello.<|im_end|>See you.<|im_end|>"
    assert example.targets == sum(example.learned)


def test_a_text_is_learned_whole_and_ends(tokenizer):
    example = encode(record(text="One two three."), tokenizer)
    assert tokenizer.decode(example.input_ids) == "One two three." + tokenizer.eos_token
    assert all(example.learned)
    assert example.targets == len(example.input_ids) - 1  # nothing is before the first token


def test_turns_of_tools_and_systems_are_not_learned(tokenizer):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Thanks"},
    ]
    example = encode(record(messages=turns), tokenizer)
    assert learned_text(tokenizer, example) == "4<|im_end|>"


words = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=30)


@settings(max_examples=80, deadline=None)
@given(prompt=words, answer=words.filter(str.strip))
def test_training_sees_the_prompt_that_generation_sees(tokenizer, prompt, answer):
    given_chat = chat(prompt, answer)
    example = encode(given_chat, tokenizer)
    asked = encode_prompt(given_chat, tokenizer)
    assert list(example.input_ids[: len(asked)]) == asked
    assert not any(example.learned[: len(asked)])
    assert example.learned[len(asked)]


@settings(max_examples=80, deadline=None)
@given(prompt=st.integers(0, 60), answer=st.integers(1, 40), limit=st.integers(16, 120))
def test_a_long_chat_loses_the_beginning_of_its_prompt_first(tokenizer, prompt, answer, limit):
    long = chat("one " * prompt, "two " * answer + "end")
    whole, cut = encode(long, tokenizer), encode(long, tokenizer, limit)
    assert len(cut.input_ids) == min(limit, len(whole.input_ids))
    assert len(cut.learned) == len(cut.input_ids)
    assert cut.targets > 0
    if whole.targets < limit - 2:  # room for all of the answer: it keeps its end and its targets
        assert cut.targets == whole.targets
        assert whole.input_ids[-len(cut.input_ids) :] == cut.input_ids
    else:
        assert not cut.learned[0]
        assert cut.targets >= limit - 2


def test_an_answer_beyond_the_limit_loses_its_end(tokenizer):
    example = encode(chat("Hi", "1 " * 100), tokenizer, 20)
    assert len(example.input_ids) == 20
    assert [example.learned[0], *set(example.learned[1:])] == [False, True]


def test_a_long_text_keeps_its_beginning(tokenizer):
    long = record(text="word " * 100)
    assert encode(long, tokenizer, 16).input_ids == encode(long, tokenizer).input_ids[:16]


def test_the_source_is_where_the_record_was_read_first(tokenizer):
    row = {"prompt": "a", "completion": "b", "meta": {}}
    assert encode(record(**row), tokenizer).source == "a.jsonl"
    curated = row | {"source": "data/feedback/window-4.jsonl", "line": 7}
    assert encode(record(**curated), tokenizer).source == "data/feedback/window-4.jsonl"


def test_a_preference_pair_is_refused_with_its_place(tokenizer):
    with pytest.raises(BadInput, match=r"a\.jsonl:3: a preference record"):
        encode(record(prompt="a", chosen="b", rejected="c"), tokenizer)


def test_of_a_template_that_rewrites_earlier_turns_the_example_is_the_last_answer(tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    # Answers are kept in full only in the last turn, as templates of reasoning models do it.
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>"
        "{% if m.role == 'assistant' and not loop.last %}...{% else %}{{ m.content }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    example = encode(chat("Hi", "Hello.", "Bye", "See you."), tokenizer)
    assert learned_text(tokenizer, example) == "See you.<|im_end|>"
    text = tokenizer.decode(example.input_ids)
    assert text == "<user>Hi<assistant>...<user>Bye<assistant>See you.<|im_end|>"


def test_a_template_that_does_not_render_an_answer_after_its_prompt_is_refused(tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = "{{ messages | length }}{% if add_generation_prompt %}?{% endif %}"
    with pytest.raises(BadInput, match=r"a\.jsonl:3: messages\[0\]: .*chat template leaves out"):
        encode(chat("Hi", "Hello."), tokenizer)


def test_the_plain_template_serves_models_without_one(tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = PLAIN_TEMPLATE
    example = encode(chat("Hi", "Hello.", "Bye", "See you."), tokenizer)
    end = tokenizer.eos_token
    assert learned_text(tokenizer, example) == f"Hello.{end}See you.{end}"
    assert tokenizer.decode(encode_prompt(chat("Hi", "Hello."), tokenizer)) == (
        "user:\nHi\n\nassistant:\n"
    )


def test_generation_is_asked_after_the_last_question(tokenizer):
    asked = tokenizer.decode(encode_prompt(chat("Hi", "Hello.", "Bye"), tokenizer))
    assert "Hello." in asked
    assert asked.endswith("Bye<|im_end|>\n<|im_start|>assistant\n")
    assert encode_prompt(record(text="Once"), tokenizer) == tokenizer("Once")["input_ids"]
