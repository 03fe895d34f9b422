"""The bottleneck adapter is a method of PEFT like those that come with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tasks.core.errors import BadInput
from tasks.model import peft_adapter
from tasks.model.bottleneck import BottleneckConfig, BottleneckLayer
from tasks.settings import Settings
from tasks.tune.methods import METHODS
from tests.conftest import PROJECT
from tests.sections import tune_from

IDS = torch.arange(20, 60).view(2, 20)


@pytest.fixture
def base(tiny_base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


def config(**more: object) -> BottleneckConfig:
    return BottleneckConfig(task_type="CAUSAL_LM", **({"bottleneck_size": 8} | more))


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


@torch.no_grad()
def stir(model: torch.nn.Module, seed: int = 0, name: str = "default") -> None:
    generator = torch.Generator().manual_seed(seed)
    for key, each in model.named_parameters():
        if name in key.split("."):
            each.copy_(0.3 * torch.randn(each.shape, generator=generator))


def test_it_begins_by_changing_nothing(base):
    before = logits(base)
    assert torch.equal(logits(get_peft_model(base, config())), before)


def test_each_block_is_followed_by_down_activation_up_and_the_residual(base):
    model = get_peft_model(base, config(activation="gelu"))
    stir(model)
    layers = [each for each in model.modules() if isinstance(each, BottleneckLayer)]
    assert len(layers) == base.config.num_hidden_layers
    assert layers[0].self_attn is layers[0].base_layer.self_attn
    seen = []
    layers[0].base_layer.register_forward_hook(lambda *called: seen.append(called[2]))
    layers[1].base_layer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    logits(model)
    down, up = layers[0].bottleneck_down["default"], layers[0].bottleneck_up["default"]
    assert down.weight.shape == (8, 64)
    expected = seen[0] + up(torch.nn.functional.gelu(down(seen[0])))
    torch.testing.assert_close(seen[1], expected)


def test_only_its_weights_are_trained_and_all_of_them(base):
    model = get_peft_model(base, config())
    stir(model)
    model(input_ids=IDS, labels=IDS).loss.backward()
    for name, each in model.named_parameters():
        assert each.requires_grad == ("bottleneck_" in name)
        assert (each.grad is not None and each.grad.abs().max() > 0) == each.requires_grad
    trained = 2 * (2 * 8 * 64 + 8 + 64)
    assert model.get_nb_trainable_parameters() == (trained, base.num_parameters())


def test_weights_are_float32_and_computed_in_the_type_of_the_block(base):
    model = get_peft_model(base.to(torch.bfloat16), config())
    types = {each.dtype for name, each in model.named_parameters() if "bottleneck_" in name}
    assert types == {torch.float32}
    assert logits(model).dtype == torch.bfloat16


def test_dropout_is_before_the_bottleneck_in_training_only(base):
    model = get_peft_model(base, config(bottleneck_dropout=0.5))
    stir(model)
    assert torch.equal(logits(model), logits(model))
    model.train()
    with torch.no_grad():
        assert not torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)


LOADING = """
import sys, torch
import tasks.model.bottleneck
from peft import AutoPeftModelForCausalLM
from safetensors.torch import save_file

model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    logits = model(input_ids=torch.arange(20, 60).view(2, 20)).logits
save_file({"logits": logits.contiguous()}, sys.argv[2])
"""


def test_peft_saves_it_and_loads_it_in_a_fresh_process(base, tmp_path):
    model = get_peft_model(base, config(activation="silu"))
    stir(model)
    model.save_pretrained(tmp_path / "saved")
    names = set(load_file(tmp_path / "saved" / "adapter_model.safetensors"))
    assert len(names) == 2 * 4
    assert "base_model.model.model.layers.0.bottleneck_up.weight" in names
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1"}
    out = tmp_path / "logits.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(tmp_path / "saved"), str(out)],
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    torch.testing.assert_close(load_file(out)["logits"], logits(model), rtol=1e-6, atol=1e-6)


def test_plain_peft_does_not_know_the_method(base, tiny_base, tmp_path):
    """What README, docs and the folder's own README say."""
    get_peft_model(base, config()).save_pretrained(tmp_path / "saved")
    script = (
        "import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "PeftModel.from_pretrained(model, sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_base), str(tmp_path / "saved")],
        capture_output=True,
        text=True,
    )
    assert "KeyError: 'BOTTLENECK'" in done.stderr
    with METHODS.get("bottleneck").attach(base, tune_from(method="bottleneck"), 2) as adapted:
        chosen = Settings.model_validate({"base": {"model": str(tiny_base)}})
        adapted.write(tmp_path / "written", adapted.export(), chosen)
    assert "import tasks.model.bottleneck" in (tmp_path / "written" / "README.md").read_text()


def test_perpetune_loads_the_folder_without_being_told_the_method(base, tiny_base, tmp_path):
    get_peft_model(base, config()).save_pretrained(tmp_path / "saved")
    script = (
        "import sys; from pathlib import Path; from tasks.model import base_model, peft_adapter\n"
        "from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "print(peft_adapter.load_adapter(model, Path(sys.argv[2])).peft_type)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_base), str(tmp_path / "saved")],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "BOTTLENECK" in done.stdout


def test_a_folder_of_another_width_is_refused(base, tmp_path):
    get_peft_model(base, config()).save_pretrained(tmp_path / "saved")
    weights = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    wrong = {name: each[..., :4].contiguous() for name, each in weights.items()}
    save_file(wrong, tmp_path / "saved" / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="does not fit"):
        peft_adapter.load_adapter(base, tmp_path / "saved")


def test_several_adapters_live_side_by_side(base):
    plain = logits(base)
    model = get_peft_model(base, config())
    model.add_adapter("other", config(bottleneck_size=4))
    stir(model, 1)
    stir(model, 2, "other")
    first = logits(model)
    model.set_adapter("other")
    second = logits(model)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert trained
    assert all(".other." in name for name in trained)
    assert not torch.allclose(first, second)
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.delete_adapter("other")
    assert torch.equal(logits(model), first)
    assert not any(".other." in name for name, _ in model.named_parameters())


def test_unloading_gives_the_base_back(base):
    plain, types = logits(base), [type(each) for each in base.modules()]
    model = get_peft_model(base, config())
    stir(model)
    assert not torch.allclose(logits(model), plain)
    restored = model.unload()
    assert restored is base
    assert [type(each) for each in base.modules()] == types
    assert torch.equal(logits(base), plain)


@pytest.mark.parametrize("merge", ["merge_and_unload", "merge_adapter"])
def test_merging_is_refused_with_the_reason_and_leaves_the_model_as_it_was(base, merge):
    model = get_peft_model(base, config())
    stir(model)
    before = logits(model)
    with pytest.raises(ValueError, match="cannot be merged: they are not linear"):
        getattr(model, merge)()
    assert torch.equal(logits(model), before)


def test_wrong_configurations_are_refused(base):
    with pytest.raises(ValueError, match="bottleneck_size"):
        config(bottleneck_size=0)
    with pytest.raises(ValueError, match="no 'rellu'"):
        config(activation="rellu")
    with pytest.raises(ValueError, match="not found in the base model"):
        get_peft_model(base, config(target_modules=["nowhere"]))


def test_chosen_blocks_only(base, tmp_path):
    model = get_peft_model(base, config(target_modules=["layers.1"]))
    found = [name for name, each in model.named_modules() if isinstance(each, BottleneckLayer)]
    assert found == ["base_model.model.model.layers.1"]
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert isinstance(PeftConfig.from_pretrained(tmp_path), BottleneckConfig)


def test_other_methods_of_peft_are_not_touched(base):
    model = get_peft_model(base, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    before = logits(model)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), before)


SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def other_architectures() -> dict[str, PreTrainedModel]:
    """What finds blocks by their looks meets: tuples, per-block attributes, lists of experts."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    mixture = {"intermediate_size": 32, "num_local_experts": 8, "num_key_value_heads": 2}
    gemma = {"intermediate_size": 32, "num_key_value_heads": 2, "head_dim": 8}
    return {
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4)),
        "opt": OPTForCausalLM(OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=16)),
        "qwen2": Qwen2ForCausalLM(
            Qwen2Config(**SMALL, intermediate_size=64, num_key_value_heads=2)
        ),
        "mixtral": MixtralForCausalLM(MixtralConfig(**SMALL, **mixture)),
        "gemma3": Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, **gemma)),
    }


@pytest.mark.parametrize("name", ["gpt2", "opt", "qwen2", "mixtral", "gemma3"])
def test_blocks_are_found_in_other_architectures(name, tmp_path):
    torch.manual_seed(0)
    base = other_architectures()[name].eval()
    plain = logits(base)
    model = get_peft_model(base, config())
    stir(model)
    assert sum(isinstance(each, BottleneckLayer) for each in model.modules()) == 2
    adapted = logits(model)
    assert not torch.allclose(adapted, plain)
    cached = model.generate(input_ids=IDS, max_new_tokens=4, do_sample=False)
    uncached = model.generate(input_ids=IDS, max_new_tokens=4, do_sample=False, use_cache=False)
    assert torch.equal(cached, uncached)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(model.unload()), plain)
    assert torch.equal(logits(PeftModel.from_pretrained(base, tmp_path)), adapted)
