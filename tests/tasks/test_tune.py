"""Training without padding is the same training, and what it exports is a plain PEFT adapter."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import causality
from tasks.model.encoding import Example, encode
from tasks.settings import load_settings
from tasks.tune.data.attention import packed_attention
from tasks.tune.data.groups import Group
from tasks.tune.data.packing import pack, sequence_losses, token_losses
from tasks.tune.methods import METHODS
from tasks.tune.methods.fused_lora import fuse
from tasks.tune.objectives.supervised import Supervised
from tasks.tune.train import train
from tasks.tune.train.finishing import Diverged, finish
from tasks.tune.train.pack_executor import pack_executor
from tasks.tune.train.run import Run, evaluation_steps, lr_multiplier
from tasks.tune.train.trainer import backward
from tasks.tune.train.trials import TrialRun
from tests.conftest import PROJECT
from tests.sections import tune_from

CPU = torch.device("cpu")
COLOURS = ["red", "green", "blue", "white", "black", "yellow"]


def write_data(folder: Path, train_count: int = 24, validation_count: int = 8) -> Path:
    """Curated records that a tiny model can learn something from."""
    for name, start, count in (("train", 0, train_count), ("validation", 1000, validation_count)):
        rows = []
        for number in range(start, start + count):
            colour = COLOURS[number % len(COLOURS)]
            turns = [
                {"role": "system", "content": "Answer."},
                {"role": "user", "content": f"What colour has box {number}?" * (1 + number % 3)},
                {"role": "assistant", "content": f"The box is {colour}."},
            ]
            row = {"id": f"box-{number}", "messages": turns, "meta": {}}
            rows.append(row | {"source": "data/train/boxes.jsonl", "line": number + 1})
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "curated")


QUICK = {"rank": 4, "learning_rate": 1e-2, "batch_size": 4, "max_steps": 6, "evaluations": 3}


def curve_of(out: Path) -> list[dict]:
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in files.read_jsonl(out / "curve.jsonl")
    ]


def load_plain(base: Path, adapter: Path | None = None) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, str(adapter)).eval() if adapter else model.eval()


def some_examples(lengths: list[int]) -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for number, length in enumerate(lengths):
        tokens = torch.randint(10, 40_000, (length,), generator=generator).tolist()
        learned = tuple(at >= length // 2 for at in range(length))
        drawn.append(Example(str(number), "x", tuple(tokens), learned))
    return drawn


def padded_losses(model: torch.nn.Module, examples: list[Example]) -> torch.Tensor:
    """Summed loss of each sequence, by a padded batch with an attention mask."""
    width = max(len(example.input_ids) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        count = len(example.input_ids)
        ids[row, :count] = torch.tensor(example.input_ids)
        mask[row, :count] = 1
        learned = torch.tensor(example.learned)
        labels[row, :count] = torch.where(learned, ids[row, :count], -100)
    logits = model(input_ids=ids, attention_mask=mask).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none"
    )
    return losses.view(len(examples), -1).sum(dim=1)


# Packs


def test_a_pack_gives_each_sequence_the_loss_that_padding_gives_it(tiny_base: Path):
    examples = some_examples([3, 17, 9, 9, 9, 30, 2, 2])
    model = load_plain(tiny_base)
    expected = padded_losses(model, examples)
    with packed_attention(model):
        alone = torch.stack(
            [token_losses(model, pack([each], CPU)).sum(dim=1)[0] for each in examples]
        )
        together = token_losses(model, pack(examples, CPU)).sum(dim=1).sum()
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together, expected.sum(), rtol=1e-5, atol=1e-5)


def test_positions_start_anew_with_each_sequence():
    # Rotary positions are relative and would hide it; learned positions do not.
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=40_000, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    model = GPT2LMHeadModel(config).eval()
    torch.nn.init.normal_(model.transformer.wpe.weight)
    examples = some_examples([12, 30, 12])
    with packed_attention(model):
        together = token_losses(model, pack(examples, CPU)).sum(dim=1).sum()
    torch.testing.assert_close(together, padded_losses(model, examples).sum())


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("beginning", [0, 20], ids=["nothing alike", "alike beginnings"])
@pytest.mark.parametrize("longest", [25, 150], ids=["written out", "fused"])
def test_a_pack_gives_the_losses_and_gradients_that_padding_gives(
    tiny_base: Path, longest: int, beginning: int, lanes: int
):
    examples = some_examples([12, longest, 12, 7, 30])
    alike = some_examples([beginning + 9])[0].input_ids[:beginning]
    examples = [
        # Every other example has some more in common with the others of its kind.
        replace(
            each,
            input_ids=alike + (8,) * (12 * (number % 2)) + each.input_ids,
            learned=(False,) * (beginning + 12 * (number % 2)) + each.learned,
        )
        for number, each in enumerate(examples)
    ]
    model = load_plain(tiny_base)
    expected = padded_losses(model, examples).sum()
    expected.backward()
    gradients = {name: each.grad for name, each in model.named_parameters()}
    model = load_plain(tiny_base)
    packed = pack(examples, CPU).in_lanes(lanes)
    saved = sum(len(each.input_ids) for each in examples) - packed.input_ids.shape[1] // lanes
    assert 0 <= beginning * 4 + 12 - saved < 8  # the row is filled up to a multiple of 8
    with packed_attention(model):
        losses = token_losses(model, packed).sum(dim=1)
        losses.sum().backward()
    torch.testing.assert_close(losses, expected.detach().expand(lanes), rtol=1e-5, atol=1e-5)
    for name, each in model.named_parameters():
        torch.testing.assert_close(each.grad, lanes * gradients[name], rtol=1e-4, atol=1e-5 * lanes)


def test_no_gradient_is_written_by_index(tiny_base: Path):
    """Where steps are repeatable, a GPU sorts the places of each such write: a dozen kernels."""
    model = load_plain(tiny_base)
    asked: set[str] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            asked.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    shared = tuple(range(10, 30))
    examples = [
        Example(str(at), "x", (*shared, *range(50 * at, 50 * at + 9)), (False, *[True] * 28))
        for at in (1, 2, 3)
    ]
    packed = pack(examples, CPU).in_lanes(2)
    assert packed.layout.copies
    with packed_attention(model), causality.embedded(model) as found:
        losses = token_losses(model, packed)
        with Watch():
            torch.autograd.grad(losses.sum(), found)
    named = {name for name in asked if name.startswith(("index_", "scatter", "_index_put"))}
    # Of the logits that are asked for, by transformers.
    assert named <= {"index_put", "index_put_", "_index_put_impl_", "index_select"}


def test_nothing_is_shared_where_numbers_are_drawn(tiny_base: Path):
    examples = [Example(str(n), "x", (5,) * 20 + (n,), (False,) * 20 + (True,)) for n in range(4)]
    for dropout, once in ((0.0, True), (0.1, False)):
        base = AutoModelForCausalLM.from_pretrained(tiny_base)
        seen: list[int] = []
        base.get_input_embeddings().register_forward_hook(
            lambda _, given, __, seen=seen: seen.append(given[0].shape[1])
        )
        tune = tune_from(dropout=dropout)
        with (
            packed_attention(base),
            METHODS.get("lora").attach(base, tune, 1) as adapted,
            pack_executor(adapted.network) as executor,
        ):
            groups = [Group.of(example) for example in examples]
            backward([Run(adapted, tune, 1e-3, 1)], groups, executor, Supervised())
        assert len(seen) == 2  # packs, side by side
        assert sum(seen) == 2 * (24 if once else 48)  # 22 and 42, filled up to a multiple of 8


def test_packed_attention_is_gone_after_its_context(tiny_base: Path):
    model = load_plain(tiny_base)
    before = model.config._attn_implementation
    with packed_attention(model):
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("length", [7, 8, 9, 20, 150])
def test_a_sliding_window_is_that_of_the_sequence_alone(length: int):
    config = MistralConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=8,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MistralForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    examples = [
        Example(str(n), "x", tuple((7 * i + n) % 50 for i in range(n)), (True,) * n)
        for n in (length, 5, length + 2)
    ]
    with torch.no_grad():
        alone = [padded_losses(model, [example]) for example in examples]
    with torch.no_grad(), packed_attention(model):
        together = sequence_losses(model, pack(examples, CPU))[0]
    torch.testing.assert_close(together, torch.cat(alone))


# LoRA


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_quick_lora_forward_equals_that_of_peft(tiny_base: Path, dropout: float):
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", lora_dropout=dropout)
    model = get_peft_model(load_plain(tiny_base), config).train()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first, when the adapter does nothing
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(100, 140).view(2, 20)

    def outcome() -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        torch.manual_seed(1)
        logits = model(input_ids=ids).logits
        logits.square().mean().backward()
        return logits, [each.grad for each in model.parameters() if each.requires_grad]

    expected, expected_gradients = outcome()
    fuse(model)
    logits, gradients = outcome()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-6)
    with model.disable_adapter():
        plain = model(input_ids=ids).logits
    torch.testing.assert_close(plain, load_plain(tiny_base)(input_ids=ids).logits)


# Training


def test_training_lowers_the_loss_and_writes_exactly_its_files(data, tmp_path, make_settings):
    settings = make_settings(tune=QUICK | {"max_steps": 30, "learning_rate": 3e-2})
    out = tmp_path / "out"
    metrics = train(data, out, settings).to_json()
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "best",
        "best/adapter_config.json",
        "best/adapter_model.safetensors",
        "best/base.json",
        "curve.jsonl",
        "metrics.json",
        "validation.jsonl",
    ]
    assert files.read_json(out / "metrics.json") == metrics
    assert metrics["state"] == "complete"
    assert metrics["validation_loss"] < metrics["initial_validation_loss"] - 0.2
    curve = curve_of(out)
    assert metrics["validation_loss"] == min(row.get("validation_loss", 99) for row in curve)
    assert [row["step"] for row in curve if "validation_loss" in row] == [6, 12, 18]
    assert metrics["steps"] == len(curve) == 18  # 3 epochs of 24 examples, 4 a step
    assert metrics["epochs"] == 3
    assert metrics["tokens_trained"] == sum(row["tokens"] for row in curve)
    assert metrics["params"]["alpha"] == 8


def test_vanilla_peft_gives_the_loss_that_training_measured(
    data, tmp_path, make_settings, tiny_base
):
    metrics = train(data, tmp_path / "out", make_settings(tune=QUICK)).to_json()
    adapter = tmp_path / "out" / "best"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    examples = [
        encode(record, tokenizer, 512) for record in records.load([data / "validation.jsonl"])
    ]
    model = load_plain(tiny_base, adapter)
    targets = sum(example.targets for example in examples)
    loss = padded_losses(model, examples).sum().item() / targets
    assert loss == pytest.approx(metrics["validation_loss"], abs=1e-5)
    assert abs(loss - metrics["initial_validation_loss"]) > 1e-2


def test_the_loss_of_each_validation_example_is_kept(data, tmp_path, make_settings):
    metrics = train(data, tmp_path / "out", make_settings(tune=QUICK)).to_json()
    rows = files.read_jsonl(tmp_path / "out" / "validation.jsonl")
    kept = {record.id for record in records.load([data / "validation.jsonl"])}
    assert {row["id"] for row in rows} == kept
    whole = sum(row["loss"] for row in rows) / sum(row["targets"] for row in rows)
    assert whole == pytest.approx(metrics["validation_loss"], rel=1e-6)


def test_equal_input_gives_equal_bytes(data, tmp_path, make_settings):
    tune = QUICK | {"dropout": 0.1}
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        settings = make_settings(tune=tune, project={"seed": seed})
        train(data, tmp_path / name, settings)
        torch.rand(7)  # what else happens in the process does not matter
    hashes = {name: files.file_hashes(tmp_path / name / "best") for name in ("one", "two", "three")}
    assert hashes["one"] == hashes["two"]
    assert curve_of(tmp_path / "one") == curve_of(tmp_path / "two")
    assert hashes["one"] != hashes["three"]


def test_cutting_a_batch_into_packs_does_not_change_the_steps(data, tmp_path, make_settings):
    for tokens in (64, 4096):
        settings = make_settings(tune=QUICK | {"micro_batch_tokens": tokens})
        train(data, tmp_path / str(tokens), settings)
    small, large = curve_of(tmp_path / "64"), curve_of(tmp_path / "4096")
    assert len(small) == len(large)
    for one, other in zip(small, large, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_the_first_step_is_measured_on_completions_only(data, tmp_path, make_settings, tiny_base):
    one = make_settings(tune=QUICK | {"batch_size": 24, "max_steps": 1, "evaluations": 1})
    train(data, tmp_path / "out", one)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    examples = [encode(each, tokenizer) for each in records.load([data / "train.jsonl"])]
    learned = {
        tokenizer.decode([t for t, yes in zip(e.input_ids, e.learned, strict=True) if yes])
        for e in examples
    }
    assert learned == {f"The box is {colour}.<|im_end|>" for colour in COLOURS}
    targets = sum(example.targets for example in examples)
    expected = padded_losses(load_plain(tiny_base), examples).sum().item() / targets
    assert curve_of(tmp_path / "out")[0]["train_loss"] == pytest.approx(expected, abs=1e-4)


def test_no_gain_stops_early_and_the_best_checkpoint_is_kept(
    data, tmp_path, make_settings, tiny_base
):
    tune = QUICK | {"learning_rate": 1.0, "evaluations": 6, "patience": 2, "warmup_share": 0.5}
    metrics = train(data, tmp_path / "out", make_settings(tune=tune)).to_json()
    losses = [row["validation_loss"] for row in curve_of(tmp_path / "out")]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 6
    assert metrics["state"] == "complete"
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    examples = [encode(each, tokenizer) for each in records.load([data / "validation.jsonl"])]
    model = load_plain(tiny_base, tmp_path / "out" / "best")
    loss = padded_losses(model, examples).sum().item() / sum(each.targets for each in examples)
    assert loss == pytest.approx(losses[best], abs=1e-4)


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.settings import load_settings
from tasks.tune.train import trainer
from tasks.tune.train.trials import TrialRun

data, out, params, step = *map(Path, sys.argv[1:4]), int(sys.argv[4])
settings = load_settings(params)

def die(_, run):
    if run.step == step:
        os.kill(os.getpid(), signal.SIGKILL)

trainer.train_runs(trainer.prepare(data, settings), [TrialRun(out, settings)], on_step=die)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(data, tmp_path, make_settings):
    tune = QUICK | {"checkpoint_minutes": 1e-6, "dropout": 0.1}
    params = tmp_path / "params.yaml"
    files.write_json(params, make_settings(tune=tune).plain())
    settings = load_settings(params)
    unbroken = train(data, tmp_path / "unbroken", settings).to_json()

    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(data), str(out), str(params), "5"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / "metrics.json").exists()
    assert not (out / "best").exists()
    steps = []
    from tasks.tune.train import trainer

    prepared = trainer.prepare(data, settings)
    run = TrialRun(out, settings)
    trainer.train_runs(prepared, [run], on_step=lambda _, run: steps.append(run.step))
    resumed = finish(run).to_json()
    assert steps == [5, 6]
    assert resumed["validation_loss"] == unbroken["validation_loss"]
    assert curve_of(out) == curve_of(tmp_path / "unbroken")
    assert files.file_hashes(out / "best") == files.file_hashes(tmp_path / "unbroken" / "best")
    assert not (out / "checkpoint").exists()


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(data, tmp_path, make_settings):
    from tasks.tune.train import trainer

    out = tmp_path / "out"
    train(data, out, make_settings(tune=QUICK))
    before = files.file_hashes(out / "best")

    def fail(_: TrialRun, run: Run) -> None:
        if run.step == 3:
            raise KeyboardInterrupt

    settings = make_settings(tune=QUICK | {"rank": 2, "checkpoint_minutes": 1e-6})
    prepared = trainer.prepare(data, settings)
    with pytest.raises(KeyboardInterrupt):
        trainer.train_runs(prepared, [TrialRun(out, settings)], on_step=fail)
    assert not (out / "metrics.json").exists()
    assert files.file_hashes(out / "best") == before
    other = train(data, out, make_settings(tune=QUICK | {"rank": 3})).to_json()
    assert other["params"]["rank"] == 3
    alone = train(data, tmp_path / "alone", make_settings(tune=QUICK | {"rank": 3})).to_json()
    assert other["validation_loss"] == alone["validation_loss"]


def test_a_loss_that_is_no_number_is_said(data, tmp_path, make_settings, monkeypatch):
    from tasks.tune.train import trainer

    evaluate, calls = trainer.evaluate, iter(range(9))

    def evaluate_badly(*args, **options):
        measured = evaluate(*args, **options)
        if next(calls) > 1:  # the base's evaluation and the first one are sound
            measured[0].losses[0] = math.nan
        return measured

    monkeypatch.setattr(trainer, "evaluate", evaluate_badly)
    with pytest.raises(Diverged, match="nan at step 4"):
        train(data, tmp_path / "out", make_settings(tune=QUICK))
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert len(curve_of(tmp_path / "out")) == 4


def test_half_precision_bases_train_adapters_in_float32(data, tmp_path, make_settings):
    from safetensors.torch import load_file

    losses = {}
    for dtype in ("float32", "bfloat16", "float16"):
        settings = make_settings(tune=QUICK, base={"dtype": dtype})
        metrics = train(data, tmp_path / dtype, settings).to_json()
        losses[dtype] = metrics["validation_loss"]
        weights = load_file(tmp_path / dtype / "best" / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)
    assert losses["float16"] == pytest.approx(losses["float32"], abs=0.05)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda data: (data / "train.jsonl").unlink(), r"train\.jsonl: no such file.*curate"),
        (lambda data: (data / "validation.jsonl").write_text(""), r"validation\.jsonl.*no record"),
        (lambda data: (data / "train.jsonl").write_text("{]\n"), r"train\.jsonl:1"),
        (lambda data: (data / "train.jsonl").write_text('{"text": ""}\n'), "anything to learn"),
        (
            lambda data: (data / "train.jsonl").write_text(
                '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
            ),
            r"train\.jsonl:1: 1 of kind preference among 1 records; supervised tuning.*leave",
        ),
    ],
)
def test_unusable_data_is_named(data, tmp_path, make_settings, break_it, message):
    break_it(data)
    with pytest.raises(BadInput, match=message):
        train(data, tmp_path / "out", make_settings(tune=QUICK))


def test_sequences_beyond_the_positions_of_the_base_are_refused(
    data, tmp_path, make_settings, tiny_base
):
    short = Path(shutil.copytree(tiny_base, tmp_path / "short"))
    config = files.read_json(short / "config.json") | {"max_position_embeddings": 40}
    files.write_json(short / "config.json", config)
    settings = make_settings(tune=QUICK, base={"model": str(short)})
    with pytest.raises(BadInput, match=r"tune\.max_length: .* 40 positions; set it to 40 or less"):
        train(data, tmp_path / "out", settings)
    cut = settings.replace(tune=settings.tune.replace(max_length=40))
    assert train(data, tmp_path / "out", cut).to_json()["steps"] == 6


def test_target_modules_that_the_base_lacks_are_named(data, tmp_path, make_settings):
    settings = make_settings(tune=QUICK | {"target_modules": ["no_such_proj"]})
    with pytest.raises(BadInput, match=r"tune\.method\.target_modules.*no_such_proj"):
        train(data, tmp_path / "out", settings)


# Schedules


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 60),
    warmup=st.floats(0, 1),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_rate_rises_to_its_peak_then_falls_and_is_never_zero(steps, warmup, schedule):
    tune = tune_from(schedule=schedule, warmup_share=warmup)
    factors = [lr_multiplier(step, steps, tune) for step in range(1, steps + 1)]
    top = math.ceil(warmup * steps)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if top:
        assert factors[top - 1] == 1


@hypothesis_settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), evaluations=st.integers(1, 20))
def test_evaluations_are_spread_evenly_and_one_is_at_the_end(steps, evaluations):
    due = sorted(evaluation_steps(steps, evaluations))
    assert due[-1] == steps
    assert due[0] >= 1
    assert len(due) == min(steps, evaluations)
    gaps = [after - before for before, after in zip([0, *due], due, strict=False)]
    assert max(gaps) - min(gaps) <= 1
