"""Where the base model is: a folder, a GGUF file of an installed package, or a hub id."""

import importlib.metadata
import logging
from pathlib import Path

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import tokenizer_files
from tasks.model.chat_template import read_template
from tasks.model.settings import Base
from tasks.settings import Settings

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
