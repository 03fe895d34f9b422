"""Losses and answers of a tiny model, gates, the verdict and its pages."""

import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.evaluate import (
    Evaluation,
    Evidence,
    Systems,
    Verdict,
    check_benchmarks,
    compare,
    comparison_table,
    evaluate,
    generation,
    model_card,
    score_records,
    scoring,
)
from tasks.model import encoding
from tasks.rendering import markdown
from tasks.settings import Settings

VERBS = ["Return", "Compute", "Fit", "Plot", "Load", "Check", "Sort", "Draw", "Merge", "Count"]
NOUNS = ["matrix", "vector", "model", "array", "figure", "table", "sample", "label"]
HOSTILE = '<script>alert(1)</script> | `x` **b** [l](http://e.vil) ](javascript:x) \u202eabc & "q"'


def pair(prompt: str, completion: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, **more}


def task_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    rows = []
    for i in range(start, start + count):
        verb, noun = VERBS[i % 10], NOUNS[i * 3 % 8]
        prompt = f"def {verb.lower()}_{noun}(x{', y' * (i % 4)}): # {i}"
        rows.append(pair(prompt, f"{verb} the {noun}.", group=f"module{i % 12}"))
    return rows


def probe_rows(count: int) -> list[dict[str, Any]]:
    return [pair(f"How many bees is {i}?", f"It is {i} bees, honey!") for i in range(count)]


@pytest.fixture(scope="module")
def make_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A LoRA adapter on the tiny base: trained on rows, or with random weights of some size."""

    def make(
        learn: list[dict] = (), unlearn: list[dict] = (), steps: int = 0, noise: float = 0.0
    ) -> Path:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(1)
        tokenizer = AutoTokenizer.from_pretrained(tiny_base)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32),
            LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if noise:
            for weight in weights:
                torch.nn.init.normal_(weight, std=noise)
        optimiser = torch.optim.AdamW(weights, lr=5e-3)
        signs = [(1, [encode(row, tokenizer) for row in learn])]
        if unlearn:
            signs.append((-1, [encode(row, tokenizer) for row in unlearn]))
        for _ in range(steps):
            sum(sign * quick_loss(model, examples) for sign, examples in signs).backward()
            optimiser.step()
            optimiser.zero_grad()
        folder = tmp_path_factory.mktemp("adapter")
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def tuned(make_adapter: Callable[..., Path]) -> Path:
    """An adapter that learned the task, and only that."""
    return make_adapter(learn=task_rows(10, start=500), steps=30)


@pytest.fixture
def compared(
    make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> Callable[..., Settings]:
    """Settings with a benchmark of 30 examples of the task and the given probe."""

    def make(probe: list[dict] | None = None, **more: Any) -> Settings:
        values = {
            "benchmarks": [str(write_lines("bench/heldout.jsonl", *task_rows(30)))],
            "general_probe": probe and str(write_lines("probe.jsonl", *probe)),
            "max_generations": 12,
            "max_new_tokens": 8,
            # What gates know of training data is in their own tests.
            "gates": {"contamination": None, "data": None} | more.pop("gates", {}),
        }
        return make_settings(evaluate=values | more)

    return make


def encode(row: dict, tokenizer: Any) -> encoding.Example:
    record = records.parse(row, "rows", 1)
    assert isinstance(record, records.Record)
    return encoding.encode(record, tokenizer)


def quick_loss(model: Any, examples: list[encoding.Example]) -> torch.Tensor:
    """What `padded_loss` is, without logits where none is wanted: for training in seconds."""
    total = torch.zeros(())
    for example in examples:
        ids = torch.tensor([example.input_ids])
        predicts = torch.tensor([[*example.learned[1:], False]])
        logits = model(input_ids=ids, logits_to_keep=predicts).logits
        wanted = ids.roll(-1, dims=1)[predicts]
        total = total + torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
    return total / sum(example.targets for example in examples)


def padded_loss(model: Any, examples: list[encoding.Example]) -> torch.Tensor:
    """The mean loss a target token, by transformers itself on one padded batch."""
    width = max(len(example.input_ids) for example in examples)
    ids = torch.zeros((len(examples), width), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, example in enumerate(examples):
        length = len(example.input_ids)
        ids[i, :length] = torch.tensor(example.input_ids)
        mask[i, :length] = 1
        learned = torch.tensor(example.learned)
        labels[i, :length] = ids[i, :length].where(learned, -100)
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def visible_text(page: str) -> tuple[str, set[str]]:
    """What a page shows, and the elements that it is made of."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.shown: list[str] = []
            self.tags: set[str] = set()

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.tags.add(tag)

        def handle_data(self, data: str) -> None:
            self.shown.append(data)

    reader = Reader()
    reader.feed(page)
    return "".join(reader.shown), reader.tags


# Loss and answers


def test_loss_is_that_of_transformers(
    tiny_base: Path, settings: Settings, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": "Another, please, and say why you chose it."},
        {"role": "assistant", "content": "Blue, for the sky."},
    ]
    rows = [*task_rows(14), {"messages": chat}, {"text": "A plain text, learned as a whole."}]
    path = write_lines("mixed.jsonl", *rows)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = float(padded_loss(model, [encode(row, tokenizer) for row in rows]))
    found = evaluate(None, [path], tmp_path / "out", settings)
    assert found.benchmarks["mixed"].scores["loss"].value == pytest.approx(expected, abs=2e-6)


def test_loss_does_not_depend_on_the_batch(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    examples = [encode(row, tokenizer) for row in [*task_rows(9), *probe_rows(4)]]
    together = scoring.negative_log_likelihoods(model, examples)
    monkeypatch.setattr(scoring, "_BATCH_TOKENS", 1)
    monkeypatch.setattr(scoring, "_LOGITS_AT_ONCE", 3)
    assert together == pytest.approx(scoring.negative_log_likelihoods(model, examples), abs=1e-4)


def test_confidence_is_the_likeliest_token_whatever_the_answer_says(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    example = encode(task_rows(1)[0], tokenizer)
    (found,) = scoring.token_confidences(model, [example])
    with torch.no_grad():
        logits = model(torch.tensor([example.input_ids])).logits[0]
    likeliest = logits.softmax(dim=-1).amax(dim=-1)[:-1][torch.tensor(example.learned[1:])]
    torch.testing.assert_close(found, likeliest.double(), atol=1e-5, rtol=1e-4)


def test_records_are_scored_by_the_champion(
    settings: Settings, tuned: Path, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [*task_rows(12), {"prompt": "no answer"}, pair("a", "b", meta={"loss": 9.0})]
    rows[0]["completion"] = "qq zz qq zz"
    source, out = write_lines("window.jsonl", *rows), tmp_path / "scored.jsonl"
    assert score_records(source, tuned, out, settings, most=100) == 12
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(found) == len(rows)
    scores = [row["meta"] for row in found[:12]]
    assert all(0 < score["confidence"] <= 1 for score in scores)
    # It learned the task: the one answer that is none of it stands out.
    assert scores[0]["loss"] > max(score["loss"] for score in scores[1:])
    assert (found[12]["meta"], found[13]["meta"]) == ({}, {"loss": 9.0})
    assert score_records(source, tuned, out, settings, most=5) == 5
    none = score_records(source, tuned, out, settings, most=5, chosen=lambda record: False)
    assert none == 0


def test_a_loss_that_is_no_number_counts_as_the_worst(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    example = encode(task_rows(1)[0], tokenizer)
    (found,) = scoring.negative_log_likelihoods(model, [example])
    assert found == scoring.WORST_LOSS * example.targets


def test_answers_in_batches_equal_answers_one_by_one(
    tiny_base: Path, make_adapter: Callable[..., Path]
) -> None:
    from peft import PeftModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, make_adapter(noise=0.5)).eval()
    texts = [row["prompt"] * (1 + i % 3) for i, row in enumerate(task_rows(6))]
    prompts = [tokenizer(text)["input_ids"] for text in texts]
    expected = []
    for prompt in prompts:
        said = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
        )
        expected.append(tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True).strip())
    found = generation.answer(model, tokenizer, prompts, max_new_tokens=12, batch_size=4)
    assert [answer.text for answer in found] == expected
    assert len(set(expected)) > 3
    assert all(0 < answer.tokens <= 12 for answer in found)
    assert sorted(answer.at_once for answer in found) == [2, 2, 4, 4, 4, 4]
    assert all(answer.seconds > 0 for answer in found)


def test_answers_are_greedy_whatever_the_model_ships(
    tiny_base: Path, recwarn: pytest.WarningsRecorder
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    prompt = tokenizer("def count(x):")["input_ids"]
    (plain,) = generation.answer(model, tokenizer, [prompt], max_new_tokens=8, batch_size=1)
    shipped = model.generation_config
    shipped.update(do_sample=True, temperature=5.0, top_k=3, repetition_penalty=1.8)
    kept = copy.deepcopy(shipped)
    (found,) = generation.answer(model, tokenizer, [prompt], max_new_tokens=8, batch_size=1)
    assert found.text == plain.text
    assert model.generation_config.to_dict() == kept.to_dict()
    assert not [str(w.message) for w in recwarn if "generation" in str(w.message)]


# evaluate


def test_evaluate_writes_examples_and_metrics(
    compared: Callable[..., Settings], write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    settings = compared(max_examples=20)
    write_lines("bench/sub/texts.v2.jsonl", *({"text": f"text number {i}"} for i in range(12)))
    out = tmp_path / "out"
    found = evaluate(None, [tmp_path / "bench"], out, settings)
    plain = files.read_json(out / "metrics.json")
    assert found.to_json() == plain
    assert Evaluation.from_json(plain) == found
    assert sorted(path.name for path in out.iterdir()) == ["examples.jsonl", "metrics.json"]
    assert found.model == "base"
    heldout = plain["benchmarks"]["heldout"]
    assert (heldout["examples"], heldout["generated"]) == (20, 12)
    for metric, count in (("loss", 20), ("perplexity", 20), ("rouge_l", 12), ("exact_match", 12)):
        assert heldout[metric]["low"] <= heldout[metric]["value"] <= heldout[metric]["high"]
        assert heldout[metric]["n"] == count
    # A plain text asks for no answer.
    texts = plain["benchmarks"]["texts.v2"]
    assert (texts["examples"], texts["generated"], texts["rouge_l"]) == (12, 0, None)
    rows = files.read_jsonl(out / "examples.jsonl")
    assert [set(row) for row in rows[:12]] == [
        {"benchmark", "id", "group", "nll", "tokens", "prompt", "reference", "answer", "loss",
         "rouge_l", "chrf", "exact_match", "length_ratio"}
    ] * 12  # fmt: skip
    unanswered = {"benchmark", "id", "group", "nll", "tokens", "loss"}
    assert all(set(row) == unanswered for row in rows[12:])
    mean = sum(row["nll"] for row in rows[:20]) / sum(row["tokens"] for row in rows[:20])
    assert heldout["loss"]["value"] == pytest.approx(mean, abs=1e-6)


def test_evaluate_repeats_byte_for_byte_in_any_order_of_lines(
    make_settings: Callable[..., Settings],
    write_lines: Callable[..., Path],
    tuned: Path,
    tmp_path: Path,
) -> None:
    settings = make_settings(
        evaluate={"max_examples": 10, "max_generations": 3, "max_new_tokens": 4}
    )
    rows = task_rows(25)
    one = write_lines("one/heldout.jsonl", *rows)
    other = write_lines("other/heldout.jsonl", *reversed(rows))
    found = [
        evaluate(tuned, [path], tmp_path / name, settings)
        for name, path in (("a", one), ("b", one), ("c", other))
    ]
    a, b, c = ((tmp_path / name / "examples.jsonl").read_bytes() for name in "abc")
    assert a == b == c
    assert found[0].benchmarks == found[1].benchmarks == found[2].benchmarks


def test_evaluate_refuses_what_it_cannot_measure(
    settings: Settings, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    preference = write_lines("p.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    with pytest.raises(BadInput, match=r"p\.jsonl:1: a preference record"):
        evaluate(None, [preference], out, settings)
    broken = write_lines("b.jsonl", task_rows(1)[0], "{broken")
    with pytest.raises(BadInput, match=r"b\.jsonl:2: invalid_json"):
        evaluate(None, [broken], out, settings)
    with pytest.raises(BadInput, match="no such file"):
        evaluate(None, [tmp_path / "none.jsonl"], out, settings)
    twice = [write_lines("x/same.jsonl", *task_rows(2)), write_lines("y/same.csv", "text", "a b")]
    with pytest.raises(BadInput, match="two benchmarks named same"):
        evaluate(None, twice, out, settings)
    good = write_lines("good.jsonl", *task_rows(2))
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        evaluate(tmp_path, [good], out, settings)
    assert not (out / "metrics.json").exists()


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_virtual_tokens_have_room_in_the_context(
    kind: str,
    tiny_base: Path,
    compared: Callable[..., Settings],
    write_lines: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A base with learned positions has nothing to say beyond its last one."""
    import peft
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, **ends
    )
    base = tmp_path / "base"
    GPT2LMHeadModel(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    adapter = tmp_path / "adapter"
    virtual = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=20)
    model = peft.get_peft_model(GPT2LMHeadModel.from_pretrained(base), virtual)
    model.save_pretrained(adapter)
    long = [pair("word " * 100, "word " * 5), pair("say", "word " * 100), *task_rows(12)]
    settings = compared(long, max_generations=12)
    settings = settings.model_copy(
        update={"base": settings.base.model_copy(update={"model": str(base)})}
    )
    write_lines("bench/heldout.jsonl", *long)
    verdict = compare(Systems(adapter), Evidence(), tmp_path / "out", settings)
    # Both on the same tokens.
    rows = [
        files.read_jsonl(tmp_path / "out" / system / "examples.jsonl")
        for system in ("base", "candidate")
    ]
    tokens = [[row["tokens"] for row in found] for found in rows]
    assert tokens[0] == tokens[1]
    assert max(tokens[0]) <= 44
    alone = evaluate(adapter, [tmp_path / "bench"], tmp_path / "alone", settings)
    assert alone.benchmarks["heldout"] == verdict.candidate.benchmarks["heldout"]


# Gates


# compare


def test_a_good_candidate_passes_and_everything_is_written(
    compared: Callable[..., Settings], tuned: Path, tmp_path: Path
) -> None:
    settings = compared(probe=task_rows(15, start=90))
    out = tmp_path / "verdict"
    verdict = compare(Systems(tuned), Evidence(), out, settings)
    plain = files.read_json(out / "verdict.json")
    assert verdict.to_json() == plain
    assert Verdict.from_json(plain) == verdict
    # Tables of a verdict that was read show systems and metrics in the same order.
    assert comparison_table(Verdict.from_json(plain)) == comparison_table(verdict)
    assert list(plain) == [
        *("passed", "outcome", "reference", "gates", "models", "review", "seconds"),
        *("notes", "diagnosis"),
    ]
    assert plain["passed"] is True
    assert plain["reference"] == "base"
    assert [gate["name"] for gate in plain["gates"]] == ["better", "general"]
    assert set(plain["models"]) == {"base", "candidate"}
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*.*")) == [
        "base/examples.jsonl", "base/metrics.json", "candidate/examples.jsonl",
        "candidate/metrics.json", "metrics.png", "review.html", "review.md", "review_key.json",
        "review_table.json", "verdict.json",
    ]  # fmt: skip
    assert (out / "metrics.png").read_bytes().startswith(b"\x89PNG")
    assert plain["models"]["candidate"] == files.read_json(out / "candidate" / "metrics.json")
    text, _ = visible_text((out / "review.html").read_text())
    assert "passed all gates" in text
    row = files.read_jsonl(out / "candidate" / "examples.jsonl")[0]
    assert row["prompt"] in text


def test_a_damaged_candidate_is_refused(
    compared: Callable[..., Settings], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    verdict = compare(Systems(make_adapter(noise=3.0)), Evidence(), tmp_path / "out", compared())
    assert verdict.passed is False
    assert verdict.gates[0].value > 0
    ending = {"failed": "refused", "cannot decide": "not decided"}[verdict.outcome]
    page = (tmp_path / "out" / "review.html").read_text()
    assert f"{ending}</span></h1>" in page


def test_lost_abilities_are_noticed(
    compared: Callable[..., Settings], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    forgetful = make_adapter(learn=task_rows(5, start=500), unlearn=probe_rows(4), steps=15)
    settings = compared(probe=probe_rows(20), gates={"general": {"loss": 0.02}})
    verdict = compare(Systems(forgetful), Evidence(), tmp_path / "out", settings)
    passed = {gate.name: gate.passed for gate in verdict.gates}
    assert passed == {"better": True, "general": False}
    assert verdict.passed is False


def test_a_candidate_equal_to_the_champion_is_refused(
    compared: Callable[..., Settings], tuned: Path, tmp_path: Path
) -> None:
    verdict = compare(Systems(tuned, champion=tuned), Evidence(), tmp_path / "out", compared())
    passed = {gate.name: gate.passed for gate in verdict.gates}
    assert passed == {"better": False, "no_regression:heldout": True}
    assert verdict.reference == "champion"


def test_what_was_measured_is_not_measured_again(
    compared: Callable[..., Settings],
    make_adapter: Callable[..., Path],
    tuned: Path,
    write_lines: Callable[..., Path],
    tmp_path: Path,
) -> None:
    settings = compared()
    kept = settings.project.state_dir / "evaluations"
    first = compare(Systems(tuned), Evidence(), tmp_path / "first", settings)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.jsonl")}
    assert len(before) == 4  # losses and answers of two systems
    second = compare(
        Systems(make_adapter(noise=0.01), champion=tuned), Evidence(), tmp_path / "second", settings
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(kept.rglob("*.jsonl"))) == 6
    for old, new in (("base", "base"), ("candidate", "champion")):
        assert second.models[new].benchmarks == first.models[old].benchmarks
    # Other data under the same name count as other data.
    write_lines("bench/heldout.jsonl", *task_rows(30, start=30))
    third = compare(Systems(tuned), Evidence(), tmp_path / "third", settings)
    assert third.models["base"].benchmarks != first.models["base"].benchmarks


def test_another_metric_generates_nothing_anew(
    compared: Callable[..., Settings],
    tuned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(original.__name__)
            return original(*arguments, **options)

        return call

    monkeypatch.setattr(generation, "answer", counted(generation.answer))
    monkeypatch.setattr(scoring, "token_losses", counted(scoring.token_losses))
    bench = [tmp_path / "bench"]
    first = evaluate(tuned, bench, tmp_path / "first", compared(metrics=["loss"]))
    assert sorted(calls) == ["answer", "token_losses"]
    settings = compared(metrics=["rouge_l", "perplexity", "loss"])
    second = evaluate(tuned, bench, tmp_path / "second", settings)
    assert list(first.benchmarks["heldout"].scores) == ["loss"]
    assert list(second.benchmarks["heldout"].scores) == ["rouge_l", "perplexity", "loss"]
    assert len(calls) == 2
    # What `evaluate` has measured, `compare` does not measure again.
    compare(Systems(tuned), Evidence(), tmp_path / "verdict", settings)
    assert len(calls) == 4
    # More answers than before: losses stay.
    evaluate(tuned, bench, tmp_path / "third", compared(max_new_tokens=4))
    assert calls[4:] == ["answer"]


def test_an_unknown_metric_is_bad_input(compared: Callable[..., Settings], tmp_path: Path) -> None:
    settings = compared(metrics=["loss", "rouge"])
    with pytest.raises(BadInput, match=r"rouge: no such metric; did you mean rouge_l\?"):
        evaluate(None, [tmp_path / "bench"], tmp_path / "out", settings)
    with pytest.raises(BadInput, match="rouge: no such metric"):
        check_benchmarks(settings)


def test_the_same_input_gives_the_same_verdict_and_pages(
    compared: Callable[..., Settings], tuned: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        settings = compared(probe=probe_rows(12))
        project = settings.project.model_copy(update={"state_dir": tmp_path / f"state-{name}"})
        settings = settings.model_copy(update={"project": project})
        compare(Systems(tuned), Evidence(), tmp_path / name, settings)
    for file in ("review.html", "review.md", "metrics.png", "candidate/examples.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    verdicts = [files.read_json(tmp_path / name / "verdict.json") for name in ("a", "b")]
    assert verdicts[0]["gates"] == verdicts[1]["gates"]


def test_a_probe_that_is_named_but_missing_is_bad_input(
    compared: Callable[..., Settings], tuned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "verdict.json").write_text("{}")
    missing = compared(general_probe=str(tmp_path / "gone.jsonl"))
    with pytest.raises(BadInput, match=r"evaluate\.general_probe: .*gone\.jsonl: no such file"):
        compare(Systems(tuned), Evidence(), out, missing)
    assert not (out / "verdict.json").exists(), "an old verdict would be taken for this one"


# Pages


def test_hostile_text_is_shown_and_not_obeyed(
    compared: Callable[..., Settings],
    write_lines: Callable[..., Path],
    tuned: Path,
    tmp_path: Path,
) -> None:
    rows = [pair(f"{i} {HOSTILE}\n\n# head", HOSTILE, id=f"<b>{i}") for i in range(12)]
    settings = compared(benchmarks=[str(write_lines("evil/<i>.jsonl", *rows))])
    verdict = compare(Systems(tuned), Evidence(), tmp_path / "out", settings)
    page = (tmp_path / "out" / "review.html").read_text()
    text, tags = visible_text(page)
    assert not tags & {"b", "i", "a", "img"}
    # The page's own: its data, which nothing runs, and what the policy knows by its hash.
    assert re.findall(r"<script[^>]*>", page) == [
        '<script type="application/json" id="sheet-data">', "<script>"
    ]  # fmt: skip
    assert "<script>alert(1)</script> | `x` **b**" in text
    assert "\u202e" not in text
    card = model_card(verdict, settings, {"data": HOSTILE, HOSTILE: "value"})
    for page in ((tmp_path / "out" / "review.md").read_text(), card):
        assert "<script" not in page
        assert "<b>" not in page
        assert "\u202e" not in page
        assert not re.search(r"(?<!\\)\]\((http|javascript)", page)
        assert "http://" not in page
    assert "&lt;script&gt;alert(1)" in card


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y&gt;"),
        ("# a\n- b", r"\# a<br>- b"),
        ("www.evil.example", r"www\.evil.example"),
        ("a\\`b`", r"a\\\`b\`"),
        ("x\x00y\r\nz", "x⟨U+0000⟩y<br>z"),
        (12.5, "12.5"),
    ],
)
def test_markdown_is_escaped(text: object, expected: str) -> None:
    assert markdown.escape(text) == expected


def test_comparison_and_card_tell_the_verdict(
    compared: Callable[..., Settings], tuned: Path, tmp_path: Path
) -> None:
    settings = compared(probe=probe_rows(12), max_generations=0)
    verdict = compare(Systems(tuned), Evidence(), tmp_path / "out", settings)
    rows = comparison_table(verdict)
    assert [(row.benchmark, row.metric) for row in rows] == [
        ("heldout", "loss"),
        ("heldout", "perplexity"),
        ("general", "loss"),
        ("general", "perplexity"),
    ]
    assert list(rows[0].scores) == ["base", "candidate"]
    loss = verdict.candidate.benchmarks["heldout"].scores["loss"]
    assert rows[0].scores["candidate"] == loss
    assert "None were generated" in (tmp_path / "out" / "review.html").read_text()
    card = model_card(
        verdict, settings, {"rank": "99", "data_version": "abc.dir", "learning_rate": "0.5"}
    )
    assert "| rank | 99 |" in card
    assert "| learning rate | 0.5 |" in card
    assert "| data version | abc.dir |" in card
    assert f"{loss.value:.3g} ({loss.low:.3g} to {loss.high:.3g})" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code
    assert json.dumps(settings.base.model).strip('"') in code[1]
    compile(code[1], "card", "exec")


def test_benchmarks_can_be_checked_before_anything_is_trained(
    compared: Callable[..., Settings], write_lines: Callable[..., Path]
) -> None:
    settings = compared(probe=task_rows(3))
    check_benchmarks(settings)
    raw = write_lines("raw.jsonl", {"question": "Which?", "choices": ["a", "b"], "answer": 1})
    settings.evaluate.benchmarks.append(str(raw))
    with pytest.raises(BadInput, match=r"raw\.jsonl:1: unread_key: choices"):
        check_benchmarks(settings)
