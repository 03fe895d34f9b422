"""The base model: found where `params.yaml` says, kept as safetensors, loaded for this machine."""

import importlib.metadata
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks import files, tokenizer_files
from tasks.chat_template import ChatTemplate, read_template
from tasks.errors import BadInput, PerpetuneError
from tasks.settings import Base, Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def locate(settings: Settings, *, weights: bool = True) -> Path:
    """The folder of the base model on this machine, in the layout of `save_pretrained`.

    A GGUF file of an installed package is converted once, into the state folder; a hub id is
    downloaded by `huggingface_hub` into its own cache.

    Args:
        settings: `base` says which model.
        weights: a folder has to hold some; planning asks for its configuration only.

    Raises:
        BadInput: there is no such package, folder or hub model.
    """
    base = settings.base
    if base.model.startswith("package:"):
        return _from_package(base.model.removeprefix("package:"), settings.project.state_dir)
    folder = Path(base.model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadInput(f"base.model: {folder} holds no config.json; name a model's folder")
        if weights and not any(folder.glob("*.safetensors")):
            raise BadInput(
                f"base.model: {folder} holds no *.safetensors; "
                + (
                    "pickled weights are refused"
                    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
                    else "without weights there is only `perpetune plan`"
                )
            )
        return folder
    if base.model.count("/") == 1 and not base.model.startswith((".", "/", "~")):
        return _from_hub(base)
    raise BadInput(
        f"base.model: {base.model!r} is no folder here, no hub id (owner/name), "
        "and no package:NAME; change base.model in params.yaml"
    )


def identity(settings: Settings) -> str:
    """What exactly the base is: the source's version, or the hash of a folder's weights, tokenizer
    and template; with the hash of `base.chat_template` where it is set.

    Equal identities mean equal weights and equal tokens; it goes into every round's key and
    version's tags.
    """
    base = settings.base
    template = ""
    if base.chat_template is not None:
        template = f"+template:{files.content_key(read_template(base.chat_template))}"
    if base.model.startswith("package:"):
        name = base.model.removeprefix("package:")
        return f"{base.model}=={_package_file(name)[0]}{template}"
    folder = Path(base.model).expanduser()
    if folder.is_dir():
        names = ("config.json", *tokenizer_files.VOCABULARIES, *tokenizer_files.SETTINGS)
        found = [*folder.glob("*.safetensors"), *(folder / name for name in names)]
        hashes = {path.name: files.md5(path) for path in sorted(found) if path.is_file()}
        return f"folder:{files.folder_hash(hashes)}{template}"
    return f"{base.model}@{base.revision or 'main'}{template}"


def tokenizer_source(settings: Settings) -> tuple[Path, str | None]:
    """Where the tokenizer is: a folder, and the GGUF file in it where it is part of one.

    Raises:
        BadInput: there is no such package, folder or hub model.
    """
    name = settings.base.model.removeprefix("package:")
    if name != settings.base.model:
        gguf = _package_file(name)[1]
        return gguf.parent, gguf.name
    return locate(settings), None


def load_tokenizer(settings: Settings, *, weights: bool = True) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer, with a chat template in any case; see `tokenizer_files.read`.

    Args:
        settings: names the base.
        weights: as in `locate`.

    Raises:
        BadInput: there is no such model, it has no tokenizer, or nothing ends an answer.
    """
    tokenizer = tokenizer_files.read(locate(settings, weights=weights), None, settings.base)
    template = ChatTemplate.of(tokenizer.chat_template, {})
    tokenizer_files.announce(template, settings.base)
    return tokenizer


def load_model(
    settings: Settings,
    tuned: Path | None = None,
    *,
    quantised: bool = False,
    on: "torch.device | None" = None,
) -> "PreTrainedModel":
    """The base model on this machine's device, in eval mode, tuned if `tuned` is given.

    Args:
        settings: `base` says which model and which type of weights.
        tuned: what training wrote: a plain PEFT adapter folder, which goes onto the base, or a
            whole model's folder, which is loaded in its stead (safetensors only).
        quantised: keep the frozen weights in NF4 whatever `base.quantisation` says.
        on: another device, for unquantised weights.

    Raises:
        BadInput: there is no such model, or the adapter was made for another one.
        PerpetuneError: the weights cannot be loaded.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    whole = tuned is not None and (tuned / "config.json").is_file()
    folder = tuned if tuned is not None and whole else locate(settings)
    dtype = compute_dtype(settings.base)
    nf4: dict[str, Any] = {}
    if quantised or settings.base.quantisation == "nf4":
        from transformers import BitsAndBytesConfig

        # Double quantisation: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314
        nf4["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        nf4["device_map"] = {"": device()}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=settings.base.trust_remote_code,
            **nf4,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise PerpetuneError(f"base.model: {folder} cannot be loaded: {error}") from error
    if tuned is not None and not whole:
        model = load_adapter(model, tuned)
    if not nf4:
        return model.to(on or device()).eval()  # type: ignore[arg-type]
    for module in model.modules():
        # On some CPUs, evaluation would repack the weights in place for a kernel that has no
        # backward pass: training after it would fail.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
    return model.eval()


def load_adapter(model: Any, adapter: Path) -> Any:
    """Put the PEFT adapter at `adapter` on `model`.

    Raises:
        BadInput: the folder is no adapter, is pickled or damaged, or does not fit the model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (adapter / "adapter_config.json").is_file():
        raise BadInput(f"{adapter}: no adapter_config.json; name a PEFT adapter folder")
    if not (adapter / "adapter_model.safetensors").is_file():
        raise BadInput(f"{adapter}: no adapter_model.safetensors; pickled weights are refused")
    try:
        if files.read_json(adapter / "adapter_config.json").get("peft_type") == "BOTTLENECK":
            import tasks.bottleneck  # noqa: F401 makes it known to PEFT
        return PeftModel.from_pretrained(model, str(adapter))
    except SafetensorError as error:
        raise BadInput(f"{adapter}: the weights are damaged: {error}") from error
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"{adapter}: does not fit this base model: {error}") from error


def device() -> "torch.device":
    """The accelerator, where there is one, else the CPU."""
    import torch

    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def compute_dtype(base: Base) -> "torch.dtype":
    """The type of the frozen weights: as set, or bfloat16 where the machine has it natively."""
    import torch

    if base.dtype != "auto":
        return getattr(torch, base.dtype)
    if device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if device().type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bfloat16() -> bool:
    # Without these instructions PyTorch emulates bfloat16, slower than float32.
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def _package_file(name: str) -> tuple[str, Path]:
    """Version and GGUF file of an installed package, found without importing it."""
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise BadInput(
            f"base.model: the package {name} is not installed; run `make setup`, "
            "or name another model in params.yaml"
        ) from None
    found = [file for file in package.files or [] if file.name.endswith(".gguf")]
    if len(found) != 1:
        raise BadInput(f"base.model: {name} ships {len(found)} GGUF files, expected one")
    return package.version, Path(str(package.locate_file(found[0])))


def _from_package(name: str, state_dir: Path) -> Path:
    version, gguf = _package_file(name)
    folder = state_dir / "models" / f"{name}-{version}"
    if not folder.is_dir():
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            if not folder.is_dir():
                _convert(gguf, folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("converting %s to safetensors, once", gguf.name)
    if not gguf.is_file():
        raise BadInput(f"base.model: {gguf} is gone; reinstall the package")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
    )
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The model read from GGUF counts as quantised and refuses to be saved: move its weights over.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    with files.atomic_folder(folder) as building:
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)


def _from_hub(base: Base) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(base.model, revision=base.revision, allow_patterns=_HUB_FILES)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"base.model: {base.model} is no folder here and cannot be had from the hub: {error}"
        ) from error
