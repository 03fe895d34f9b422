"""Where records lie: local files, folders and globs, and addresses that fsspec opens."""

import glob
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from tasks.errors import BadInput

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")
COMPRESSED = (".gz", ".zst")
BLOCK = 2**18
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEB = ("http", "https")


class RemotePath(PosixPath):
    """An address (`s3://bucket/a.jsonl`, `hf://datasets/…`) where a local path could stand.

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
            return fsspec.open(self.url, "rb").open()


class Damaged(Exception):
    """From here on the file is unreadable; `reason` as a `BadLine` has it."""

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


def kind(path: Path) -> str | None:
    """The format's suffix below a compression's, or None for a file of no known format."""
    if isinstance(path, RemotePath) and urlsplit(path.url).scheme in _WEB:
        path = Path(urlsplit(path.url).path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def compression(path: Path) -> str | None:
    """`.gz`, `.zst` or None."""
    if isinstance(path, RemotePath) and urlsplit(path.url).scheme in _WEB:
        path = Path(urlsplit(path.url).path)
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSED else None


def expand(specs: Iterable[str | Path]) -> list[Path]:
    """Files behind paths, folders (every file of a known format below them) and globs, sorted.

    An address with a scheme (`s3://`, `gs://`, `hf://datasets/owner/name/…`, `https://`) becomes a
    `RemotePath`. One that names a file passes unasked; folders and globs are listed by fsspec.

    Raises:
        BadInput: a path does not exist, a folder or glob holds no file of a known format, or a
            store cannot be listed.
    """
    found: dict[Path, None] = {}
    for spec in specs:
        path = locate(spec)
        if isinstance(path, RemotePath):
            files: list[Path] = list(_listed(path))
        elif path.is_file():
            files = [path]
        elif path.is_dir():
            files = [file for file in path.rglob("*") if file.is_file() and kind(file)]
        else:
            files = [Path(name) for name in glob.glob(str(spec), recursive=True)]  # noqa: PTH207
            files = [file for file in files if file.is_file() and kind(file)]
            if not files and not glob.has_magic(str(spec)):
                raise BadInput(f"{spec}: no such file or folder")
        if not files:
            raise BadInput(f"{spec}: holds no file of a known format ({', '.join(FORMATS)})")
        found.update(dict.fromkeys(sorted(files)))
    return list(found)


def _listed(path: RemotePath) -> Iterator[RemotePath]:
    import fsspec

    url = path.url
    # On the web a question mark starts the query.
    is_glob = "*" in url if urlsplit(url).scheme in _WEB else glob.has_magic(url)
    if kind(path) and not is_glob:
        yield path
        return
    with reachable(url):
        store, inside = fsspec.core.url_to_fs(url)
        names = store.glob(inside) if is_glob else store.find(inside)
        files = [RemotePath(store.unstrip_protocol(name)) for name in names]
    yield from (file for file in files if kind(file))


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, decompressed; what damage hides is told by raising `Damaged`."""
    with ExitStack() as stack:
        if isinstance(path, RemotePath):
            store = stack.enter_context(path.open())
            file: Any = _Reader(_guarded(store.read, path.url))
        else:
            file = stack.enter_context(path.open("rb", buffering=BLOCK))
        packed = compression(path)
        if packed == ".gz":
            # read1 gives what was unpacked before the damage; read would lose it.
            unpack: Any = stack.enter_context(gzip.GzipFile(fileobj=file))
            file = _Reader(_unpacked(unpack.read1))
        elif packed == ".zst":
            import pyarrow as pa

            # Unlike zstandard's reader this one does not take a truncated file for its end.
            unpack = stack.enter_context(pa.input_stream(file, compression="zstd"))
            file = _Reader(_unpacked(unpack.read))
        if isinstance(file, _Reader):
            file = io.BufferedReader(file, BLOCK)
        yield file


class _Reader(io.RawIOBase):
    def __init__(self, take: Callable[[int], bytes]) -> None:
        self._take = take

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _guarded(read: Callable[[int], bytes], url: str) -> Callable[[int], bytes]:
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
