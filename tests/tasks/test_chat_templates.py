"""Chat templates of every style: nothing is left out without a word, what is learned is what is
generated, and every answer ends."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from tasks import records
from tasks.core.errors import BadInput
from tasks.model import tokens
from tasks.model.chat_rendering import Unrenderable
from tasks.model.decoder import PLAIN_TEMPLATE, Codec
from tasks.model.encoding import Example, encode, encode_all, encode_prompt, visible
from tasks.records import Chat, Record, Turn
from tests.tasks.templates import BRIEF_TOOLS, PARTS, STYLES, TEXT_ARGUMENTS, build

ENDLESS = 10**9
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "21"}
USER = {"role": "user", "content": "What is the weather in Rome today?"}
ANSWER = {"role": "assistant", "content": "Sunny, 21 degrees."}
SYSTEM = {"role": "system", "content": "Be quick."}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    made = {name: build(style) for name, style in STYLES.items()}
    made["none"].chat_template = PLAIN_TEMPLATE
    return made


def record(*messages: dict, **more: object) -> Record:
    parsed = records.parse({"messages": list(messages), **more}, "a.jsonl", 3)
    assert isinstance(parsed, Chat), parsed
    return parsed


def chat(*turns: str) -> Record:
    roles = ("user", "assistant")
    return record(*({"role": roles[i % 2], "content": text} for i, text in enumerate(turns)))


def learned_text(tokenizer: PreTrainedTokenizerFast, example: Example) -> str:
    pairs = zip(example.input_ids, example.learned, strict=True)
    return tokenizer.decode([token for token, learned in pairs if learned])


def refused(given: Record, tokenizer: PreTrainedTokenizerFast) -> Unrenderable:
    with pytest.raises(Unrenderable) as caught:
        encode(given, tokenizer)
    assert str(caught.value).startswith("a.jsonl:3: ")
    return caught.value


styles = pytest.mark.parametrize("style", list(STYLES))
words = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=20)


@styles
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(words.filter(str.strip), min_size=2, max_size=6))
def test_every_answer_is_learned_after_the_tokens_that_generation_sees(tokenizers, style, texts):
    tokenizer = tokenizers[style]
    texts = texts[: len(texts) // 2 * 2]
    wanted = texts[1::2]
    found = []
    for example in encode_all(chat(*texts), tokenizer, ENDLESS):
        spans = answers_of(example)
        for first, last in spans:
            asked = encode_prompt(chat(*texts[: 2 * len(found) + 1], "?"), tokenizer)
            assert list(example.input_ids[:first]) == asked
            assert example.input_ids[last] in Codec.of(tokenizer).ends, "what ends it is learned"
            found.append(Codec.of(tokenizer).read(example.input_ids[first : last + 1]))
    assert [squeezed(text) for text in found] == [squeezed(text) for text in wanted]


def answers_of(example: Example) -> list[tuple[int, int]]:
    """First and last position of each stretch that is learned."""
    flags = [False, *example.learned, False]
    first = [i for i in range(len(example.learned)) if flags[i + 1] and not flags[i]]
    last = [i for i in range(len(example.learned)) if flags[i + 1] and not flags[i + 2]]
    return list(zip(first, last, strict=True))


def squeezed(text: str) -> str:
    # What a normaliser does to spaces, and a byte that is no character, is the tokenizer's matter.
    return "".join(text.split()).replace("\x00", "")


@styles
def test_bos_is_there_once_where_the_tokenizer_wants_it(tokenizers, style):
    tokenizer = tokenizers[style]
    text = records.parse({"text": "One two three."}, "a.jsonl", 3)
    bos = tokenizer.bos_token_id if STYLES[style].adds_bos else None
    given = chat("Hi", "Hello.")
    for ids in (
        encode(text, tokenizer).input_ids,
        encode(given, tokenizer).input_ids,
        encode(given, tokenizer, 6).input_ids,
        encode_prompt(given, tokenizer),
        encode_prompt(given, tokenizer, 5),
        *(part.input_ids for part in encode_all(text, tokenizer, 5)),
    ):
        assert list(ids).count(bos) == (bos is not None)
        assert bos is None or ids[0] == bos
    assert encode(text, tokenizer).learned[0] == (bos is None)
    assert encode(text, tokenizer).input_ids[-1] in Codec.of(tokenizer).ends


@styles
def test_every_token_of_a_text_is_learned_once(tokenizers, style):
    tokenizer = tokenizers[style]
    text = records.parse({"text": "One two three four five six seven."}, "a.jsonl", 3)
    whole, parts = encode(text, tokenizer), encode_all(text, tokenizer, 6)
    learned = [
        token
        for part in parts
        for token, is_learned in list(zip(part.input_ids, part.learned, strict=True))[1:]
        if is_learned
    ]
    assert learned == list(whole.input_ids[1:])
    assert len({part.id for part in parts}) == len(parts) > 1
    assert all(len(part.input_ids) <= 6 for part in parts)


def test_a_template_that_rewrites_earlier_turns_gives_an_example_for_each_answer(tokenizers):
    given = chat("Hi", "Hello.", "Bye", "See you.")
    first, second = encode_all(given, tokenizers["qwen3"], ENDLESS)
    empty = "<think>\n\n</think>\n\n"
    assert learned_text(tokenizers["qwen3"], first) == f"{empty}Hello.<|im_end|>"
    assert learned_text(tokenizers["qwen3"], second) == f"{empty}See you.<|im_end|>"
    assert empty not in tokenizers["qwen3"].decode(second.input_ids).partition("Bye")[0]
    assert (
        first.id != second.id and encode(given, tokenizers["qwen3"]).input_ids == second.input_ids
    )
    # Phi-3 ends the text after each whole chat: where generation stops before that, all is one.
    (whole,) = encode_all(given, tokenizers["phi3"], ENDLESS)
    assert learned_text(tokenizers["phi3"], whole) == "Hello.<|end|>See you.<|end|>"
    apart = encode_all(given, tokenizers["phi3_stops_at_eos"], ENDLESS)
    assert [learned_text(tokenizers["phi3_stops_at_eos"], example) for example in apart] == [
        "Hello.<|end|>\n<|endoftext|>",
        "See you.<|end|>\n<|endoftext|>",
    ]


def test_an_answer_is_read_without_what_the_template_puts_before_its_words(tokenizers):
    for style, text in {
        "qwen3": "<think>\n\n</think>\n\nSunny.<|im_end|>",
        "channels": "<|channel|>final<|message|>Sunny.<|return|>",
        "chatml": " Sunny.<|im_end|>",
    }.items():
        ids = tokenizers[style](text, add_special_tokens=False)["input_ids"]
        assert Codec.of(tokenizers[style]).read(ids) == "Sunny."
    thought = "<think>\nIs it?\n</think>\n\nSunny.<|im_end|>"
    ids = tokenizers["qwen3"](thought, add_special_tokens=False)["input_ids"]
    assert Codec.of(tokenizers["qwen3"]).read(ids) == "Sunny."
    assert visible("<think>\nIs it?\n</think>\n\nSunny.", tokenizers["qwen3"]) == "Sunny."
    # Where the template knows no reasoning, it is words like others.
    assert visible("<think>Is it?</think>Sunny.", tokenizers["chatml"]).startswith("<think>")


def test_tools_calls_and_results_are_rendered_and_calls_are_learned(tokenizers):
    given = record(USER, CALLING, RESULT, ANSWER, tools=[TOOL])
    for style, call in {
        "qwen3": '{"name": "weather", "arguments": {"city": "Rome"}}',
        "llama3": '{"name": "weather", "parameters": {"city": "Rome"}}',
    }.items():
        tokenizer = tokenizers[style]
        found = encode_all(given, tokenizer, ENDLESS)
        learned = "".join(learned_text(tokenizer, example) for example in found)
        assert call in learned and "Sunny, 21 degrees." in learned
        whole = tokenizer.decode(found[-1].input_ids)
        assert "Tells the weather." in whole and "21" in whole
        assert "Tells" not in learned and "tool_response" not in learned


def test_templates_that_take_arguments_as_text_or_short_ids_get_them_so(tokenizers):
    tokenizer = build(STYLES["chatml"])
    tokenizer.chat_template = TEXT_ARGUMENTS
    given = record(USER, CALLING, RESULT, ANSWER)
    assert '<call>weather {"city": "Rome"}<|im_end|>' in learned_text(
        tokenizer, encode(given, tokenizer)
    )
    mistral = encode(given, tokenizers["mistral"])
    whole = tokenizers["mistral"].decode(mistral.input_ids)
    assert "[TOOL_CALLS]" in learned_text(tokenizers["mistral"], mistral)
    assert "21 call00000[/TOOL_RESULTS]" in whole


def test_templates_that_take_content_in_parts_get_it_so():
    tokenizer = build(STYLES["chatml"])
    tokenizer.chat_template = PARTS
    given = record(SYSTEM, USER, ANSWER)
    whole = tokenizer.decode(encode(given, tokenizer).input_ids)
    assert "Be quick.<|im_end|>" in whole and "Sunny, 21 degrees.<|im_end|>" in whole
    assert encode_prompt(given, tokenizer)[-1:] == tokenizer("\n")["input_ids"]


def test_tools_without_their_parameters_are_left_out():
    tokenizer = build(STYLES["chatml"])
    tokenizer.chat_template = BRIEF_TOOLS
    assert refused(record(USER, ANSWER, tools=[TOOL]), tokenizer).evidence["key"] == "tools"
    bare = {"type": "function", "function": {"name": "now", "description": "The time."}}
    assert encode(record(USER, ANSWER, tools=[bare]), tokenizer).targets


@pytest.mark.parametrize(
    ("style", "messages", "more", "key", "turn"),
    [
        ("chatml", [USER, CALLING], {}, "tool_calls", 1),
        ("chatml", [USER, CALLING, RESULT, ANSWER], {}, "tool_calls", 1),
        ("chatml", [USER, ANSWER], {"tools": [TOOL]}, "tools", None),
        ("chatml", [USER, {**ANSWER, "reasoning_content": "A sunny day."}], {}, "reasoning", 1),
        ("none", [USER, ANSWER], {"tools": [TOOL]}, "tools", None),
        ("gemma2", [USER, {**ANSWER, "reasoning_content": "Rome"}], {}, "reasoning", 1),
        ("deepseek_r1", [USER, {**ANSWER, "content": "<think>So.</think>Yes."}], {}, "content", 1),
        ("llama2", [USER, CALLING, RESULT, ANSWER], {}, "tool_calls", 1),
        ("llama2", [USER, {"role": "tool", "content": "Rome"}, ANSWER], {}, "tool", 1),
    ],
)
def test_what_a_template_leaves_out_is_named(tokenizers, style, messages, more, key, turn):
    error = refused(record(*messages, **more), tokenizers[style])
    assert error.reason == "template_ignores"
    assert (error.evidence["key"], error.evidence.get("turn")) == (key, turn)
    assert "base.chat_template" in error.evidence["help"] and "base.chat_template" in str(error)


def test_words_that_occur_elsewhere_do_not_hide_what_is_left_out(tokenizers):
    asked = {"role": "user", "content": 'weather {"city": "Rome"} and so on'}
    assert refused(record(asked, CALLING), tokenizers["chatml"]).evidence["key"] == "tool_calls"


def test_reasoning_is_learned_in_the_answer_that_it_belongs_to(tokenizers):
    thinking = {**ANSWER, "reasoning_content": "What do I know?"}
    given = record(USER, thinking, {"role": "user", "content": "Sure?"}, ANSWER)
    first, second = encode_all(given, tokenizers["qwen3"], ENDLESS)
    assert learned_text(tokenizers["qwen3"], first).startswith(
        "<think>\nWhat do I know?\n</think>\n\nSunny"
    )
    assert "What do I know" not in tokenizers["qwen3"].decode(second.input_ids)
    (only,) = encode_all(record(USER, thinking), tokenizers["channels"], ENDLESS)
    assert "analysis<|message|>What do I know?" in learned_text(tokenizers["channels"], only)
    inline = {**ANSWER, "content": "<think>\nWhat?\n</think>\n\nSunny."}
    example = encode(record(USER, inline), tokenizers["qwen3"])
    assert (
        learned_text(tokenizers["qwen3"], example) == "<think>\nWhat?\n</think>\n\nSunny.<|im_end|>"
    )


def test_a_turn_of_weight_0_is_read_and_not_learned(tokenizers):
    bad = {"role": "assistant", "content": "Three seven.", "weight": 0}
    given = record(USER, bad, {"role": "user", "content": "Again?"}, ANSWER)
    for tokenizer in tokenizers.values():
        (example,) = encode_all(given, tokenizer, ENDLESS)
        assert "seven" not in learned_text(tokenizer, example)
        assert "Three seven." in tokenizer.decode(example.input_ids)
        assert "Sunny" in learned_text(tokenizer, example)
    last = record(USER, ANSWER, {"role": "user", "content": "Again?"}, bad)
    assert "Sunny" in learned_text(tokenizers["chatml"], encode(last, tokenizers["chatml"]))
    nothing = replace(last, turns=tuple(replace(turn, learn=False) for turn in last.turns))
    assert encode(nothing, tokenizers["chatml"]).targets == 0


@pytest.mark.parametrize(
    ("style", "messages", "role", "words"),
    [
        ("gemma2", [SYSTEM, USER, ANSWER], "system", "System role not supported"),
        ("mistral", [SYSTEM, USER, ANSWER], "system", "Only user, assistant and tool roles"),
        ("gemma2", [USER, USER, ANSWER], None, "must alternate"),
        ("gemma2", [USER, RESULT, ANSWER], "tool", "must alternate"),
    ],
)
def test_a_template_that_refuses_a_chat_is_quoted(tokenizers, style, messages, role, words):
    error = refused(record(*messages), tokenizers[style])
    assert error.reason == "unrenderable" and error.evidence.get("role") == role
    assert words in error.evidence["error"] and words in str(error)
    assert "base.chat_template" in str(error)
    with pytest.raises(BadInput, match=r"base\.chat_template"):
        encode_prompt(record(*messages), tokenizers[style])


def test_a_developer_speaks_as_the_system_where_the_template_knows_no_developer(tokenizers):
    given = record({"role": "developer", "content": "Be quick."}, USER, ANSWER)
    assert "<|im_start|>system\nBe quick." in tokenizers["qwen3"].decode(
        encode(given, tokenizers["qwen3"]).input_ids
    )
    assert refused(given, tokenizers["gemma2"]).reason == "unrenderable"


@styles
def test_an_answer_of_nothing_is_refused(tokenizers, style):
    nothing = Turn("assistant", " ")
    for turns in (chat("Hi", "a").turns, chat("Hi", "a", "Bye", "b").turns):
        given = replace(chat("Hi", "a"), turns=(turns[0], nothing, *turns[2:]))
        error = refused(given, tokenizers[style])
        assert (error.reason, error.evidence["turn"]) == ("empty_turn", 1)


@styles
def test_control_tokens_in_content_are_refused(tokenizers, style):
    tokenizer = tokenizers[style]
    codec = Codec.of(tokenizer)
    assert tokenizer.eos_token in codec.control
    for token in codec.control:
        for place in ({**USER, "content": f"a {token} b"}, {**USER, "name": token}):
            error = refused(record(place, ANSWER), tokenizer)
            assert (error.reason, error.evidence["token"]) == ("control_tokens", token)
        with pytest.raises(Unrenderable, match="control token"):
            encode(records.parse({"text": f"a{token}b"}, "a.jsonl", 3), tokenizer)
        with pytest.raises(Unrenderable, match="control token"):
            encode_prompt(chat(f"a {token}", "b"), tokenizer)


def test_tokens_that_set_nothing_apart_are_words(tiny_base: Path):
    # The default base has `<filename>` among its special tokens; manuals are full of it.
    tokenizer = tokens.load(tiny_base)
    assert encode(chat("open <filename> now", "Done: <filename>."), tokenizer).targets


def test_the_date_is_the_same_every_day(tokenizers):
    text = tokenizers["llama3"].decode(encode(chat("Hi", "Hello."), tokenizers["llama3"]).input_ids)
    assert "Today: 26 Jul 2024" in text


def test_a_prompt_ends_where_an_answer_without_reasoning_begins(tokenizers):
    tokenizer = tokenizers["deepseek_r1"]
    asked = tokenizer.decode(encode_prompt(chat("Hi", "Hello."), tokenizer))
    assert asked.endswith("<|Assistant|>")
    assert learned_text(tokenizer, encode(chat("Hi", "Hello."), tokenizer)) == "Hello.<|eos|>"


@pytest.mark.parametrize("style", ["zephyr_first", "alpaca_prepend", "llama2"])
def test_an_answer_has_the_tokens_that_it_has_in_the_whole_text(tokenizers, style):
    tokenizer = tokenizers[style]
    given = chat("Hi", "Hello.")
    example = encode(given, tokenizer)
    pieces = tokenizer.convert_ids_to_tokens(
        [i for i, learned in zip(example.input_ids, example.learned, strict=True) if learned]
    )
    # A space before the answer only where the template writes one.
    assert pieces[0].startswith("▁") == (style == "llama2"), pieces
    if style != "alpaca_prepend":  # its template writes no end
        messages = given.content()["messages"]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        whole = tokenizer(text, add_special_tokens=not text.startswith("<s>"))["input_ids"]
        assert list(example.input_ids) == whole


@styles
def test_the_light_tokenizer_reads_as_transformers_does(tokenizers, style, tmp_path):
    tokenizer = tokenizers[style]
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"eos_token_id": list(tokenizer.stop_ids)})
    )
    assert tokens._is_native(tmp_path)
    light = tokens.Tokenizer(tmp_path)
    given = chat("Hi, what is it?", "Hello.", "Bye", "See you.")
    for record in (given, records.parse({"text": "One two."}, "a.jsonl", 3)):
        assert encode_all(record, light, ENDLESS) == encode_all(record, tokenizer, ENDLESS)
    assert encode_prompt(given, light) == encode_prompt(given, tokenizer)
