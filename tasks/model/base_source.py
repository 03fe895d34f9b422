"""Where the base model is: a folder, a GGUF file of an installed package, or a hub id."""

import hashlib
import importlib.metadata
import logging
from pathlib import Path
from typing import Literal

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.core.values import Value
from tasks.model import tokenizer_files
from tasks.model.chat_template import read_template
from tasks.model.settings import Base
from tasks.settings import Settings

log = logging.getLogger(__name__)

_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


class BaseRecord(Value):
    """What exactly a base model is, and where another machine finds it."""

    source: Literal["package", "folder", "hub"]
    name: str
    """Name of the package, absolute path of the folder, or hub id."""
    version: str | None = None
    """The package's version, or the hub's commit."""
    gguf: str | None = None
    """File in the package that holds the model."""
    files: dict[str, str]
    """SHA-256 of each file that decides what the model is, by its path in the folder."""

    @property
    def digest(self) -> str:
        """One hash of all of its files."""
        return hashlib.sha256(files.to_json(self.files, sort_keys=True).encode()).hexdigest()


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
        found = [*folder.glob("*.safetensors"), *(folder / name for name in _identifying())]
        hashes = {path.name: files.md5(path) for path in sorted(found) if path.is_file()}
        return f"folder:{files.folder_hash(hashes)}{template}"
    return f"{base.model}@{base.revision or 'main'}{template}"


def record(settings: Settings) -> BaseRecord:
    """What exactly the base is, and where another machine finds it; it reads all of its bytes.

    Raises:
        BadInput: there is no such package, folder or hub model.
    """
    base = settings.base
    name = base.model.removeprefix("package:")
    if name != base.model:
        version, gguf = _package_file(name)
        digests = {gguf.name: files.sha256(gguf)}
        return BaseRecord(
            source="package", name=name, version=version, gguf=gguf.name, files=digests
        )
    folder = locate(settings)
    found = {*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")}
    found |= {folder / known for known in _identifying()}
    if base.trust_remote_code:
        found |= {*folder.rglob("*.py")}
    digests = {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in sorted(found)
        if path.is_file()
    }
    if Path(base.model).expanduser().is_dir():
        return BaseRecord(source="folder", name=str(folder.absolute()), files=digests)
    # The hub's cache names the folder of a snapshot by its commit, whatever branch was asked for.
    commit = folder.name if folder.parent.name == "snapshots" else base.revision
    return BaseRecord(source="hub", name=base.model, version=commit, files=digests)


def _identifying() -> tuple[str, ...]:
    """Files, besides the weights, that decide what a model's folder is."""
    return ("config.json", *tokenizer_files.VOCABULARIES, *tokenizer_files.SETTINGS)


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
    from tasks.model.gguf import convert

    log.info("converting %s to safetensors, once", gguf.name)
    if not gguf.is_file():
        raise BadInput(f"base.model: {gguf} is gone; reinstall the package")
    with files.atomic_folder(folder) as building:
        convert(gguf, building)


def _from_hub(base: Base) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [*_HUB_FILES, *(["*.py"] if base.trust_remote_code else [])]
    try:
        return Path(snapshot_download(base.model, revision=base.revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"base.model: {base.model} is no folder here and cannot be had from the hub: {error}"
        ) from error
