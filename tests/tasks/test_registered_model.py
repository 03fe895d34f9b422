"""A registered version answers as it did in the evaluation, in a process that has no Perpetune."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.evaluate.generation import answer
from tasks.model import base_model
from tasks.model.encoding import encode_prompt
from tasks.registry import Candidate, Registry
from tasks.settings import Settings
from tests.project import PROJECT
from tests.tasks.templates import QWEN3
from tests.tasks.test_answers_end import base as styled_base

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And you?"}]
ASKED = ["Hello there", CHAT, "One two"]

SERVE = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("tasks", "flows", "perpetune"):
            raise ImportError(f"{name}: Perpetune is not installed here")

sys.meta_path.insert(0, Blocked())
import mlflow

found = []
for uri, name in json.loads(sys.argv[1]):
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(name)
    assert model.metadata.signature is not None
    found.append(model.predict(json.loads(sys.argv[2])))
    version = mlflow.MlflowClient().get_model_version("tiny.model", "1")
    code = version.description.partition("```python\\n")[2].partition("```")[0]
    assert len(code.splitlines()) == 3
    if len(found) == 1:
        page = {"print": lambda answers: None}
        exec(code, page)
        assert page["model"].predict(json.loads(sys.argv[2])) == found[0]
print(json.dumps(found))
"""


def adapter_on(settings: Settings, folder: Path, seed: int = 1) -> Path:
    """An adapter that changes what the base says."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base_model.load_model(settings), config).save_pretrained(folder)
    return folder


def bottleneck_on(settings: Settings, folder: Path) -> Path:
    """The same of a method that PEFT does not have."""
    from tasks.model.bottleneck import BottleneckConfig

    torch.manual_seed(1)
    model = get_peft_model(base_model.load_model(settings), BottleneckConfig(bottleneck_size=8))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bottleneck_up" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    return folder


def register(settings: Settings, adapter: Path) -> Registry:
    registry = Registry(settings)
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    registry.register(run, "k", Candidate(adapter, True, {"passed": True}, "card"))
    return registry


def evaluated(settings: Settings, adapter: Path | None) -> list[str]:
    """The answers of the evaluation."""
    tokenizer = base_model.load_tokenizer(settings)
    model = base_model.load_model(settings, adapter)
    chats = [[{"role": "user", "content": a}] if isinstance(a, str) else a for a in ASKED]
    asked = [records.parse({"messages": chat}, "a", 1, labelled=False) for chat in chats]
    prompts = [encode_prompt(record, tokenizer) for record in asked]
    options = settings.evaluate
    found = answer(
        model,
        tokenizer,
        prompts,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
    )
    return [one.text for one in found]


def serve(models: Sequence[tuple[str, str]], folder: Path) -> list[list[str]]:
    """What models answer in a process that can import nothing of ours and stands elsewhere."""
    script = folder / "serve.py"
    script.write_text(SERVE)
    done = subprocess.run(
        [sys.executable, "-I", str(script), json.dumps(models), json.dumps(ASKED)],
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def penalised(settings: Settings) -> None:
    """Let the base ship settings that would change what it says."""
    path = Path(settings.base.model) / "generation_config.json"
    shipped = files.read_json(path) if path.is_file() else {}
    files.write_json(path, shipped | {"repetition_penalty": 1.8, "do_sample": True})


@pytest.fixture
def tiny(
    new_project: Callable[..., Settings], tiny_base: Path, tmp_path: Path
) -> Callable[..., Settings]:
    """A project on a copy of the tiny base that ships a repetition penalty."""
    shutil.copytree(tiny_base, tmp_path / "base")

    def make(**base: Any) -> Settings:
        named = {"model": str(tmp_path / "base"), "dtype": "float32"} | base
        settings = new_project(base=named, evaluate={"max_new_tokens": 8, "batch_size": 2})
        penalised(settings)
        return settings

    return make


def test_the_served_answers_are_the_evaluated_ones_without_perpetune(
    tiny: Callable[..., Settings], new_project: Callable[..., Settings], tmp_path: Path
) -> None:
    projects = {"tiny": tiny(), "nf4": tiny(quantisation="nf4"), "bottleneck": tiny()}
    mine = tmp_path / "mine.jinja"
    mine.write_text(QWEN3.replace("{{ m.role }}\n", "{{ m.role }} says\n"))
    for style, template in (("qwen3", str(mine)), ("channels", None)):
        folder = tmp_path / style
        styled_base(style, folder)
        named = {"model": str(folder), "dtype": "float32", "chat_template": template}
        projects[style] = new_project(base=named, evaluate={"max_new_tokens": 12})
        penalised(projects[style])
    models, expected = [], []
    for name, settings in projects.items():
        make = bottleneck_on if name == "bottleneck" else adapter_on
        adapter = make(settings, tmp_path / f"adapter-{name}")
        expected.append(evaluated(settings, adapter))
        registry = register(settings, adapter)
        registry.approve(1, "ann")
        models.append((registry.tracking_uri, "models:/tiny.model@champion"))
    mine.unlink()
    assert len({tuple(answers) for answers in expected}) == len(projects)
    assert all(any(answers) for answers in expected)
    assert serve(models, tmp_path) == expected


def test_it_is_what_vanilla_peft_answers(
    tiny: Callable[..., Settings], tiny_base: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = tiny()
    registry = register(settings, adapter_on(settings, tmp_path / "adapter"))
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model = PeftModel.from_pretrained(
        plain, str(registry.versions.adapter("models:/tiny.model/1"))
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    answers = []
    for messages in ([{"role": "user", "content": ASKED[0]}], CHAT):
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        said = model.generate(**ids, max_new_tokens=8, do_sample=False)
        rest = said[0, ids["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(rest, skip_special_tokens=True).strip())
    assert load(registry).predict([ASKED[0], CHAT]) == answers
    assert answers[0] != answers[1]

    stored = sum(
        path.stat().st_size
        for path in (settings.project.state_dir / "mlartifacts").rglob("*")
        if path.is_file()
    )
    weights = (tiny_base / "model.safetensors").stat().st_size
    given = sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir())
    assert stored < given + 60_000 < weights, "the base model's weights are not stored again"


def load(registry: Registry, **options: Any) -> Any:
    import mlflow

    mlflow.set_tracking_uri(registry.tracking_uri)
    return mlflow.pyfunc.load_model("models:/tiny.model/1", **options)


def stored(settings: Settings, name: str) -> Path:
    (path,) = (settings.project.state_dir / "mlartifacts").rglob(name)
    return path


def test_what_was_altered_is_not_loaded(tiny: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny()
    registry = register(settings, adapter_on(settings, tmp_path / "adapter"))
    base = Path(settings.base.model)
    weights = stored(settings, "adapter_model.safetensors")
    for path, message in (
        (weights, r"the adapter: the bytes of .*adapter_model\.safetensors are not those"),
        (stored(settings, "decoder.py"), r"the code: the bytes of .*decoder\.py"),
        (base / "model.safetensors", r"the base model .*base.*base_folder"),
        (base / "generation_config.json", r"the bytes of .*generation_config\.json"),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[:-4] + bytes(byte ^ 1 for byte in whole[-4:]))
        with pytest.raises(Exception, match=message):
            load(registry)
        path.write_bytes(whole)
    pickled = weights.with_name("adapter_model.bin")
    pickled.write_bytes(b"")
    with pytest.raises(Exception, match=r"also holds 'adapter_model\.bin'"):
        load(registry)
    pickled.unlink()

    base.rename(tmp_path / "moved")
    with pytest.raises(Exception, match=r"base is missing.*base_folder"):
        load(registry)
    assert load(registry, model_config={"base_folder": str(tmp_path / "moved")}).predict(["a"])
    with pytest.raises(Exception, match=r"input 1: expected a text, or a chat"):
        load(registry, model_config={"base_folder": str(tmp_path / "moved")}).predict(["a", [{}]])


def test_serving_code_imports_only_what_it_may() -> None:
    """Not even where it is not run: a type checker's import would hide a dependency."""
    allowed = {"mlflow", "torch", "transformers", "peft", "huggingface_hub", "jinja2"}
    for name in ("model/decoder", "model/gguf", "model/bottleneck", "registry/served_model"):
        tree = ast.parse((PROJECT / "tasks" / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in names:
                top = str(module).split(".")[0]
                assert top in allowed | sys.stdlib_module_names, f"{name} imports {module}"


def test_the_base_in_4_bits_is_named_among_what_serving_needs(
    tiny: Callable[..., Settings], tmp_path: Path
) -> None:
    from importlib.metadata import version

    needed = []
    for quantisation in (None, "nf4"):
        settings = tiny(quantisation=quantisation)
        register(settings, adapter_on(settings, tmp_path / f"adapter-{quantisation}"))
        needed.append(stored(settings, "requirements.txt").read_text().splitlines())
    assert needed[1] == [*needed[0], f"bitsandbytes=={version('bitsandbytes')}"]


def test_a_whole_model_is_registered_and_served_without_its_base(
    tiny: Callable[..., Settings], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings, whole = tiny(), tmp_path / "whole"
    base = Path(settings.base.model)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(whole)
    registry = Registry(settings)
    pickled = tmp_path / "pickled"
    files.write_json(pickled / "config.json", {})
    with pytest.raises(BadInput, match=r"\*\.safetensors"):
        register(settings, pickled)
    AutoTokenizer.from_pretrained(base).save_pretrained(whole)
    penalised(Settings.model_validate({"base": {"model": str(whole)}}))
    register(settings, whole)
    expected = evaluated(settings, whole)
    assert expected != evaluated(settings, None)
    found = registry.versions.adapter("models:/tiny.model/1")
    assert files.file_hashes(found) == files.file_hashes(whole)
    shutil.rmtree(base)
    assert load(registry).predict(ASKED) == expected
