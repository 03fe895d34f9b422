"""Every method of adaptation keeps one contract, and each has a few properties of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
)

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_model
from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data.attention import packed_attention
from tasks.tune.data.batching import batches
from tasks.tune.data.packing import pack, token_losses
from tasks.tune.methods import METHODS
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.methods.fused_lora import fuse
from tasks.tune.methods.lora import lanes
from tasks.tune.settings import Tune
from tasks.tune.train import train, trainer
from tasks.tune.train.pack_executor import pack_executor
from tasks.tune.train.run import Run
from tasks.tune.train.trials import TrialRun
from tests.conftest import PROJECT
from tests.sections import settings_from, tune_from
from tests.tasks.test_tune import write_data

STEPS = 8
SMALL = {"rank": 4, "virtual_tokens": 10, "bottleneck_size": 16, "ptuning_version": "v2"}
# P-tuning is two methods.
KINDS = [*METHODS.members(), "ptuning-v1"]
every_method = pytest.mark.parametrize("kind", KINDS)


def settings_of(kind: str, base: Path, **more: Any) -> Settings:
    method, _, version = kind.partition("-")
    tune = SMALL | {"method": method} | ({"ptuning_version": version} if version else {}) | more
    return settings_from(base={"model": str(base), "dtype": "float32"}, tune=tune)


def of_type(dtype: str, settings: Settings) -> Settings:
    base = settings.base.model_copy(update={"dtype": dtype})
    return settings.model_copy(update={"base": base})


def examples() -> list[Example]:
    """Six sequences of random tokens, which a tiny model can learn by heart."""
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for number, length in enumerate([12, 7, 20, 12, 5, 9]):
        tokens = torch.randint(10, 40_000, (length,), generator=generator).tolist()
        drawn.append(Example(str(number), "x", tuple(tokens), (True,) * length))
    return drawn


@contextmanager
def attached(base: PreTrainedModel, settings: Settings, seed: int = 0) -> Iterator[AdaptedModel]:
    with torch.random.fork_rng(), packed_attention(base):
        torch.manual_seed(seed)
        with METHODS.get(settings.tune.method.name).attach(base, settings.tune, STEPS) as adapted:
            yield adapted


def optimiser_of(
    adapted: AdaptedModel, settings: Settings, width: int = 64
) -> torch.optim.Optimizer:
    rate = ranges.learning_rate(settings.tune, width)
    return torch.optim.AdamW(adapted.parameters().values(), lr=rate, weight_decay=0.0)


def take_steps(
    adapted: AdaptedModel, optimiser: torch.optim.Optimizer, first: int = 1, last: int = STEPS
) -> list[float]:
    """Steps as training takes them; the mean loss before each."""
    packed = pack(examples(), next(adapted.network.parameters()).device)
    adapted.network.train()
    losses = []
    for step in range(first, last + 1):
        summed = token_losses(adapted.network, packed, adapted.inputs(packed)).sum(dim=1)
        loss = summed.sum() / len(packed.targets)
        losses.append(loss.item())
        penalty = adapted.penalty()
        parameters = list(adapted.parameters().values())
        gradients = torch.autograd.grad(
            loss if penalty is None else loss + penalty,
            parameters,
            allow_unused=True,
            materialize_grads=True,
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        adapted.after_step(step)
        optimiser.zero_grad()
    adapted.network.eval()
    return losses


@torch.no_grad()
def packed_logits(adapted: AdaptedModel) -> list[torch.Tensor]:
    """For each example [tokens - 1, vocabulary], from one pack."""
    packed = pack(examples(), next(adapted.network.parameters()).device)
    logits = adapted.network(**adapted.inputs(packed), use_cache=False).logits[0]
    return list(logits.split(packed.counts))


@torch.no_grad()
def padded_logits(model: torch.nn.Module) -> list[torch.Tensor]:
    """The same from a padded batch, as anybody would compute it."""
    given = [torch.tensor(each.input_ids) for each in examples()]
    ids = torch.nn.utils.rnn.pad_sequence(given, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(each) for each in given], True)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -ids.shape[1] :]
    return [row[: len(each) - 1] for row, each in zip(logits, given, strict=True)]


def look_of(base: PreTrainedModel) -> dict[str, Any]:
    """All that a method must leave as it was."""
    with packed_attention(base):
        pass  # after which transformers remembers that this base can have it
    return {
        "weights": {name: each.clone() for name, each in base.state_dict().items()},
        "types": {name: type(each) for name, each in base.named_modules()},
        "trainable": {name: each.requires_grad for name, each in base.named_parameters()},
        "attributes": {name: dir(each) for name, each in base.named_modules()},
        "config": base.config.to_dict(),
    }


def assert_untouched(base: PreTrainedModel, before: dict[str, Any]) -> None:
    after = look_of(base)
    weights = before["weights"]
    assert list(after["weights"]) == list(weights)
    assert all(torch.equal(after["weights"][name], weights[name]) for name in weights)
    assert {**after, "weights": None} == {**before, "weights": None}


@dataclass
class Trained:
    """What a method came to on the tiny base."""

    losses: list[float]
    logits: list[torch.Tensor]
    folder: Path
    parameters: dict[str, tuple[torch.dtype, bool, int]]
    trainable: set[int]
    own: set[int]
    counts: tuple[int, int]


@pytest.fixture(scope="module")
def bases(tiny_base: Path) -> dict[bool, PreTrainedModel]:
    """The tiny base by whether it is quantised."""
    settings = settings_of("lora", tiny_base)
    quantised = {METHODS.get(name).quantised for name in METHODS.members()}
    return {each: base_model.load_model(settings, quantised=each) for each in quantised}


@pytest.fixture(scope="module")
def looks(bases: dict[bool, PreTrainedModel]) -> dict[bool, dict[str, Any]]:
    return {quantised: look_of(base) for quantised, base in bases.items()}


def base_of(kind: str, bases: dict[bool, PreTrainedModel]) -> PreTrainedModel:
    return bases[METHODS.get(kind.partition("-")[0]).quantised]


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory, bases, looks) -> Callable[[str], Trained]:
    """Each method, trained once."""
    found: dict[str, Trained] = {}
    folder = tmp_path_factory.mktemp("methods")

    def train(kind: str) -> Trained:
        if kind not in found:
            settings, base = settings_of(kind, tiny_base), base_of(kind, bases)
            with attached(base, settings) as adapted:
                losses = take_steps(adapted, optimiser_of(adapted, settings))
                named = adapted.parameters()
                every = {*adapted.network.parameters(), *base.parameters(), *named.values()}
                adapted.write(folder / kind, adapted.export(), settings)
                found[kind] = Trained(
                    losses=losses,
                    logits=packed_logits(adapted),
                    folder=folder / kind,
                    parameters={
                        name: (each.dtype, each.requires_grad, each.numel())
                        for name, each in named.items()
                    },
                    trainable={id(each) for each in every if each.requires_grad},
                    own={id(each) for each in named.values()},
                    counts=adapted.counts(),
                )
        return found[kind]

    return train


@every_method
def test_a_few_steps_lower_the_loss(kind, trained):
    losses = trained(kind).losses
    assert losses[-1] < losses[0] - 0.01


@every_method
def test_what_is_trained_is_float32_and_nothing_else_is(kind, trained):
    result = trained(kind)
    assert result.parameters
    for dtype, requires_grad, _ in result.parameters.values():
        assert dtype == torch.float32
        assert requires_grad
    assert result.trainable == result.own


@every_method
def test_parameters_are_counted(kind, trained, tiny_base):
    result = trained(kind)
    own, whole = result.counts
    assert own == sum(count for _, _, count in result.parameters.values())
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    base = model.num_parameters()
    added = {"full": 0, "feature_extraction": model.lm_head.weight.numel()}
    assert whole == base + added.get(kind, own)


@every_method
def test_a_method_reads_the_settings_that_it_says(kind, bases, tiny_base):
    read = set()

    settings = settings_of(kind, tiny_base)

    class Watched(type(settings.tune.method)):  # type: ignore[misc]
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    tune = settings.tune.replace(method=Watched(**settings.tune.method.plain()))
    read.clear()
    with attached(base_of(kind, bases), settings.model_copy(update={"tune": tune})):
        pass
    specific = frozenset().union(*(method.uses for method in METHODS))
    assert read & specific == METHODS.get(settings.tune.method.name).uses


@every_method
def test_the_base_is_given_back_as_it_was(kind, trained, bases, looks):
    trained(kind)
    base = base_of(kind, bases)
    assert_untouched(base, looks[METHODS.get(kind.partition("-")[0]).quantised])


# Knows nothing but the public libraries, and the module of the one method that PEFT lacks.
LOADING = """
import importlib.util, json, sys, torch
from pathlib import Path
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

sequences, base, out = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
given = [torch.tensor(each) for each in sequences]
ids = torch.nn.utils.rnn.pad_sequence(given, batch_first=True)
mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(each) for each in given], True)
for folder in map(Path, sys.argv[4:]):
    if folder.name == "bottleneck":
        import tasks.model.bottleneck
    if (folder / "config.json").is_file():
        model = AutoModelForCausalLM.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
    else:
        nf4 = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
        quantised = {"quantization_config": nf4} if folder.name == "qlora" else {}
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **quantised)
        for module in model.modules():
            module.support_avx512bf16_for_cpu = False  # a kernel that rounds to bfloat16
        model = PeftModel.from_pretrained(model, folder)
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=mask).logits[:, -ids.shape[1]:]
    save_file({"logits": logits.contiguous()}, out / f"{folder.name}.safetensors")
"""


@pytest.fixture(scope="module")
def reloaded(trained, tiny_base, tmp_path_factory) -> Path:
    """What each written folder computes in a fresh process."""
    out = tmp_path_factory.mktemp("reloaded")
    folders = [str(trained(kind).folder) for kind in KINDS]
    sequences = json.dumps([each.input_ids for each in examples()])
    command = [sys.executable, "-c", LOADING, sequences, str(tiny_base), str(out), *folders]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return out


@every_method
def test_the_public_libraries_load_what_was_written(kind, trained, reloaded):
    rows = load_file(reloaded / f"{kind}.safetensors")["logits"]
    for expected, row in zip(trained(kind).logits, rows, strict=True):
        torch.testing.assert_close(row[: len(expected)], expected, rtol=1e-5, atol=1e-5)


@every_method
def test_weights_are_written_byte_for_byte_whenever(kind, trained, tiny_base, tmp_path, bases):
    settings = settings_of(kind, tiny_base)
    with attached(base_of(kind, bases), settings) as adapted:
        optimiser = optimiser_of(adapted, settings)
        take_steps(adapted, optimiser, last=5)
        best = adapted.export()
        adapted.write(tmp_path / "early", best, settings)
        take_steps(adapted, optimiser, first=6)
        adapted.write(tmp_path / "late", best, settings)
        adapted.write(tmp_path / "last", adapted.export(), settings)
    early, late, last = (files.file_hashes(tmp_path / name) for name in ("early", "late", "last"))
    assert early == late
    assert last == files.file_hashes(trained(kind).folder)  # where no writing came in between
    assert last != early
    written = list((tmp_path / "last").glob("*.json"))
    assert written
    assert not any(str(tmp_path) in each.read_text() for each in written)


@every_method
def test_equal_seeds_give_equal_beginnings(kind, tiny_base, bases):
    settings = settings_of(kind, tiny_base)
    begun = []
    for seed in (3, 3):
        with attached(base_of(kind, bases), settings, seed) as adapted:
            begun.append({name: each.clone() for name, each in adapted.parameters().items()})
    assert list(begun[0]) == list(begun[1])
    assert all(torch.equal(begun[0][name], begun[1][name]) for name in begun[0])


@pytest.mark.parametrize(
    ("kind", "stopped"), [*((kind, 3) for kind in KINDS), ("adalora", STEPS - 1)]
)
def test_training_goes_on_from_a_state(kind, stopped, tiny_base, bases):
    settings, base = settings_of(kind, tiny_base, dropout=0.1), base_of(kind, bases)
    with attached(base, settings) as adapted:
        optimiser = optimiser_of(adapted, settings)
        take_steps(adapted, optimiser, last=stopped)
        state, moments = adapted.state(), optimiser.state_dict()
        moments = {
            "state": {
                number: {part: each.clone() for part, each in parts.items()}
                for number, parts in moments["state"].items()
            },
            "param_groups": moments["param_groups"],
        }
        torch.manual_seed(7)
        losses = take_steps(adapted, optimiser, first=stopped + 1)
        unbroken = adapted.state()
    with attached(base, settings, seed=9) as adapted:
        optimiser = optimiser_of(adapted, settings)
        adapted.load_state(state)
        optimiser.load_state_dict(moments)
        torch.manual_seed(7)
        assert take_steps(adapted, optimiser, first=stopped + 1) == losses
        resumed = adapted.state()
    assert list(resumed) == list(unbroken)
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


@every_method
def test_on_a_half_precision_base(kind, tiny_base, tmp_path):
    settings = of_type("bfloat16", settings_of(kind, tiny_base))
    base = base_model.load_model(
        settings, quantised=METHODS.get(settings.tune.method.name).quantised
    )
    before = look_of(base)
    with attached(base, settings) as adapted:
        losses = take_steps(adapted, optimiser_of(adapted, settings))
        assert all(each.dtype == torch.float32 for each in adapted.parameters().values())
        logits = packed_logits(adapted)
        adapted.write(tmp_path / "written", adapted.export(), settings)
    assert losses[-1] < losses[0] - 0.01
    assert logits[0].dtype == torch.bfloat16
    assert_untouched(base, before)
    model = base_model.load_model(
        settings, tmp_path / "written", quantised=METHODS.get(settings.tune.method.name).quantised
    )
    for expected, row in zip(logits, padded_logits(model), strict=True):
        torch.testing.assert_close(row, expected, rtol=0.05, atol=0.05)


# Whole runs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("curated"))


def run_of(kind: str, base: Path, **more: Any) -> Settings:
    return settings_of(kind, base, batch_size=4, max_steps=6, evaluations=3, **more)


# Each run dies in its third step, after an evaluation and checkpoints; forked, so that libraries
# are imported once.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from transformers import AutoTokenizer, LlamaForCausalLM
from tasks.settings import load_settings
from tasks.tune.train import train
from tasks.tune.train.run import Run

take_step = Run.take_step

def take_step_or_die(run, *args):
    if run.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(run, *args)

Run.take_step = take_step_or_die
for params in map(Path, sys.argv[2:]):
    child = os.fork()
    if child == 0:
        train(Path(sys.argv[1]), params.with_suffix(""), load_settings(params))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (params, status)
"""


@pytest.fixture(scope="module")
def killed(data, tiny_base, tmp_path_factory) -> Path:
    """A run of each method, killed."""
    folder = tmp_path_factory.mktemp("killed")
    for kind in KINDS:
        plain = run_of(kind, tiny_base).plain()
        plain["tune"]["checkpoint_minutes"] = 1e-6  # after every step; the run is the same one
        files.write_json(folder / f"{kind}.json", plain)
    command = [sys.executable, "-c", KILLED, str(data), *map(str, folder.glob("*.json"))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder


@every_method
def test_a_run_lowers_validation_loss_and_a_killed_one_ends_alike(
    kind, data, killed, tiny_base, tmp_path
):
    settings = run_of(kind, tiny_base)
    unbroken = train(data, tmp_path / "unbroken", settings).to_json()
    assert unbroken["validation_loss"] < unbroken["initial_validation_loss"]
    assert unbroken["trainable_parameters"] > 0
    out = killed / kind
    assert (out / "checkpoint").is_dir()
    assert files.read_json(out / "checkpoint" / "progress.json")["curve"][-1]["step"] == 2
    assert not (out / "metrics.json").exists()
    resumed = train(data, out, settings).to_json()
    assert resumed["validation_loss"] == unbroken["validation_loss"]
    best = files.file_hashes(tmp_path / "unbroken" / "best")
    assert files.file_hashes(out / "best") == best


# Another architecture: other names, fused projections, biases, an untied head called otherwise.


@pytest.fixture(scope="module")
def neox(tmp_path_factory, tiny_base) -> Path:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=49_152,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    folder = tmp_path_factory.mktemp("neox")
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    base_model.load_tokenizer(settings_of("lora", tiny_base)).save_pretrained(folder)
    return folder


@every_method
def test_on_an_architecture_that_is_no_llama(kind, neox, tmp_path):
    settings = settings_of(kind, neox, max_length=64)
    quantised = METHODS.get(settings.tune.method.name).quantised
    base = base_model.load_model(settings, quantised=quantised)
    before = look_of(base)
    with attached(base, settings) as adapted:
        losses = take_steps(adapted, optimiser_of(adapted, settings))
        logits = packed_logits(adapted)
        adapted.write(tmp_path / "written", adapted.export(), settings)
    assert losses[-1] < losses[0]
    assert_untouched(base, before)
    model = base_model.load_model(settings, tmp_path / "written", quantised=quantised)
    for expected, row in zip(logits, padded_logits(model), strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)


# Own weights


@pytest.fixture
def base(tiny_base: Path) -> PreTrainedModel:
    return base_model.load_model(settings_of("lora", tiny_base))


def test_a_trained_head_leaves_the_input_embeddings_alone(base, tiny_base, trained):
    folder = trained("feature_extraction").folder
    assert not json.loads((folder / "config.json").read_text())["tie_word_embeddings"]
    assert base.config.tie_word_embeddings
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(model.model.embed_tokens.weight, base.model.embed_tokens.weight)
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)


def test_tied_embeddings_stay_tied_where_both_are_trained(base, tiny_base, trained, tmp_path):
    assert json.loads((trained("full").folder / "config.json").read_text())["tie_word_embeddings"]
    both = settings_of("feature_extraction", tiny_base, trained_modules=["lm_head", "embed_tokens"])
    with attached(base, both) as adapted:
        assert list(adapted.parameters()) == ["model.embed_tokens.weight"]
        take_steps(adapted, optimiser_of(adapted, both), last=2)
        adapted.write(tmp_path / "both", adapted.export(), both)
        logits = packed_logits(adapted)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "both")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.testing.assert_close(padded_logits(model), logits)


def test_modules_are_chosen_by_the_end_of_their_names(base, tiny_base):
    chosen = settings_of("feature_extraction", tiny_base, trained_modules=["layers.1.mlp", "norm"])
    with attached(base, chosen) as adapted:
        assert set(adapted.parameters()) == {
            "model.layers.1.mlp.gate_proj.weight",
            "model.layers.1.mlp.up_proj.weight",
            "model.layers.1.mlp.down_proj.weight",
            "model.norm.weight",
        }


def test_unknown_modules_are_refused_with_those_there_are(base, tiny_base):
    wrong = settings_of("feature_extraction", tiny_base, trained_modules=["lm_head", "head"])
    with (
        pytest.raises(
            BadInput, match=r"tune\.method\.trained_modules.*'head'.*embed_tokens.*lm_head"
        ),
        attached(base, wrong),
    ):
        pass


def test_quantised_weights_are_not_trained(bases, tiny_base):
    with (
        pytest.raises(BadInput, match=r"tune\.method.*base\.quantisation"),
        attached(bases[True], settings_of("full", tiny_base)),
    ):
        pass
    some = settings_of("feature_extraction", tiny_base, trained_modules=["q_proj"])
    with (
        pytest.raises(BadInput, match=r"tune\.method\.trained_modules.*base\.quantisation"),
        attached(bases[True], some),
    ):
        pass


def test_half_precision_computes_what_is_written_and_masters_keep_small_steps(tiny_base, tmp_path):
    settings = of_type("bfloat16", settings_of("full", tiny_base, learning_rate=1e-7))
    base = base_model.load_model(settings)
    with attached(base, settings) as adapted:
        begun = adapted.state()
        take_steps(adapted, optimiser_of(adapted, settings))
        moved = adapted.state()
        adapted.write(tmp_path / "written", adapted.export(), settings)
        logits = packed_logits(adapted)
    assert all(not torch.equal(begun[name], moved[name]) for name in begun)
    weights = load_file(tmp_path / "written" / "model.safetensors")
    assert {each.dtype for each in weights.values()} == {torch.bfloat16}
    model = base_model.load_model(settings, tmp_path / "written")
    packed = pack(examples(), model.device)
    with torch.no_grad(), packed_attention(model):
        written = model(**packed.inputs(), use_cache=False).logits[0]
    assert torch.equal(torch.cat(logits), written)


def test_a_whole_run_in_float16_is_that_in_float32(data, tiny_base, tmp_path):
    found = {}
    for dtype in ("float32", "float16"):
        settings = of_type(dtype, run_of("full", tiny_base, learning_rate=1e-3))
        found[dtype] = train(data, tmp_path / dtype, settings).to_json()
    half = found["float16"]
    assert half["validation_loss"] < half["initial_validation_loss"] - 0.2
    assert half["validation_loss"] == pytest.approx(found["float32"]["validation_loss"], abs=0.01)
    weights = load_file(tmp_path / "float16" / "best" / "model.safetensors")
    assert {each.dtype for each in weights.values()} == {torch.float16}
    assert all(each.isfinite().all() for each in weights.values())


@contextmanager
def run_in_float16(data: Path, base: Path, out: Path) -> Iterator[tuple[Run, Callable]]:
    """A fresh run of `full`, and what takes it to its end."""
    settings = of_type("float16", run_of("full", base, learning_rate=1e-3))
    prepared = trainer.prepare(data, settings)
    plan = batches(prepared.train, settings.tune, 0)
    task = trainer.Task(prepared.objective, plan, prepared.validation)
    with (
        trainer.attach(prepared, [TrialRun(out, settings)], len(plan)) as (run,),
        pack_executor(prepared.base) as packs,
    ):
        yield (
            run,
            lambda: trainer.train_steps([run], task, len(plan), packs),
        )


def test_gradients_too_small_for_float16_train_all_the_same(data, tiny_base, tmp_path):
    with run_in_float16(data, tiny_base, tmp_path) as (run, finish):
        with torch.no_grad():  # hardly a gradient goes down through it
            run.adapted.parameters()["model.norm.weight"].mul_(1e-4)
        begun = run.adapted.state()
        finish()
        for name, each in run.adapted.state().items():
            assert each.dtype == torch.float32
            assert (each != begun[name]).float().mean() > 0.99
            assert each.isfinite().all()


def test_a_step_whose_gradients_are_too_large_for_float16_is_left_out(data, tiny_base, tmp_path):
    with run_in_float16(data, tiny_base, tmp_path) as (run, finish):
        run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**19)
        finish()
        assert run.scaler.get_scale() < 2.0**19
        assert run.curve[-1]["train_loss"] < run.curve[0]["train_loss"] - 0.1
        assert all(each.isfinite().all() for each in run.adapted.state().values())


# LoRA's relatives


def test_dora_learns_magnitudes(trained):
    result = trained("dora")
    assert json.loads((result.folder / "adapter_config.json").read_text())["use_dora"]
    magnitudes = [name for name in result.parameters if "lora_magnitude_vector" in name]
    assert len(magnitudes) == 14  # one for each linear layer


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 20])
def test_adalora_takes_ranks_away_until_the_rank_set_is_left_on_average(
    base, tiny_base, steps, tmp_path
):
    settings = settings_of("adalora", tiny_base)
    with torch.random.fork_rng(), packed_attention(base):
        torch.manual_seed(0)
        with METHODS.get("adalora").attach(base, settings.tune, steps) as adapted:
            optimiser = optimiser_of(adapted, settings)
            ranks = []
            for step in range(1, steps + 1):
                take_steps(adapted, optimiser, step, step)
                ends = [e for name, e in adapted.parameters().items() if name.endswith("lora_E")]
                ranks.append(sum(int((each != 0).sum()) for each in ends))
            adapted.write(tmp_path / "written", adapted.export(), settings)
    layers = 14
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] <= 6 * layers
    if steps > 1:
        assert ranks[-1] == 4 * layers
    config = json.loads((tmp_path / "written" / "adapter_config.json").read_text())
    assert sum(map(sum, config["rank_pattern"].values())) == ranks[-1]
    written = load_file(tmp_path / "written" / "adapter_model.safetensors")
    kept = [each.shape[0] for name, each in written.items() if name.endswith("lora_E")]
    assert sum(kept) == ranks[-1]


def test_adalora_asks_for_orthogonal_matrices_as_peft_does(base, tiny_base):
    settings = settings_of("adalora", tiny_base)
    with attached(base, settings) as adapted, torch.no_grad():
        ids = torch.arange(10, 20)[None]
        plain = padded = None
        base.set_attn_implementation("sdpa")
        plain = adapted.network.base_model.model(input_ids=ids, labels=ids).loss
        padded = adapted.network(input_ids=ids, labels=ids).loss
        torch.testing.assert_close(adapted.penalty(), padded - plain)
        assert adapted.penalty() > 0


def test_ia3_scales_keys_values_and_the_inside_of_feedforward_blocks(base, tiny_base, neox):
    def scaled(model: PreTrainedModel, settings: Settings) -> dict[str, bool]:
        with attached(model, settings) as adapted:
            return {
                name.rpartition("layers.0.")[2]: module.is_feedforward
                for name, module in adapted.network.named_modules()
                if hasattr(module, "is_feedforward") and "layers.0." in name
            }

    settings = settings_of("ia3", tiny_base)
    found = {"self_attn.k_proj": False, "self_attn.v_proj": False, "mlp.down_proj": True}
    assert scaled(base, settings) == found
    named = settings_of("ia3", tiny_base, target_modules=["q_proj", "down_proj"])
    assert scaled(base, named) == {"self_attn.q_proj": False, "mlp.down_proj": True}
    base.config.model_type = "unheard_of"
    found = {"self_attn.q_proj": False, "self_attn.v_proj": False, "mlp.down_proj": True}
    assert scaled(base, settings) == found


@pytest.mark.parametrize("method", ["lora", "dora", "adalora", "ia3", "feature_extraction"])
def test_methods_train_on_a_quantised_base_too(method, bases, looks, tiny_base, tmp_path):
    settings, base = settings_of(method, tiny_base), bases[True]
    with torch.no_grad(), packed_attention(base):  # as evaluation before training does
        packed = pack(examples(), torch.device("cpu"))
        token_losses(base, packed).sum(dim=1)
    with attached(base, settings) as adapted:
        losses = take_steps(adapted, optimiser_of(adapted, settings))
        adapted.write(tmp_path / "written", adapted.export(), settings)
        logits = packed_logits(adapted)
    assert losses[-1] < losses[0] - 0.01
    assert_untouched(base, looks[True])
    model = base_model.load_model(settings, tmp_path / "written", quantised=True)
    torch.testing.assert_close(padded_logits(model), logits, rtol=1e-5, atol=1e-5)


def test_the_quick_forward_on_quantised_layers_is_pefts_own(bases, tiny_base):
    settings, base = settings_of("qlora", tiny_base), bases[True]
    with attached(base, settings) as adapted:
        take_steps(adapted, optimiser_of(adapted, settings), last=3)
        layers = [each for each in adapted.network.modules() if "forward" in vars(each)]
        assert len(layers) == 14
        for layer in layers:
            x = torch.randn(1, 5, layer.in_features, requires_grad=True)
            both = []
            for forward in (layer.forward, type(layer).forward.__get__(layer)):
                out = forward(x)
                up, down = layer.lora_B["default"].weight, layer.lora_A["default"].weight
                both.append((out, *torch.autograd.grad(out.square().sum(), (x, up, down))))
            torch.testing.assert_close(both[0], both[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quantised", [False, True], ids=["plain", "nf4"])
@pytest.mark.parametrize("active", [(0, 1, 2), (2, 1), (1, 2)])
def test_lanes_in_one_product_give_what_they_give_one_by_one(bases, tiny_base, quantised, active):
    """What an accelerator computes, and its gradients; ranks, scales and targets differ."""
    tunes = [
        settings_of("qlora" if quantised else "lora", tiny_base, **own).tune
        for own in (
            {"rank": 2, "alpha": 7.0},
            {"rank": 8, "alpha": "r"},
            {"rank": 4, "target_modules": "qv"},
        )
    ]
    base, found = bases[quantised], []
    for batched in (False, True):
        torch.manual_seed(0)
        with packed_attention(base), lanes(base, tunes) as every:
            model = every[0].model
            for module in model.modules():
                vars(module).pop("forward", None)
            fuse(model, batched=batched)
            chosen = [every[number] for number in active]
            chosen[0].set_active(chosen)
            for each in every:
                for name, parameter in each.parameters().items():
                    if "lora_B" in name:  # zero at first, when an adapter does nothing
                        torch.nn.init.normal_(parameter, std=0.1)
            mine = {}
            for name, layer in model.named_modules():
                if "forward" not in vars(layer):
                    continue
                x = torch.randn(1, 5 * len(active), layer.in_features, requires_grad=True)
                out = layer(x)
                trained = [p for p in layer.parameters() if p.requires_grad]
                gradients = torch.autograd.grad(out.square().sum(), [x, *trained])
                mine[name] = [out.detach(), *gradients]
                assert all(each.is_contiguous() for each in gradients)  # AdamW asks for it
            found.append(mine)
    assert len(found[0]) == 14
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


# Ranges


def test_defaults_raise_no_warning():
    for method in METHODS.members():
        assert ranges.warnings(tune_from(method=method), 576) == []


def test_rates_grow_as_the_base_gets_narrower():
    tune = Tune()
    assert ranges.learning_rate(tune, 4096) == METHODS.get("lora").usual_rate
    assert ranges.learning_rate(tune, 576) == pytest.approx(9.3e-4, rel=0.01)
    assert ranges.learning_rate(Tune(learning_rate=0.5), 576) == 0.5


@pytest.mark.parametrize(
    "setting",
    [
        {"rank": 2},
        {"rank": 512},
        {"rank": 1000},
        {"alpha": 1.0},
        {"alpha": 100.0},
        {"dropout": 0.5},
        {"method": "prompt", "virtual_tokens": 5},
        {"method": "ptuning", "virtual_tokens": 100},
        {"method": "bottleneck", "bottleneck_size": 8},
        {"method": "bottleneck", "bottleneck_size": 1024},
        {"learning_rate": 1e-5},
        {"learning_rate": 1e-1},
        {"method": "full", "learning_rate": 1e-3},
        {"weight_decay": 0.5},
        {"warmup_share": 0.0},
        {"warmup_share": 0.5},
        {"batch_size": 2},
        {"batch_size": 512},
        {"epochs": 0.5},
        {"epochs": 20.0},
        {"patience": 1},
        {"patience": 10, "evaluations": 20},
        {"max_length": 2048},
    ],
    ids=str,
)
def test_a_setting_outside_its_range_is_warned_about(setting):
    (sentence,) = ranges.warnings(tune_from(**setting), 576)
    name = next(name for name in setting if name != "method")
    assert re.match(rf"tune\.(method\.)?{name}: ", sentence)


@pytest.mark.parametrize(
    "setting",
    [
        {"method": "full", "rank": 1000, "alpha": 1.0, "dropout": 0.5},
        {"virtual_tokens": 1, "bottleneck_size": 1},
        {"method": "ia3", "rank": 1, "dropout": 0.5},
    ],
    ids=str,
)
def test_settings_that_do_not_matter_are_not_warned_about(setting):
    assert ranges.warnings(tune_from(**setting), 576) == []
