"""Decontamination: what gives a benchmark away is found, what only resembles it stays."""

import base64
import json
import random
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks import records
from tasks.curate.settings import Decontamination
from tasks.curate.steps.contamination.benchmarks import Benchmark, Item
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.curate.steps.contamination.passage_index import COMMON
from tasks.curate.steps.contamination.rarity import Vocabulary
from tasks.curate.text.ngrams import covered, hash_words, repeated_share, windows
from tasks.curate.text.normalise import comparable, words
from tasks.curate.text.turn_texts import TurnWords
from tasks.records import Record, parse
from tests.sections import curate_from

BATCH = 7
SYLLABLES = ("ba", "cé", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "ta", "ve")
VOCABULARY = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in ("", "n", "s", "lia")]
REFUSAL = (
    "I am sorry, but as a careful assistant I cannot help with that request here; please write to "
    "the support desk, which will look into your case and answer within three working days."
)


def prose(seed: object, count: int) -> str:
    """So many words, drawn as unevenly as in real text, a comma or full stop here and there."""
    rng = random.Random(str(seed))
    drawn = [VOCABULARY[int(len(VOCABULARY) * rng.random() ** 2)] for _ in range(count)]
    marked = [word + rng.choice([",", ".", "", "", "", ""]) for word in drawn]
    return " ".join(marked).capitalize()


def record(value: dict, line: int = 1, source: str = "train.jsonl") -> Record:
    item = records.parse(value, source, line, labelled=False)
    assert isinstance(item, Record)
    return item


def pair(prompt: str, completion: str = "An answer of its own.", **more: Any) -> dict:
    return {"prompt": prompt, "completion": completion, **more}


def bench(*values: dict) -> Benchmark:
    items = [Item.of(record(v, n, "bench.jsonl")) for n, v in enumerate(values, 1)]
    return Benchmark("bench.jsonl", items)


def flagged(train: list[dict], *benchmark: dict, **options: Any) -> dict[int, dict]:
    """Evidence by line (from 1) of the training records dropped."""
    lines = [record(value, number) for number, value in enumerate(train, 1)]
    settings = curate_from(**options).contamination
    index = ContaminationIndex([bench(*benchmark)] if benchmark else [], settings)
    # As workers do it: what a batch has in common with the benchmarks does not depend on the
    # batch, and travels as JSON.
    overlaps: dict[int, list[Overlap]] = {}
    counts = index.count_words(TurnWords.of([]))
    for begin in range(0, len(lines), BATCH):
        batch = lines[begin : begin + BATCH]
        turn_words = TurnWords.of(batch)
        counts += index.count_words(turn_words)
        for number, found in index.match(batch, turn_words).items():
            rows = json.loads(json.dumps([overlap.row() for overlap in found]))
            overlaps[begin + number] = [Overlap.of_row(row) for row in rows]
    return {
        number + 1: index.evidence(lines[number], verdict)
        for number, verdict in index.decide(overlaps, counts).items()
    }


def full_width(text: str) -> str:
    return "".join(chr(ord(s) + 0xFEE0) if "!" <= s <= "~" else s for s in text)


VARIANTS: dict[str, Callable[[str], str]] = {
    "verbatim": lambda text: text,
    "case": str.upper,
    "punctuation": lambda text: "«" + text.replace(" ", " - ").replace(",", ";") + "»!",
    "spaces": lambda text: "\n\t" + text.replace(" ", " \u00a0\n"),
    "full-width": full_width,
    "zero-width": lambda text: "\u200b".join(text),
    "soft hyphen": lambda text: text.replace("a", "a\u00ad"),
    "signs taken out": lambda text: re.sub(r"[^\w\s]", "", text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "embedded": lambda text: f"{prose('before', 150)} {text} {prose('after', 150)}",
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [8, 12, 13, 14, 40])
def test_a_prompt_is_found_in_every_guise(variant: str, length: int) -> None:
    prompt = prose(length, length)
    leak = VARIANTS[variant](prompt)
    train = [pair(prose("other", 30)), pair(leak), {"text": leak}]
    found = flagged(train, pair(prose("x", 20)), pair(prompt, prose("y", 9), id="b2"))
    assert set(found) == {2, 3}
    for evidence in found.values():
        assert evidence["benchmark"] == "bench.jsonl"
        assert (evidence["benchmark_id"], evidence["benchmark_line"]) == ("b2", 2)
        assert (evidence["part"], evidence["overlap"]) == ("prompt", 1.0)
        assert evidence["ngram"] == min(13, length)
        assert evidence["benchmark_text"] == prompt[:300]


def test_the_matching_text_is_the_records_own() -> None:
    prompt = prose(1, 20)
    (evidence,) = flagged(
        [pair(f"{prose('a', 30)} {full_width(prompt)} {prose('b', 30)}")], pair(prompt)
    ).values()
    assert evidence["text"] == full_width(prompt)
    (evidence,) = flagged([pair(prose(2, 400))], pair(prose(2, 400))).values()
    assert len(evidence["text"]) == 300 and prose(2, 400).startswith(evidence["text"][:-1])


def test_the_same_prompt_is_a_leak_whatever_the_answer_and_however_short() -> None:
    asked = "What is the capital of France?"
    long = prose("story", 60)
    chat = [
        {"role": "system", "content": long},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello to you"},
        {"role": "user", "content": asked.lower()},
        {"role": "assistant", "content": "Lyon"},
    ]
    inside = pair(f"My son wonders: {asked} {long}")
    found = flagged([pair(asked, "Lyon"), {"messages": chat}, inside], pair(asked, "Paris."))
    # Six words inside a longer text are a quote.
    assert set(found) == {1, 2}


def test_a_benchmark_record_of_few_words_is_found_as_a_whole() -> None:
    train = [pair("2 + 2?", "4"), pair("2 + 2?", "five"), pair("2 + 3?", "4"), {"text": "2 2 = 4"}]
    assert set(flagged(train, pair("2+2?", "4"))) == {1, 4}
    answer = "It is seven, as every child in town knows."
    found = flagged([pair("3 + 4?", answer), pair("9 - 2?", answer)], pair("3+4?", answer))
    assert set(found) == {1} and found[1]["part"] == "record"


@pytest.mark.parametrize(
    ("share", "found"), [(0.7, True), (0.5, True), (0.43, True), (0.35, False)]
)
def test_the_share_of_the_passage_decides(share: float, found: bool) -> None:
    prompt = prose("long", 100).split()
    part = " ".join(prompt[10 : 10 + round(share * 100)])
    evidence = flagged([pair(f"{prose(1, 20)} {part} {prose(2, 20)}")], pair(" ".join(prompt)))
    assert bool(evidence) == found
    if found:
        # A share of bits: these words are nearly alike in how rare they are.
        assert evidence[1]["overlap"] == pytest.approx(share, abs=0.02)
    bound = share - 0.02
    assert bool(flagged([pair(part)], pair(" ".join(prompt)), max_contamination=bound)) is True


@pytest.mark.parametrize("length", [16, 40, 120])
def test_a_copy_with_changed_words_is_found_by_smaller_ngrams(length: int) -> None:
    original = prose("n", length).split()
    changed = [word if n % 10 != 4 else "changed" for n, word in enumerate(original)]
    train, benchmark = [pair(f"{prose(1, 50)} {' '.join(changed)}")], pair(" ".join(original))
    (evidence,) = flagged(train, benchmark).values()
    assert evidence["ngram"] == 5 and 0.5 < evidence["overlap"] < 1
    assert "changed" not in evidence["text"]
    assert not flagged(train, benchmark, max_paraphrase=1)
    assert flagged(train, benchmark, max_paraphrase=1, ngram=8)[1]["ngram"] == 8


def test_a_copy_that_lost_its_hyphens_and_apostrophes_is_found() -> None:
    original = prose("h", 48).replace(",", "").replace(".", "").split()
    joined = [
        f"{a}-{b}'s" if n % 2 and n > 6 else f"{a} {b}"
        for n, (a, b) in enumerate(pairs_of(original))
    ]
    prompt = " ".join(joined)
    leak = re.sub(r"[^\w\s]", "", prompt)
    (evidence,) = flagged([pair(f"{prose(1, 60)} {leak} {prose(2, 60)}")], pair(prompt)).values()
    assert evidence["overlap"] > 0.8  # in whole words only a third is left


def pairs_of(original: list[str]) -> list[tuple[str, str]]:
    return list(zip(original[0::2], original[1::2], strict=True))


def test_words_scattered_over_a_long_record_are_no_copy() -> None:
    original = prose("n", 60).split()
    pieces = [" ".join(original[n : n + 6]) for n in range(0, 60, 6)]
    far = " ".join(f"{prose(n, 200)} {piece}" for n, piece in enumerate(pieces))
    assert flagged([pair(far)], pair(" ".join(original))) == {}


# What stays


def test_quotes_of_six_words_stay() -> None:
    passage = prose("p", 40).split()
    quotes = [" ".join(passage[n : n + 6]) for n in range(30)]
    train = [pair(f"{prose(n, 20)} {quote} {prose(-n, 20)}") for n, quote in enumerate(quotes)]
    assert flagged(train, pair(" ".join(passage))) == {}


def test_a_shared_system_prompt_stays() -> None:
    system = {"role": "system", "content": prose("system", 60)}

    def chat(seed: str) -> dict:
        turns = [("user", prose(seed + "u", 20)), ("assistant", prose(seed + "a", 20))]
        return {"messages": [system, *({"role": r, "content": c} for r, c in turns)]}

    train = [chat(f"train {n}") for n in range(5)]
    assert flagged(train, chat("bench"), chat("bench 2")) == {}
    assert set(flagged([*train, chat("bench")], chat("bench"))) == {6}


@pytest.mark.parametrize("answer", ["I cannot help with that.", REFUSAL[:100], REFUSAL])
def test_a_boilerplate_answer_stays(answer: str) -> None:
    train = [pair(prose(n, 15), answer) for n in range(COMMON + 5)]
    assert flagged(train, pair(prose("b", 20), answer), pair("Hm?", answer)) == {}
    assert flagged(train, pair(prose("b", 20), answer)) == {}
    assert flagged(train[:3], pair(prose("b", 20), answer), pair(prose("c", 20), answer)) == {}


def test_a_long_answer_of_its_own_is_a_leak() -> None:
    answer = prose("answer", 30)
    found = flagged([pair("Another way to ask?", answer)], pair(prose("b", 20), answer))
    assert found[1]["part"] == "answer"
    # The answer in common does not make the rest of it one: this is a short quote of an answer.
    assert flagged([pair("Another way to ask?", prose("a", 15))], pair("Hm?", prose("a", 15))) == {}


@pytest.mark.parametrize("ours", [1, COMMON + 5])
@pytest.mark.parametrize("theirs", [COMMON + 5, 40])
def test_a_shared_template_stays_and_its_payload_leaks(ours: int, theirs: int) -> None:
    template = prose("template", 40)
    benchmark = [pair(f"{template}\n{prose(f'b{n}', 6)}", prose(n, 6)) for n in range(theirs)]
    train = [pair(f"{template}\n{prose(f't{n}', 6)}", prose(-n, 6)) for n in range(ours)]
    leak = pair(str(benchmark[3]["prompt"]).lower(), "Whatever.")
    assert set(flagged([*train, leak], *benchmark)) == {ours + 1}


def test_a_template_with_most_of_a_short_payload_stays() -> None:
    template = prose("template", 40)
    benchmark = [pair(f"{template}\n{prose(f'b{n}', 6)}") for n in range(COMMON + 5)]
    near = " ".join(prose("b3", 6).split()[:4])
    assert flagged([pair(f"{template}\n{near} but otherwise")], *benchmark) == {}


def test_a_template_that_only_training_data_repeat_is_boilerplate_too() -> None:
    template = prose("template", 40)
    train = [pair(f"{template}\n{prose(f't{n}', 6)}") for n in range(COMMON + 1)]
    assert flagged(train, pair(f"{template}\n{prose('b', 6)}")) == {}


def test_one_prompt_for_a_whole_benchmark_identifies_no_record() -> None:
    asked = "Tell me a surprising fact about the sea, in one short sentence, please, and no more."
    facts = [prose(n, 12) for n in range(5)]
    train = [pair(asked, prose("own", 12)), pair(asked, facts[2]), pair(prose(1, 20), facts[3])]
    assert set(flagged(train, *(pair(asked, fact) for fact in facts))) == {2}


def test_several_answers_to_one_prompt_leave_the_prompt_a_leak() -> None:
    benchmark = [pair(prose(n // 3, 20), prose(f"a{n}", 10)) for n in range(60)]
    assert set(flagged([pair(prose(7, 20)), pair(prose("x", 20))], *benchmark)) == {1}


def test_nothing_is_found_against_nothing() -> None:
    assert flagged([pair(prose(1, 20))]) == {}
    assert flagged([], pair(prose(1, 20))) == {}
    assert flagged([pair("!?", "…")], pair("?!", "…")) == {}


# All together, on planted truth


def test_recall_and_precision_on_planted_truth(capsys: pytest.CaptureFixture[str]) -> None:
    template = "Summarise the following note for a colleague who has not seen it before:"
    benchmark = [pair(f"{template} {prose(f'b{n}', 25)}", prose(f"ba{n}", 12)) for n in range(200)]
    rng = random.Random(5)
    leaks, clean = [], []
    for number, change in enumerate(list(VARIANTS.values()) * 12):
        prompt = str(benchmark[number]["prompt"])
        leaks.append(pair(change(prompt), prose(f"leak {number}", 12)))
    for number in range(110, 150):
        prompt = str(benchmark[number]["prompt"]).split()
        keep = round(len(prompt) * rng.uniform(0.62, 0.75))
        leaks.append(pair(f"{prose(number, 12)} {' '.join(prompt[-keep:])}", prose(-number, 9)))
    for number in range(1500):
        clean.append(pair(f"{template} {prose(f't{number}', 25)}", prose(f"ta{number}", 12)))
    for number in range(200):
        prompt = str(benchmark[number]["prompt"]).split()
        quote = " ".join(prompt[15:21])
        clean.append(pair(f"{prose(number, 20)} {quote} {prose(-number, 9)}", REFUSAL))
    found = set(flagged([*leaks, *clean], *benchmark))
    hits = sum(number <= len(leaks) for number in found)
    recall, precision = hits / len(leaks), hits / len(found)
    with capsys.disabled():
        print(f"\nplanted truth: recall {recall:.3f}, precision {precision:.3f}")  # noqa: T201
    assert recall >= 0.99 and precision >= 0.99


# The kernels


TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "É", "snake_case", "字"]), max_size=12))


@hypothesis(deadline=None, max_examples=200)
@given(st.lists(st.text(max_size=40), max_size=8))
def test_words_are_hashed_as_they_compare(texts: list[str]) -> None:
    hashed = hash_words(texts)
    of_texts = [words(text) for text in texts]
    assert hashed.starts.tolist() == [sum(map(len, of_texts[:n])) for n in range(len(of_texts) + 1)]
    flat = [word for of_text in of_texts for word in of_text]
    assert len(set(flat)) == len(set(hashed.hashes.tolist()))
    pairs = set(zip(flat, hashed.hashes.tolist(), strict=True))
    assert len(pairs) == len(set(flat))


@hypothesis(deadline=None, max_examples=200)
@given(texts=TEXTS, size=st.integers(1, 6))
def test_windows_are_equal_where_their_words_are(texts: list[list[str]], size: int) -> None:
    found = windows(hash_words([" ".join(text) for text in texts]), size)
    wanted: list[tuple[str, ...]] = []
    for text in map(words, map(" ".join, texts)):
        count = max(len(text) - size + 1, 1) if text else 0
        wanted += [tuple(text[n : n + size]) for n in range(count)]
    assert len(found.hashes) == len(wanted)
    named = set(zip(wanted, found.hashes.tolist(), strict=True))
    assert len(named) == len(set(wanted)) == len(set(found.hashes.tolist()))


@hypothesis(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=40), max_size=6))
def test_repetition_is_what_was_said_before(texts: list[list[str]]) -> None:
    found = repeated_share(hash_words([" ".join(text) for text in texts])).tolist()
    for text, share in zip(texts, found, strict=True):
        seen, inside = set(), [False] * len(text)
        for begin in range(len(text) - 4):
            gram = tuple(text[begin : begin + 5])
            if gram in seen:
                inside[begin : begin + 5] = [True] * 5
            seen.add(gram)
        assert share == pytest.approx(sum(inside) / max(len(text), 1))


def test_the_hash_of_a_word_is_the_same_wherever_it_is() -> None:
    long = [prose(n, 700) for n in range(80)]  # more than is hashed at once
    alone = [hash_words([text]).hashes.tolist() for text in long]
    assert hash_words(long).hashes.tolist() == [word for text in alone for word in text]
    assert covered(windows(hash_words(["a b c"]), 2).begin, 2, 3).all()


@hypothesis(deadline=None, max_examples=300)
@given(st.text())
def test_comparable_text_compares_as_itself(text: str) -> None:
    once = comparable(text)
    assert comparable(once) == once
    assert comparable(f" {text}\n") == once
    assert not any(unicodedata.category(sign) == "Cf" for sign in once)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  ﬁne\u200b ＴＥＸＴ ", "fine text"),
        ("Stra\u00dfe", "strasse"),
        ("e\u200d\u0301te\u0301", "été"),
        ("\u202eabc\u202c", "abc"),
        ("a\u00a0\u2003b\x0bc", "a b c"),
    ],
)
def test_what_looks_alike_compares_equal(text: str, expected: str) -> None:
    assert comparable(text) == expected


def test_words_leave_punctuation_out_and_count_each_sign_of_chinese() -> None:
    assert words("It's 2.5 × _(__snake_case_)!") == ["it", "s", "2", "5", "snake_case"]
    assert words("数を足す abc") == ["数", "を", "足", "す", "abc"]


# Benchmarks that share an instruction


QUESTIONS = [
    "which sea lies between the heel of Italy and the coast of Albania",
    "which of the moons of Saturn is hidden under thick orange haze",
    "which composer wrote a symphony about a shepherd in a thunderstorm",
    "which metal is drawn into the thinnest wire without breaking apart",
    "which bird of the southern islands lays the largest egg for its size",
    "which bridge of Prague carries thirty statues above the river",
    "which desert flower opens only in the first hour after rain",
    "which chess opening gives up a pawn on the wing of the queen",
]
INSTRUCTION = (
    "Read the question below with care. Think about it step by step, weigh the options against "
    "each other, and finish your reply with one line that holds the letter of the right option."
)


def put(question: str, where: str) -> dict:
    half = len(INSTRUCTION) // 2
    if where == "system":
        turns = [("system", INSTRUCTION), ("user", question), ("assistant", "A")]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}
    prompts = {
        "before": f"{INSTRUCTION}\n\n{question}",
        "after": f"{question}\n\n{INSTRUCTION}",
        "around": f"{INSTRUCTION[:half]}\n{question}\n{INSTRUCTION[half:]}",
    }
    return pair(prompts[where], "A")


@pytest.mark.parametrize("where", ["before", "after", "around", "system"])
@pytest.mark.parametrize("mark", ["?", "."])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_a_bare_question_is_found_whatever_instruction_all_share(
    size: int, mark: str, where: str
) -> None:
    benchmark = [put(question + mark, where) for question in QUESTIONS[:size]]
    leaks = [pair(question + mark, "I do not know.") for question in QUESTIONS[:size]]
    clean = [put(f"which {prose(n, 10)}{mark}", where) for n in range(COMMON + 2)]
    assert set(flagged([*leaks, *clean], *benchmark)) == set(range(1, size + 1))


@pytest.mark.parametrize("size", [30, 120])
def test_many_questions_under_one_instruction(size: int) -> None:
    questions = [prose(f"q{n}", 11) + "?" for n in range(size)]
    leaks = [pair(question) for question in questions]
    clean = [put(prose(f"c{n}", 11) + "?", "before") for n in range(5)]
    found = flagged([*leaks, *clean], *(put(question, "before") for question in questions))
    assert set(found) == set(range(1, size + 1))


def test_an_instruction_that_a_whole_benchmark_shares_is_no_leak() -> None:
    benchmark = [put(question, "before") for question in QUESTIONS]
    assert flagged([put(prose(n, 10), "before") for n in range(3)], *benchmark) == {}


# Where a record is looked at


def test_every_place_of_a_record_is_looked_at() -> None:
    asked = QUESTIONS[0] + "?"
    user = {"role": "user", "content": "Hello, who are you?"}
    answer = {"role": "assistant", "content": "A helper."}
    call = {"type": "function", "function": {"name": "ask", "arguments": {"q": [asked]}}}
    tool = {"type": "function", "function": {"name": "ask", "description": f"As in: {asked}"}}
    shots = {
        "role": "system",
        "content": f"Answer so.\nQ: {asked}\nA: the Adriatic",
    }
    chats = [
        [shots, user, answer],
        [user, {**answer, "reasoning_content": f"I was asked: {asked} So be it."}],
        [user, {"role": "assistant", "content": "", "tool_calls": [call]}],
        [{"role": "user", "content": asked}, answer, user, answer],
        [user, answer],
    ]
    train: list[dict] = [{"messages": chat} for chat in chats]
    found = flagged([*train, {"messages": [user, answer], "tools": [tool]}], pair(asked))
    assert set(found) == {1, 2, 3, 4, 6}
    assert (found[1]["place"], found[6]["place"]) == ("system prompt", "tools")
    assert found[1]["text"] == found[6]["text"] == asked


def test_a_system_prompt_with_a_benchmark_record_makes_each_of_its_records_a_leak() -> None:
    """Whatever number of records share it."""
    asked = QUESTIONS[0] + "?"
    system = {"role": "system", "content": f"{prose('system', 30)}\nQ: {asked}\nA: yes"}

    def chat(seed: int) -> dict:
        turns = [("user", prose(seed, 9)), ("assistant", prose(-seed, 9))]
        return {"messages": [system, *({"role": r, "content": c} for r, c in turns)]}

    train = [chat(n) for n in range(1, 3 * COMMON)]
    assert len(flagged(train, pair(asked))) == len(train)


# Disguises


ESCAPED = {
    "accents": lambda text: text.translate(str.maketrans("aeiou", "áéìöü")),
    "unicode escapes": lambda text: text.replace("e", r"\u00e9").replace("o", r"\xf6"),
    "entities": lambda text: text.replace("e", "&eacute;").replace("o", "&#246;"),
    "utf-8 in percent": lambda text: text.replace("e", "%C3%A9"),
    "percent-escapes": quote,
    "plus": quote_plus,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "without spaces": lambda text: text.replace(" ", ""),
}


@pytest.mark.parametrize("disguise", ESCAPED)
@pytest.mark.parametrize("embedded", [False, True])
def test_a_disguise_is_seen_through(disguise: str, embedded: bool) -> None:
    asked = f"{QUESTIONS[0]}, and {QUESTIONS[3]}?"
    disguised = ESCAPED[disguise](asked)
    disguised = f"{prose('a', 20)}\n{disguised}\n{prose('b', 20)}" if embedded else disguised
    assert set(flagged([pair(disguised), pair(prose(1, 30))], pair(asked))) == {1}


def test_shuffled_words_are_found_where_they_are_together() -> None:
    asked = f"{QUESTIONS[0]}, and {QUESTIONS[3]}"
    shuffled = asked.split()
    random.Random(4).shuffle(shuffled)
    spread = " ".join(f"{word} {prose(n, 4)}" for n, word in enumerate(shuffled))
    train = [pair(f"{prose(1, 9)} {' '.join(shuffled)} {prose(2, 9)}"), pair(spread)]
    found = flagged(train, pair(asked))
    assert set(found) == {1} and found[1]["ngram"] == 1
    assert not flagged(train, pair(asked), max_paraphrase=1)


@pytest.mark.parametrize(
    "options",
    [
        "\nA) the Adriatic\nB) the Baltic\nC) the Red Sea",
        " (A) the Adriatic (B) the Baltic (C) the Red Sea",
        "\nOptions:\n- the Adriatic\n- the Baltic of the north and all of its many gulfs",
        "\n1. the Adriatic\n2. the Baltic of the north and all of its many islands and gulfs",
    ],
)
def test_a_question_without_its_choices_is_found(options: str) -> None:
    asked = QUESTIONS[0]
    assert set(flagged([pair(asked, "It is the first.")], pair(asked + options, "A"))) == {1}


# What words are worth


def test_a_common_phrase_is_no_leak_and_rare_words_are() -> None:
    common = "display help for a command"
    rare = "repair damaged ufs2 superblock"
    train = [pair(common, "tar --help"), pair(rare, "fsck_ffs -b 32"), pair("list files", "ls")]
    found = flagged(train, pair(common, "zip -h"), pair(rare, "fsck"), pair("list files", "dir"))
    assert set(found) == {2}
    assert found[2]["rare_words"] == ["ufs2", "superblock", "repair", "damaged"]
    assert found[2]["setting"] == "curate.contamination.min_information" and found[2]["bits"] > 52
    assert set(flagged(train, pair(common, "zip -h"), min_information=10)) == {1}


def test_a_phrase_in_common_does_not_outweigh_what_is_told_apart() -> None:
    ours = "Display all set attributes of files in the current directory and sub-directories"
    theirs = "Format the configuration in the current directory and subdirectories"
    assert flagged([pair(theirs, "terraform fmt")], pair(ours, "attrib /s")) == {}


def test_words_that_only_this_corpus_uses_everywhere_tell_little() -> None:
    known = Vocabulary.of([["the", "ventoy", "zonk"]])
    counts = known.count(hash_words(["the ventoy"] * 2000 + ["the the"] * 2000).hashes)
    bits = dict(zip(known.words, known.bits(counts, 8000).tolist(), strict=True))
    assert bits["the"] < bits["ventoy"] < 6 < 15 < bits["zonk"]


def test_the_same_verdicts_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = [put(question, "before") for question in QUESTIONS]
    train = [pair(question) for question in QUESTIONS] + [pair(prose(n, 20)) for n in range(30)]
    found = flagged(train, *benchmark)
    monkeypatch.setattr(sys.modules[__name__], "BATCH", 3)
    assert flagged(train, *benchmark) == found


def test_the_documented_example_holds() -> None:
    """The figures in the docstring of `ContaminationIndex`."""
    prompt = (
        "How many kilograms of fresh salmon does the old harbour restaurant serve every single "
        "evening"
    )
    text = "He asked me how many kilograms of fresh salmon does the old harbour cafe sell"
    index = ContaminationIndex(
        [Benchmark("exam", [Item("1", "exam", 1, prompt)])], Decontamination()
    )
    record = parse({"text": text}, "train.jsonl", 1)
    assert isinstance(record, Record)
    words = TurnWords.of([record])
    overlaps = index.match([record], words)
    assert overlaps == {0: [Overlap(0, (), ((0, 10),))]}
    found = index.decide(overlaps, index.count_words(words))[0]
    assert (round(found.share, 3), round(found.bits, 1), found.ngram) == (0.628, 112.3, 5)
    assert index.evidence(record, found)["text"] == text[len("He asked me ") : -len(" cafe sell")]
