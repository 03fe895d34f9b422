"""Where records come from: local files, folders and globs, and addresses that fsspec opens."""

import codecs
import glob
import gzip
import io
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from tasks.core.errors import BadInput

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".arrow")
OTHER_DATA = (".xlsx", ".xls", ".ods", ".txt", ".feather", ".orc", ".avro", ".pkl", ".pickle")
"""Suffixes of files that may hold data, which are not read."""
COMPRESSED = (".gz", ".zst")
BLOCK = 2**18
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEB = ("http", "https")
_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_UTF8_BOM = codecs.BOM_UTF8
# The longer marks first: UTF-32's begins as UTF-16's does.
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DATASETS = {"state.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}
"""What `datasets` writes beside its tables."""
_CURATED = {"dropped.jsonl", "report.json"}
"""What only the output of a curation holds together."""

log = logging.getLogger(__name__)


class RemotePath(PosixPath):
    """An address (`s3://bucket/a.jsonl`, `hf://datasets/…`) in place of a local path.

    Its text is the address as it was given: a `Path` would fold the slashes. It is no local file
    (`is_file()` is false), it opens through fsspec, for reading bytes.
    """

    url: str

    def __new__(cls, url: str) -> "RemotePath":
        """The path of an address, which is kept as it is."""
        self = super().__new__(cls, url)
        self.url = url
        return self

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (self.url,)

    def with_segments(self, *parts: Any) -> Path:
        """What is derived from an address (its parent, say) is a plain path."""
        return Path(*parts)

    def open(self, *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        """The bytes behind the address, seekable where its store allows it.

        Raises:
            BadInput: there is none, or it cannot be reached.
        """
        import fsspec

        with reachable(self.url):
            file: IO[Any] = fsspec.open(self.url, "rb").open()
            return file


class Damaged(Exception):
    """The file is unreadable from here on; `reason` is that of a `BadLine`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@contextmanager
def reachable(url: str, *but: type[Exception]) -> Iterator[None]:
    """Turn what a store's library raises, `but` these, into a `BadInput` that names the address."""
    passing: tuple[type[Exception], ...] = (BadInput, *but)
    try:
        yield
    except passing:
        raise
    except FileNotFoundError:
        raise BadInput(f"{url}: no such file") from None
    # Every store has its own family of errors; they share no base.
    except Exception as error:  # noqa: BLE001
        detail = f"{type(error).__name__}: {error}"
        raise BadInput(f"{url}: cannot be reached or read: {detail}") from None


def locate(spec: str | Path) -> Path:
    """The path behind a text: an address stays whole."""
    if isinstance(spec, Path):
        return spec
    return RemotePath(spec) if _ADDRESS.match(spec) else Path(spec)


def suffix(path: Path) -> str | None:
    """The suffix of a file's kind, below a compression's; None for a file of no known kind."""
    if isinstance(path, RemotePath) and urlsplit(path.url).scheme in _WEB:
        path = Path(urlsplit(path.url).path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def compression(path: Path) -> str | None:
    """`.gz`, `.zst` or None, by the file's first bytes, or else by its name.

    Raises:
        BadInput: the file cannot be reached.
    """
    with _raw(path) as file:
        return _compression(path, file)


def _compression(path: Path, file: io.BufferedReader) -> str | None:
    start = file.peek(4)[:4]
    found = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if isinstance(path, RemotePath) and urlsplit(path.url).scheme in _WEB:
        path = Path(urlsplit(path.url).path)
    ending = path.suffix.lower()
    return found or (ending if ending in COMPRESSED else None)


def expand(specs: Iterable[str | Path]) -> list[Path]:
    """Files behind paths, folders (every file of a known format below them) and globs, sorted.

    Left out of a folder: hidden files and folders, what `datasets` writes beside its tables, the
    ledger and report of a curation, and folders below it that a curation wrote.

    An address with a scheme (`s3://`, `gs://`, `hf://datasets/owner/name/…`, `https://`) becomes a
    `RemotePath`. One that names a file passes unasked; folders and globs are listed by fsspec.

    Raises:
        BadInput: a path does not exist, a folder or glob holds no file of a known format, a folder
            holds several splits of a data set, or a store cannot be listed.
    """
    found: dict[Path, None] = {}
    for spec in specs:
        path = locate(spec)
        if isinstance(path, RemotePath):
            files: list[Path] = list(_listed(path))
        elif path.is_file():
            files = [path]
        elif path.is_dir():
            files = _below(path)
        else:
            files = [Path(name) for name in glob.glob(str(spec), recursive=True)]  # noqa: PTH207
            files = [file for file in files if file.is_file() and suffix(file)]
            files = [file for file in files if not _is_beside(file)]
            if not files and not glob.has_magic(str(spec)):
                raise BadInput(f"{spec}: no such file or folder")
        if not files:
            raise BadInput(f"{spec}: holds no file of a known format ({', '.join(SUFFIXES)})")
        found.update(dict.fromkeys(sorted(files)))
    return list(found)


def _below(folder: Path) -> list[Path]:
    """The files with records below a folder."""
    _refuse_splits(folder)
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if path.is_dir():
            if all((path / name).is_file() for name in _CURATED):
                log.warning("%s: is left out: a curation wrote it", path)
            else:
                found += _below(path)
        elif path.is_file() and suffix(path) and not _is_beside(path):
            found.append(path)
        elif path.suffix.lower() in OTHER_DATA:
            log.warning("%s: is not read: save it as CSV (UTF-8) or as JSON Lines", path)
    return found


def _refuse_splits(folder: Path) -> None:
    if not (folder / "dataset_dict.json").is_file():
        return
    splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
    if len(splits) > 1:
        raise BadInput(
            f"{folder}: a data set with the splits {', '.join(splits)}: name the one to read, as "
            f"{folder / splits[0]}"
        )


def _is_beside(path: Path) -> bool:
    """Whether a file only describes the data beside it, or is a copy of it."""
    folder, name = path.parent, path.name
    if name in _DATASETS:
        return name == "dataset_dict.json" or any(folder.glob("*.arrow"))
    if name in _CURATED:
        return all((folder / other).is_file() for other in _CURATED)
    return name.startswith("cache-") and name.endswith(".arrow")


def _listed(path: RemotePath) -> Iterator[RemotePath]:
    import fsspec

    url = path.url
    # On the web a question mark starts the query.
    is_glob = "*" in url if urlsplit(url).scheme in _WEB else glob.has_magic(url)
    if suffix(path) and not is_glob:
        yield path
        return
    with reachable(url):
        store, inside = fsspec.core.url_to_fs(url)
        names = store.glob(inside) if is_glob else store.find(inside)
        below = [name.removeprefix(inside).strip("/").split("/") for name in names]
        files = [
            RemotePath(store.unstrip_protocol(name))
            for name, parts in zip(names, below, strict=True)
            if not any(part.startswith(".") for part in parts)
            and parts[-1] not in _DATASETS
            and not parts[-1].startswith("cache-")
        ]
    yield from (file for file in files if suffix(file))


@contextmanager
def _raw(path: Path) -> Iterator[Any]:
    """The file's bytes as they are."""
    if not isinstance(path, RemotePath):
        with path.open("rb", buffering=BLOCK) as file:
            yield file
        return
    with path.open() as store:
        yield io.BufferedReader(_Reader(_reachable_reads(store.read, path.url)), BLOCK)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, decompressed, in UTF-8 without a byte order mark.

    Text in UTF-16 or UTF-32 is recognised by its mark and recoded.

    Raises:
        Damaged: while it is read, where the rest of it cannot be.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_raw(path))
        packed = _compression(path, file)
        if packed == ".gz":
            # read1 gives what was unpacked before the damage; read would lose it.
            unpack: Any = stack.enter_context(gzip.GzipFile(fileobj=file))
            file = io.BufferedReader(_Reader(_unpacked(unpack.read1)), BLOCK)
        elif packed == ".zst":
            import pyarrow as pa

            # Unlike zstandard's reader, it does not mistake a truncated file for a whole one.
            unpack = stack.enter_context(pa.input_stream(file, compression="zstd"))
            file = io.BufferedReader(_Reader(_unpacked(unpack.read)), BLOCK)
        start = file.peek(4)[:4]
        wide = next((name for mark, name in _WIDE.items() if start.startswith(mark)), None)
        if wide:
            file = io.BufferedReader(_Reader(_recoded(file, wide)), BLOCK)
            start = file.peek(4)[:4]
        if start.startswith(_UTF8_BOM):
            file.read(len(_UTF8_BOM))
        yield file


def is_plain(path: Path) -> bool:
    """Whether a local file's bytes are its text in UTF-8, so that places in it can be counted."""
    with _raw(path) as file:
        start = file.peek(4)[:4]
        return _compression(path, file) is None and not any(map(start.startswith, _WIDE))


class _Reader(io.RawIOBase):
    def __init__(self, take: Callable[[int], bytes]) -> None:
        self._take = take

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _reachable_reads(read: Callable[[int], bytes], url: str) -> Callable[[int], bytes]:
    def take(size: int) -> bytes:
        with reachable(url):
            return read(size)

    return take


def _unpacked(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def take(size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, zlib.error, OSError) as error:
            # An error of the disk has a number; one of the compressed data has none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Damaged("truncated", str(error)) from None

    return take


def _recoded(file: io.BufferedReader, encoding: str) -> Callable[[int], bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()

    def take(size: int) -> bytes:
        while True:
            # Of two bytes UTF-8 makes three at most.
            block = file.read1(max(size // 2, 4))
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise Damaged("not_utf8", f"not {encoding.upper()}: {error.reason}") from None
            if text or not block:
                return text.encode()

    return take
