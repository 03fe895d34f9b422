"""Every key that carries content in a format's documentation is honoured, or names itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.records import (
    BadLine,
    Chat,
    Labelled,
    Preference,
    Record,
    Text,
    ToolCall,
    Turn,
    parse,
)

USER, ANSWER = {"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
LOOK = ToolCall("look", {"at": "x"}, "c1")
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Good", "Bad"))
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
CAT = {"role": "system", "content": "Be a cat."}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def read(value: dict[str, Any]) -> Record:
    record = parse(value, "f.jsonl", 3)
    assert not isinstance(record, BadLine), record
    again = parse(json.loads(json.dumps(record.row())), "g.jsonl", 1)
    assert not isinstance(again, BadLine), again
    assert again.content() == record.content() and again.kind == record.kind
    return record


def chat(value: dict[str, Any]) -> Chat:
    record = read(value)
    assert isinstance(record, Chat)
    return record


def role_texts(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in chat(value).turns]


def refused(value: dict[str, Any]) -> tuple[str, str]:
    line = parse(value, "f.jsonl", 3)
    assert isinstance(line, BadLine), line
    return line.reason, line.detail


ASKED = [("user", "Ask"), ("assistant", "Say")]


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [USER, ANSWER]},
        {"messages": json.dumps([USER, ANSWER])},
        {"messages": str([USER, ANSWER])},
        {"messages": [{"role": "User", "content": "Ask"}, {"role": "AI", "content": "Say"}]},
        {"messages": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Say"}]},
        {"conversations": [USER, ANSWER]},
        {"conversations": [{"from": "Human", "value": "Ask"}, {"from": "bing", "value": "Say"}]},
        {"conversation": [USER, ANSWER], "language": "English"},
        {"messages": [USER, ANSWER], "prompt": "Ask", "prompt_id": "17"},
        {"prompt": "Ask", "completion": "Say"},
        {"prompt": "Ask", "response": "Say", "completion": None},
        {"prompt": [USER], "completion": [ANSWER]},
        {"prompt": [USER], "completion": ANSWER},
        {"instruction": "Ask", "input": "", "output": "Say", "text": "### Ask\nSay"},
        {"instruction": "Ask", "input": float("nan") and None, "output": "Say"},
        {"instruction": "Ask", "response": "Say", "category": "qa"},
        {"question": "Ask", "answer": "Say"},
        {"query": "Ask", "response": "Say"},
        {"input": "Ask", "output": "Say"},
    ],
)
def test_every_usual_form_of_a_chat_is_the_same_chat(value: dict[str, Any]) -> None:
    assert role_texts(value) == ASKED


@pytest.mark.parametrize(
    "value",
    [
        {"system": "Be a cat.", "conversations": [USER, ANSWER]},
        {"system": "Be a cat.", "messages": [USER, ANSWER]},
        {"system": "Be a cat.", "instruction": "Ask", "output": "Say"},
        {"system": "Be a cat.", "prompt": "Ask", "completion": "Say"},
        {"system_prompt": "Be a cat.", "question": "Ask", "response": "Say"},
        {
            "system": "Be a cat.",
            "messages": [{"role": "system", "content": "Be a cat."}, USER, ANSWER],
        },
    ],
)
def test_a_system_prompt_beside_a_chat_comes_first(value: dict[str, Any]) -> None:
    record = chat(value)
    assert record.system == "Be a cat."
    assert [turn.role for turn in record.turns] == ["system", "user", "assistant"]


def test_two_system_prompts_are_not_guessed_at() -> None:
    value = {"system": "A", "messages": [{"role": "system", "content": "B"}, USER, ANSWER]}
    assert refused(value)[0] == "ambiguous"


def test_history_and_context_are_part_of_what_is_asked() -> None:
    history = [["Who?", "Me."], ["Where?", "Here."]]
    asked = [("user", "Who?"), ("assistant", "Me."), ("user", "Where?"), ("assistant", "Here.")]
    value = {"instruction": "Ask", "output": "Say", "history": history}
    assert role_texts(value) == asked + ASKED
    assert role_texts(value | {"history": json.dumps(history)}) == asked + ASKED
    assert refused(value | {"history": [["alone"]]})[0] == "wrong_type"
    assert role_texts({"instruction": "Ask", "context": "Facts.", "response": "Say"})[0] == (
        "user",
        "Ask\n\nFacts.",
    )


def test_numbers_beside_a_prompt_are_what_they_are_written_as() -> None:
    assert role_texts({"instruction": "6 * 2?", "output": 12})[1] == ("assistant", "12")
    assert role_texts({"question": "1 / 2?", "answer": 0.5})[1] == ("assistant", "0.5")


# Tools


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": json.dumps([CALL])}],
        [{"role": "assistant", "content": "", "tool_calls": [CALL], "function_call": None}],
    ],
)
def test_a_turn_may_only_call(turns: list[dict[str, Any]]) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "21"}
    record = chat({"messages": [USER, *turns, result, ANSWER]})
    assert record.turns[1] == Turn("assistant", "", tool_calls=(LOOK,))
    assert record.turns[2] == Turn("tool", "21", tool_call_id="c1")
    assert "look at x" in record.text


def test_legacy_and_sharegpt_calls_are_calls() -> None:
    called = (ToolCall("look", {"at": "x"}),)
    legacy = [
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "look", "arguments": '{"at": "x"}'},
        },
        {"role": "function", "name": "look", "content": "21"},
    ]
    record = chat({"messages": [USER, *legacy, ANSWER]})
    assert record.turns[1].tool_calls == called
    assert record.turns[2] == Turn("tool", "21", name="look")
    shared = [
        {"from": "human", "value": "Ask"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {"at": "x"}}'},
        {"from": "observation", "value": "21"},
        {"from": "gpt", "value": "Say"},
    ]
    record = chat({"conversations": shared, "tools": json.dumps([TOOL["function"]])})
    assert record.turns[1] == Turn("assistant", "", tool_calls=called)
    assert record.turns[2] == Turn("tool", "21")
    assert record.tools == (TOOL,)
    broken = [shared[0], {"from": "function_call", "value": "look at x"}, shared[3]]
    assert refused({"conversations": broken})[0] == "wrong_type"


@pytest.mark.parametrize(
    "tools", [[TOOL], [TOOL["function"]], json.dumps([TOOL]), [json.dumps(TOOL)], TOOL]
)
def test_tools_are_read_in_every_form(tools: object) -> None:
    assert chat({"messages": [USER, ANSWER], "tools": tools}).tools == (TOOL,)


def test_arguments_that_are_no_object_stay_as_they_are() -> None:
    for text in ("{not json", "[1, 2]", '{"n": 12345678901234567890123}'):
        function = {"name": "f", "arguments": text}
        record = chat(
            {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": function}]}]}
        )
        assert record.turns[1].tool_calls[0].arguments == text
    rounded = {"name": "f", "arguments": {"n": 1e23}}
    turns = [USER, {"role": "assistant", "tool_calls": [{"function": rounded}]}]
    assert "2**53" in refused({"messages": turns})[1]


def test_reasoning_is_kept_apart_from_the_answer() -> None:
    for key in ("reasoning_content", "reasoning", "thinking"):
        record = chat({"messages": [USER, ANSWER | {key: "Hm."}]})
        assert (record.turns[1].reasoning, record.target) == ("Hm.", "Say")
        assert "Hm." in record.text
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Say"}]
    assert chat({"messages": [USER, {"role": "assistant", "content": parts}]}).turns[1] == Turn(
        "assistant", "Say", "Hm."
    )
    assert refused({"messages": [USER, ANSWER | {"reasoning": "a", "thinking": "b"}]})[0] == (
        "ambiguous"
    )


@pytest.mark.parametrize(
    ("key", "value", "learn"),
    [
        *(("weight", value, False) for value in (0, 0.0, "0", False)),
        *(("weight", value, True) for value in (1, 1.0, "1", True)),
        *(("loss", value, value) for value in (True, False)),
        *(("train", value, value) for value in (True, False)),
        ("weight", None, None),
    ],
)
def test_the_weight_of_a_turn_is_honoured(key: str, value: object, learn: bool | None) -> None:
    turns = [USER, ANSWER | {key: value}, USER, ANSWER]
    record = chat({"messages": turns})
    assert [turn.learn for turn in record.turns] == [None, learn, None, None]


def test_weights_that_cannot_be_honoured_are_named() -> None:
    half = refused({"messages": [USER, ANSWER | {"weight": 0.5}]})
    assert half[0] == "unsupported_weight" and "messages[1].weight" in half[1]
    spans = refused({"messages": [USER, ANSWER | {"train_detail": [{"begin_offset": 0}]}]})
    assert spans[0] == "unsupported_content" and "train_detail" in spans[1]
    assert refused({"messages": [USER, ANSWER | {"weight": 0}]})[0] == "nothing_to_learn"
    assert refused({"messages": [USER | {"train": True}, ANSWER]})[0] == "unsupported_weight"


# What cannot be learned


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"messages": [IMAGE, ANSWER]}, "image_url"),
        ({"messages": [USER | {"images": ["x.png"]}, ANSWER]}, "images"),
        ({"messages": [USER, ANSWER | {"audio": {"id": "a"}}]}, "audio"),
        ({"messages": [USER, ANSWER], "images": ["x.png"]}, "images"),
        ({"messages": [USER, ANSWER], "chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"prompt": "Ask", "completion": "Say", "chosen": "x"}, "chosen"),
        ({"prompt": "Ask", "completion": "Say", "instruction": "Other"}, "instruction"),
        ({"text": "Once", "system": "Be a cat."}, "system"),
        ({"question": "Ask", "choices": ["a", "b"], "answer": 1}, "choices"),
        ({"question": "Ask", "A": "a", "B": "b", "answer": "B"}, "A"),
        ({"question": "Ask", "option_a": "a", "option_b": "b", "answer": "B"}, "option_a"),
        ({"question": "Ask", "passage": "Facts.", "answer": "Say"}, "passage"),
        ({"prompt": "Ask", "reasoning": "Hm.", "completion": "Say"}, "reasoning"),
        ({"prompt": "Ask", "completions": ["a"], "completion": "Say"}, "completions"),
    ],
)  # fmt: skip
def test_content_that_is_not_read_is_named(value: dict[str, Any], key: str) -> None:
    reason, detail = refused(value)
    assert reason in ("unread_key", "unsupported_content") and key in detail


def test_two_answers_are_not_guessed_at() -> None:
    reason, detail = refused({"prompt": "Ask", "completion": "a", "response": "b"})
    assert reason == "ambiguous" and "completion" in detail and "response" in detail


def test_only_a_key_that_repeats_a_whole_turn_says_nothing_new() -> None:
    reason, detail = refused({"instruction": "Ask", "query": "y", "output": "Say"})
    assert reason == "unread_key" and "query" in detail
    assert role_texts({"messages": [USER, ANSWER], "prompt": " Ask "}) == ASKED


def test_a_refusal_is_the_answer_where_there_is_no_other() -> None:
    turn = {"role": "assistant", "content": None, "refusal": "I will not."}
    assert role_texts({"messages": [USER, turn]})[1] == ("assistant", "I will not.")
    assert refused({"messages": [USER, ANSWER | {"refusal": "I will not."}]})[0] == "ambiguous"


def test_silence_of_the_assistant_is_not_learned() -> None:
    silent = {"role": "assistant", "content": " "}
    assert refused({"messages": [USER, silent, USER, ANSWER]})[0] == "empty_turn"
    masked = silent | {"weight": 0}
    assert len(chat({"messages": [USER, masked, USER, ANSWER]}).turns) == 4


# Preferences and labels


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "Ask", "chosen": "Good", "rejected": "Bad"},
        {"instruction": "Ask", "chosen": "Good", "rejected": "Bad", "input": ""},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Ask", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Ask", "chosen": str([USER, GOOD]), "rejected": str([USER, BAD])},
        {name: f"\n\nHuman: Ask\n\nAssistant: {text}" for name, text in
         (("chosen", "Good"), ("rejected", "Bad"))},
        {"conversations": [{"from": "human", "value": "Ask"}],
         "chosen": {"from": "gpt", "value": "Good"}, "rejected": {"from": "gpt", "value": "Bad"}},
        {"input": {"messages": [USER]},
         "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"chosen": "Ask Good", "rejected": "Ask Bad"},
    ],
)  # fmt: skip
def test_every_form_of_a_preference_is_the_same_preference(value: dict[str, Any]) -> None:
    record = read(value)
    assert isinstance(record, Preference)
    assert record.content() == {"prompt": "Ask", "chosen": "Good", "rejected": "Bad"}
    assert (record.prompt, record.target) == ("Ask", "Good")


def test_a_preference_keeps_its_system_prompt_and_earlier_turns() -> None:
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, USER]
    good, bad = ([*before, {"role": "assistant", "content": text}] for text in ("Good", "Bad"))
    record = read({"system": "Be a cat.", "chosen": good, "rejected": bad})
    assert isinstance(record, Preference)
    assert [turn.role for turn in record.context] == ["system", "user", "assistant", "user"]
    assert record.chats()["rejected"].target == "Bad"


def test_a_preference_of_nothing_is_none() -> None:
    assert refused({"prompt": "Ask", "chosen": "Say", "rejected": "Say"})[0] == "equal_answers"
    assert refused({"chosen": "One", "rejected": "Two"})[0] == "missing_field"
    other = [{"role": "user", "content": "Else"}, ANSWER]
    assert refused({"prompt": "Ask", "chosen": other, "rejected": [other[0], USER]})[0] in (
        "ambiguous",
        "missing_field",
    )


@pytest.mark.parametrize("key", ["label", "kto_tag"])
def test_a_rated_answer_is_no_good_answer(key: str) -> None:
    for rating in (True, False):
        for value in (
            {"prompt": "Ask", "completion": "Say"},
            {"messages": [USER, ANSWER]},
            {"instruction": "Ask", "output": "Say"},
        ):
            record = read(value | {key: rating})
            assert isinstance(record, Labelled) and record.label is rating
    assert refused({"prompt": "Ask", "completion": "Say", key: 1})[0] == "ambiguous"


def test_a_text_with_a_label_is_labelled() -> None:
    for label in ("good", 1, 0, 0.5, True):
        record = read({"text": "Once", "label": label})
        assert isinstance(record, Labelled) and record.label == label
        assert (record.prompt, record.target) == ("Once", str(label))
    for label in (None, ""):
        assert isinstance(read({"text": "Once", "label": label}), Text)
    assert refused({"text": "Once", "label": ["a", "b"]})[0] == "wrong_type"


# Ids and times


@pytest.mark.parametrize(
    ("value", "name"), [(0, "0"), (1.0, "1"), (-5, "-5"), (1.5, "1.5"), ("0", "0"), (7, "7")]
)
def test_ids_and_groups_are_text(value: object, name: str) -> None:
    record = read({"id": value, "group": value, "text": "Once"})
    assert (record.id, record.group) == (name, name)


def test_an_empty_id_or_group_is_none() -> None:
    record, other = (read({"id": "", "group": "", "text": text}) for text in ("Once", "Twice"))
    assert record.group is None and record.id and record.id != other.id


def test_a_date_of_mongodb_is_a_date() -> None:
    for value in ("2024-06-01", {"$date": "2024-06-01"}):
        assert read({"text": "a", "timestamp": value}).timestamp == "2024-06-01"
    assert read({"text": "a", "timestamp": {"$date": {"$numberLong": "17"}}}).timestamp == "17"


# Any record

TEXTS = st.text(max_size=8)
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": TEXTS},
    optional={
        "weight": st.sampled_from([0, 1, None]),
        "reasoning_content": TEXTS,
        "name": TEXTS,
        "tool_calls": st.lists(st.just(CALL), max_size=2),
        "other": st.integers(),
    },
)


@hypothesis(deadline=None, max_examples=150)
@given(st.lists(TURNS, max_size=4), st.none() | TEXTS)
def test_a_record_that_is_written_is_the_record_that_is_read(
    turns: list[dict[str, Any]], system: str | None
) -> None:
    record = parse({"messages": turns, "system": system}, "f.jsonl", 1)
    if isinstance(record, BadLine):
        assert record.detail
        return
    again = parse(json.loads(json.dumps(record.row())), "f.jsonl", 1)
    assert not isinstance(again, BadLine) and again.content() == record.content()
    assert again.id == record.id
    texts: list[str] = []
    upper = record.mapped(lambda text: texts.append(text) or text.upper())  # type: ignore[func-returns-value]
    assert all(turn["content"] in texts for turn in turns)
    assert [turn.role for turn in upper.turns] == [turn.role for turn in record.turns]


def test_every_reason_is_explained() -> None:
    from tasks.curate.reasons import all_reasons
    from tasks.records import REASONS

    assert set(REASONS) <= all_reasons().keys()
