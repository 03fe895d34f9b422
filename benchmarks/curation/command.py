"""`perpetune curate` as the benchmarks run it: the command itself, in a process of its own."""

import sys
from collections.abc import Sequence
from pathlib import Path

LONGEST = 1_000_000
"""Tokens of the longest record kept: here nothing is to be dropped for its length."""


def curate_command(
    corpus: Path, benchmarks: Sequence[Path], out: Path, settings: Sequence[str] = ()
) -> list[str]:
    """The command line that curates `corpus` with the defaults, `max_tokens` and `settings`.

    Args:
        corpus: records.
        benchmarks: what they are compared with; may be empty.
        out: folder of the outputs.
        settings: `section.key=value`, as after `--set`.
    """
    against = ["--against", *map(str, benchmarks)] if benchmarks else []
    overrides = [f"curate.quality.max_tokens={LONGEST}", *settings]
    return [
        sys.executable,
        "-m",
        "perpetune",
        "curate",
        str(corpus),
        *against,
        "--out",
        str(out),
        *(word for setting in overrides for word in ("--set", setting)),
    ]
