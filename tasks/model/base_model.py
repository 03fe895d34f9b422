"""The base model: found where `params.yaml` says, kept as safetensors, loaded for this machine."""

import importlib.metadata
import logging
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.model import causality, tokenizer_files
from tasks.model.chat_template import ChatTemplate, read_template
from tasks.model.settings import Base
from tasks.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Weights that a base may have beside those of a language model: parts for pictures and sound, heads
# that predict several tokens at once, and tables that older versions of libraries wrote.
_NOT_TEXT = re.compile(
    r"(^|[._])(vision|visual|image|audio|speech|multi_?modal|mm|mtp|nextn)([._]|$)|"
    r"(rotary_emb\.inv_freq|masked_bias|(attn|attention)\.bias|position_ids)$"
)
_MADE_FOR = "base.json"
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


def load_config(settings: Settings, folder: Path | None = None) -> "PreTrainedConfig":
    """The configuration of the base, or of another model in `folder`, as far as it can be trained.

    Raises:
        BadInput: it cannot be read, or is none of a causal language model.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    folder = locate(settings) if folder is None else folder
    trusted = settings.base.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    except Exception as error:  # a file of the user's, read by a library: anything
        raise BadInput(
            f"base.model: the config.json in {folder} cannot be read: {_first_line(error)}"
        ) from error
    if config.is_encoder_decoder:
        raise BadInput(
            f"base.model: {folder} is an encoder-decoder ({config.model_type}), which reads a text "
            "and writes another; choose a causal (decoder-only) language model"
        )
    known = type(config) in AutoModelForCausalLM._model_mapping
    remote = trusted and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if not known and not remote:
        raise BadInput(
            f"base.model: {folder} holds a model of the kind {config.model_type!r}, of which "
            "transformers has no causal language model; choose another base model"
        )
    # Others have the word in their configuration, too, and do not look at it.
    if getattr(config, "is_decoder", None) is False and type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        raise BadInput(
            f"base.model: {folder} is an encoder ({config.model_type}, is_decoder false): it reads "
            "in both directions and cannot write; choose a causal language model"
        )
    return cast("PreTrainedConfig", config)


def load_tokenizer(settings: Settings, *, weights: bool = True) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer, with a chat template in any case; see `tokenizer_files.read`.

    Args:
        settings: names the base.
        weights: as in `locate`.

    Raises:
        BadInput: there is no such model, it is no causal language model, it has no tokenizer, or
            one with tokens that it cannot embed, or nothing ends an answer.
    """
    folder = locate(settings, weights=weights)
    config = load_config(settings, folder)
    tokenizer = tokenizer_files.read(folder, None, settings.base)
    template = ChatTemplate.of(tokenizer.chat_template, tokenizer.special_tokens_map)
    tokenizer_files.announce(template, settings.base)
    _check_vocabulary(tokenizer, config, folder)
    return tokenizer


def _check_vocabulary(
    tokenizer: "PreTrainedTokenizerBase", config: "PreTrainedConfig", folder: Path
) -> None:
    """Refuse a tokenizer with ordinary tokens, or special ones in use, beyond the embedding.

    A special token beyond it that no text of ours has (that of pictures, in Gemma 3) does no harm;
    `check_ids` sees it in data.
    """
    rows = config.get_text_config().vocab_size
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    in_use = (tokenizer.bos_token, tokenizer.eos_token, str(tokenizer.chat_template))
    beyond = [
        token
        for token, number in tokenizer.get_vocab().items()
        if number >= rows
        and (token not in special or any(token in (text or "") for text in in_use))
    ]
    if beyond:
        raise BadInput(
            f"base.model: the tokenizer in {folder} has {len(tokenizer):,} tokens, and the base "
            f"embeds {rows:,} ({len(beyond):,} of the others are in use, as {min(beyond)!r}); "
            "they do not belong together: use the base's own tokenizer, or resize its embedding"
        )


def check_ids(ids: Iterable[int], config: "PreTrainedConfig", what: str) -> None:
    """Refuse token ids that the base cannot embed.

    Raises:
        BadInput: there is one; the message begins with `what`.
    """
    highest, rows = max(ids, default=0), config.get_text_config().vocab_size
    if highest >= rows:
        raise BadInput(
            f"{what}: it has a token of number {highest:,}, and the base embeds {rows:,}; "
            "drop it, or resize the base's embedding"
        )


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
    whole = tuned is not None and (tuned / "config.json").is_file()
    folder = tuned if tuned is not None and whole else locate(settings)
    if tuned is not None and not whole:
        _check_made_for(tuned, settings)
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
    model = _read_whole(folder, settings, dtype=dtype, **nf4)
    if nf4:
        for module in model.modules():
            # On some CPUs, evaluation would repack the weights in place for a kernel that has no
            # backward pass: training after it would fail.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                cast(Any, module).support_avx512bf16_for_cpu = False
    else:
        model = model.to(on or device())  # type: ignore[arg-type]
    model = model.eval()
    causality.check(model)
    if tuned is not None and not whole:
        model = load_adapter(model, tuned)
        model = (model if nf4 else model.to(on or device())).eval()
    return cast("PreTrainedModel", model)


def _read_whole(folder: Path, settings: Settings, **options: Any) -> "PreTrainedModel":
    """The model in `folder`, of which no weight is missing and none left over.

    The library fills in random numbers for what is missing, and says so in a warning at best.

    Raises:
        BadInput: there are such weights.
        PerpetuneError: they cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    config = load_config(settings, folder)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=settings.base.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except Exception as error:  # what a configuration asks for may be impossible in any way
        raise PerpetuneError(
            f"base.model: {folder} cannot be loaded: {_first_line(error)}"
        ) from error
    model: PreTrainedModel
    model, found = loaded
    left_over = [name for name in found["unexpected_keys"] if not _NOT_TEXT.search(name)]
    shapes = [name for name, *_ in found["mismatched_keys"]]
    _check_complete(f"base.model: {folder}", found["missing_keys"], left_over, shapes)
    return model


def _check_complete(
    what: str, missing: Iterable[str], left_over: Iterable[str], shapes: Iterable[str]
) -> None:
    """Refuse weights that do not fit their configuration.

    Raises:
        BadInput: one of the lists has a name in it.
    """
    faults = []
    for names, fault in (
        (sorted(missing), "missing"),
        (sorted(left_over), "of no use in a model of this configuration"),
        (sorted(shapes), "of another shape than its configuration says"),
    ):
        if names:
            shown = ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
            faults.append(f"{len(names)} of its tensors {_are(names)} {fault} ({shown})")
    if faults:
        raise BadInput(f"{what}: {'; '.join(faults)}; copy or download the folder again")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


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
            import tasks.model.bottleneck  # noqa: F401 makes it known to PEFT
        with warnings.catch_warnings():
            # Of missing tensors, which are an error below.
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            adapted = PeftModel.from_pretrained(model, str(adapter))
    except SafetensorError as error:
        raise BadInput(f"{adapter}: the weights are damaged: {error}") from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{adapter}: does not fit this base model: {_first_line(error)}") from error
    _check_adapter(adapted, adapter)
    return adapted


def _check_adapter(model: Any, adapter: Path) -> None:
    """Refuse an adapter that has not exactly the tensors which its configuration asks for."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        held = set(file.keys())
    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    # PEFT may save the base's embeddings with an adapter that changes the vocabulary.
    base = {f"base_model.model.{name}" for name, _ in model.get_base_model().named_parameters()}
    _check_complete(str(adapter), wanted - held, held - wanted - base, ())


def note_base(settings: Settings) -> dict[str, str]:
    """What an adapter's `base.json` says: the base as it was named, and its fingerprint."""
    return {"model": settings.base.model, "fingerprint": fingerprint(locate(settings))}


def fingerprint(folder: Path) -> str:
    """A hash of a sample of each tensor in a model's folder.

    It is the same however the tensors are spread over files, and in bfloat16 as in float32; it
    takes milliseconds whatever the size.
    """
    import torch
    from safetensors import safe_open

    parts = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                shape = part.get_shape()
                sample = (part[:1] if shape else file.get_tensor(name)).flatten()[:64]
                values = sample.to(torch.bfloat16).view(torch.int16).tolist()
                parts.append([name, shape, values])
    return files.content_key(sorted(parts))


def _check_made_for(adapter: Path, settings: Settings) -> None:
    """Refuse an adapter of another base; where that cannot be known, say what it was made for.

    Raises:
        BadInput: its base has other weights.
    """
    path = adapter / "adapter_config.json"
    if not path.is_file():
        return  # loading says so
    noted = adapter / _MADE_FOR
    made_for = files.read_json(path).get("base_model_name_or_path") or ""
    own = locate(settings)
    if noted.is_file():
        note = files.read_json(noted)
        made_for, before = str(note.get("model", made_for)), note.get("fingerprint")
    elif Path(made_for).is_dir() and any(Path(made_for).glob("*.safetensors")):
        before = fingerprint(Path(made_for))
    else:
        if made_for and made_for != settings.base.model:
            log.warning(
                "%s: its adapter_config.json says that it was made for %s; it is put on %s",
                adapter,
                made_for,
                settings.base.model,
            )
        return
    if before != fingerprint(own):
        raise BadInput(
            f"{adapter}: this adapter was made for another base model ({made_for or 'unnamed'}), "
            f"whose weights are not those of {settings.base.model}; set base.model to that one"
        )


def device() -> "torch.device":
    """The accelerator, where there is one, else the CPU."""
    import torch

    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def compute_dtype(base: Base) -> "torch.dtype":
    """The type of the frozen weights: as set, or bfloat16 where the machine has it natively."""
    import torch

    if base.dtype != "auto":
        return cast(torch.dtype, getattr(torch, base.dtype))
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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
