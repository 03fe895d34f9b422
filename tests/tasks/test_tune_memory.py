"""What memory arithmetic promises: parts that add up, growth in the right direction, counts."""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data.attention import packed_attention
from tasks.tune.data.groups import Group
from tasks.tune.data.packing import pack, token_losses
from tasks.tune.methods import METHODS
from tasks.tune.plan import arithmetic, machine
from tasks.tune.plan import profile as profiles
from tasks.tune.plan.arithmetic import predict, predict_run
from tasks.tune.plan.profile import BaseSpec, PassProfile, profile_pass
from tasks.tune.settings import Tune
from tests.sections import tune_from


def some_groups(*lengths: int) -> list[Group]:
    return [Group.of(example) for example in some_examples(*lengths)]


def some_examples(*lengths: int) -> list[Example]:
    return [
        Example(str(n), "x", tuple(range(10, 10 + n)), tuple(i >= n // 2 for i in range(n)))
        for n in lengths
    ]


def profile(base: Path, *lengths: int, method: str = "lora", **settings: Any) -> PassProfile:
    spec = BaseSpec(AutoConfig.from_pretrained(base), torch.float32)
    return profile_pass(spec, tune_from(method=method, **settings), some_groups(*lengths))


def total(base: Path, *lengths: int, lanes: int = 1, **settings: Any) -> int:
    return predict(profile(base, *lengths, **settings), lanes=lanes).total


def load(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


@pytest.mark.parametrize("method", METHODS.members())
def test_trained_parameters_are_those_that_attach_trains(method: str, tiny_base: Path) -> None:
    found = profile(tiny_base, 12, 9, method=method)
    # NF4 packs two weights into a byte, so that only what is trained can be compared by counting.
    with METHODS.get(method).attach(load(tiny_base), tune_from(method=method), 20) as adapted:
        trained, whole = adapted.counts()
    assert (found.trained, found.parameters) == (trained, whole)


def test_what_is_counted_does_not_depend_on_the_garbage_collector(tiny_base: Path) -> None:
    """PyTorch takes DoRA's norms apart with helpers that hold each other, and tensors."""
    before = gc.get_threshold()
    found = []
    for threshold in (0, 1, 200):  # never, all the time, now and then
        gc.collect()
        gc.set_threshold(threshold)
        try:
            found.append(profile(tiny_base, 12, 9, method="dora"))
        finally:
            gc.set_threshold(*before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("method", [method.name for method in METHODS if not method.quantised])
def test_activations_are_what_autograd_keeps(method: str, tiny_base: Path) -> None:
    tune, base = tune_from(method=method), load(tiny_base)
    kept: dict[int, int] = {}
    with packed_attention(base), METHODS.get(method).attach(base, tune, tune.max_steps) as adapted:
        adapted.network.train()
        own = [*base.parameters(), *base.buffers(), *adapted.parameters().values()]
        known = {each.untyped_storage().data_ptr() for each in own}
        packed = pack(some_examples(12, 9), base.device)
        living = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
                living.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = token_losses(adapted.network, packed, adapted.inputs(packed)).sum(dim=1).sum()
        assert loss.requires_grad
    found = profile(tiny_base, 12, 9, method=method).activations
    # Tables of positions are alive, too; and some kernels keep more on one device than another.
    assert found == pytest.approx(sum(kept.values()), rel=0.1)


def test_layers_that_are_not_run_count_as_those_that_are(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AutoConfig.from_pretrained(tiny_base)
    config.num_hidden_layers = 7
    spec, groups = BaseSpec(config, torch.bfloat16), some_groups(20, 14)
    quick = profile_pass(spec, Tune(), groups)
    monkeypatch.setattr(profiles, "_layers_are_alike", lambda *_: False)
    assert quick == profile_pass(spec, Tune(), groups)


def test_parts_add_up_and_each_has_its_arithmetic(tiny_base: Path) -> None:
    found = predict(profile(tiny_base, 12, 9), packs=3, packs_at_once=2, runtime=1000)
    assert found.total == sum(found.parts.values())
    assert found.runtime == 1000
    assert [line.partition(":")[0] for line in found.arithmetic] == list(found.parts)


def test_the_worked_example_adds_up() -> None:
    """The figures in the docstring of `tasks.tune.plan.arithmetic`."""
    found = predict(
        PassProfile(
            parameters=1_010_000,
            trained=10_000,
            base_parameters=1_000_000,
            weights=2_000_000,
            added=40_000,
            activations=400_000,
            intermediate=50_000,
            best=40_000,
            forward_flops=1,
            flops=1,
            tokens=100,
            targets=5,
        ),
        packs=3,
        packs_at_once=2,
        runtime=200_000_000,
    )
    rows = re.findall(r"^    (\w+) .*  ([\d,]{6,})(?:  |$)", arithmetic.__doc__ or "", re.MULTILINE)
    assert {name: int(size.replace(",", "")) for name, size in rows} == found.parts


def test_more_takes_more(tiny_base: Path) -> None:
    least = total(tiny_base, 12, 9)
    assert total(tiny_base, 12, 9, rank=32) > least
    assert total(tiny_base, 40, 39) > least
    assert total(tiny_base, 12, 9, lanes=2) > least
    assert total(tiny_base, 12, 9, lanes=2) < 2 * least  # the base is there once
    assert total(tiny_base, 12, 9, method="full") > least
    found = profile(tiny_base, 12, 9)
    assert predict(found, packs=2, packs_at_once=2).total > predict(found).total
    assert predict(found, device_type="cuda").total < predict(found).total


def test_checkpointing_keeps_less_and_computes_more(tiny_base: Path) -> None:
    plain, less = (
        profile(tiny_base, 40, 39, gradient_checkpointing=wanted) for wanted in (False, True)
    )
    assert less.activations < plain.activations
    assert less.flops > plain.flops
    assert less.forward_flops == plain.forward_flops


def test_training_every_weight_costs_three_forwards_and_lora_about_two(tiny_base: Path) -> None:
    full, lora = (profile(tiny_base, 40, 39, method=name, rank=1) for name in ("full", "lora"))
    assert full.flops / full.forward_flops == pytest.approx(3, rel=0.05)
    assert lora.flops / lora.forward_flops == pytest.approx(2, rel=0.1)


def test_four_bits_take_less_than_sixteen(tiny_base: Path) -> None:
    config = AutoConfig.from_pretrained(tiny_base)
    spec, groups = BaseSpec(config, torch.bfloat16), some_groups(12, 9)
    lora, qlora = (profile_pass(spec, tune_from(method=name), groups) for name in ("lora", "qlora"))
    embeddings = config.vocab_size * config.hidden_size
    linear = lora.base_parameters - embeddings
    # All but embeddings and norms at 4.127 bits.
    assert lora.weights - qlora.weights == pytest.approx(linear * (2 - 4.127 / 8), rel=0.01)


@pytest.mark.parametrize("method", [name for name in METHODS.members() if name != "qlora"])
def test_every_method_is_profiled_on_four_bits(method: str, tiny_base: Path) -> None:
    if method == "full":  # refused when it is attached, where there are such weights
        return
    spec = BaseSpec(AutoConfig.from_pretrained(tiny_base), torch.bfloat16, quantised=True)
    assert profile_pass(spec, tune_from(method=method), some_groups(12, 9)).activations > 0


def test_what_cannot_be_predicted_is_told_and_stops_nothing(
    tiny_base: Path,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no meta kernel\nand a long story")

    monkeypatch.setattr(arithmetic, "profile_pass", fail)
    assert predict_run(load(tiny_base), some_groups(12, 9), make_settings()) is None
    assert "lora takes on LlamaForCausalLM cannot be predicted (no meta kernel)" in caplog.text


def test_another_architecture_is_profiled_as_well() -> None:
    config = GPT2Config(n_embd=64, n_layer=5, n_head=4, vocab_size=500)
    found = profile_pass(BaseSpec(config, torch.float32), Tune(), some_groups(12, 9))
    assert found.trained > 0
    assert found.activations > 0


def test_the_peak_of_what_runs_inside_is_measured() -> None:
    with machine.measured_peak(torch.device("cpu")) as before:
        pass
    with machine.measured_peak(torch.device("cpu")) as peak:
        torch.ones(50_000_000).sum()
    with machine.measured_peak(torch.device("cpu")) as after:
        pass
    assert before.measured_bytes and peak.measured_bytes and after.measured_bytes
    assert peak.measured_bytes - before.measured_bytes > 180e6
    assert after.measured_bytes < peak.measured_bytes


def test_a_loaded_model_is_predicted_with_its_process(
    tiny_base: Path, make_settings: Callable[..., Settings]
) -> None:
    found = predict_run(load(tiny_base), some_groups(*range(5, 30)), make_settings())
    assert 100e6 < found.runtime < machine.resident_memory()
