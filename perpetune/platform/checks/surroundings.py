"""What the environment of a process says: its encoding, and proxies."""

import os
import sys
from collections.abc import Iterator, Sequence

from perpetune.platform.checks import CHECKS
from perpetune.platform.environment import NO_PROXY, PROXIES, THIS_MACHINE, given
from perpetune.platform.results import Advice
from tasks.decisions import Problem
from tasks.settings import Settings


@CHECKS.register
class Surroundings:
    """Whether names of any language, and servers of this machine, can be reached."""

    name = "environment"
    label = "encoding, proxies"

    def examine(self, _: Settings) -> Sequence[Problem]:
        """A locale without UTF-8, and a proxy that is asked for this machine's servers."""
        return tuple(_wrong())

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: the environment is that of the user's shell."""
        return ()


def _wrong() -> Iterator[Problem]:
    encoding = sys.getfilesystemencoding().lower().replace("-", "")
    if encoding != "utf8":
        yield Problem(
            what=f"names of files are read as {encoding}, not as UTF-8: many cannot be used",
            remedy="`export PYTHONUTF8=1`, or `export LC_ALL=C.UTF-8`",
        )
    proxies = [name for name in PROXIES if os.environ.get(name)]
    excepted = {name.strip() for value in given(NO_PROXY) for name in value.split(",")}
    if proxies and "*" not in excepted and not {"127.0.0.1", "localhost"} <= excepted:
        yield Advice(
            what=f"{proxies[0]} is set, and no_proxy does not name this machine: `perpetune` adds "
            "it for itself, other programs ask the proxy for Prefect and MLflow",
            remedy=f"`export no_proxy={','.join(THIS_MACHINE)}`",
        )
