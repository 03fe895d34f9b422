"""Whether the raw data is anywhere but on this machine."""

import configparser
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from perpetune.platform.checks import CHECKS
from perpetune.platform.results import Advice
from tasks.core.secrets import redacted
from tasks.decisions import Problem
from tasks.settings import Settings

_FOLDER = Path(".dvc")
_PORTS = {"http": 80, "https": 443, "ssh": 22}
_SECONDS = 3.0


@CHECKS.register
class RawData:
    """DVC's remote: whether there is one, and whether it can be reached."""

    name = "dvc"
    label = "DVC's remote"

    def examine(self, _: Settings) -> Sequence[Problem]:
        """A remote that is missing or away. Outside of a DVC project there is nothing to see."""
        return tuple(_wrong()) if _FOLDER.is_dir() else ()

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: where data goes is the user's choice."""
        return ()


def _wrong() -> Iterator[Problem]:
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read([_FOLDER / "config", _FOLDER / "config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        what = f".dvc/config cannot be read: {str(error).splitlines()[0]}"
        yield Problem(what=what, remedy="correct it; `dvc config -l` shows it")
        return
    name = config.get("core", "remote", fallback="")
    if not name:
        yield Advice(
            what="DVC has no default remote: the raw data is on this machine only",
            remedy="`dvc remote add --default NAME URL`, then `dvc push`",
        )
        return
    section = f"'remote \"{name}\"'"
    url = config.get(section, "url", fallback="")
    if not url:
        yield Problem(
            what=f"DVC's default remote {name!r} has no address",
            remedy=f"`dvc remote add --force {name} URL`",
        )
    elif not _reachable(url, config.get(section, "endpointurl", fallback="")):
        yield Problem(
            what=f"DVC's remote {name!r} cannot be reached at {redacted(url)}",
            remedy="`dvc status --cloud` says more; is the address wrong, or the network away?",
        )


def _reachable(url: str, endpoint: str) -> bool:
    """Whether a folder is there, or a server takes connections; others are taken on trust."""
    try:
        parts = urlsplit(endpoint or url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    if "://" not in url:
        return (_FOLDER / url).exists()  # an absolute path stays as it is
    if not parts.hostname or port is None:
        return True
    try:
        socket.create_connection((parts.hostname, port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True
