"""The `perpetune` command: reads arguments, calls one function, shows what it returns.

A module of this package for each group of commands; how a command ends is in
`perpetune.cli.endings`.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from perpetune.cli import (
    data,
    deploy,
    evaluate,
    label,
    metrics,
    platform,
    registry,
    reproduce,
    review,
    rounds,
    settings,
    tune,
)
from perpetune.cli.endings import run_to_end


def _in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding, so that names of
    files with any letter are texts here and in every process that this one starts."""
    if sys.getfilesystemencoding().lower() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


class _Commands(click.Group):
    """Ends every command in the same way, whatever happens; see `perpetune.cli.endings`."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The names in the order of their use."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> Any:
        """Run a command and exit; without `standalone_mode`, give back its `Outcome`."""
        given = list(sys.argv[1:] if args is None else args)
        own = {"prog_name": "perpetune", "standalone_mode": False}
        call = partial(super().main, given, **(options | own))
        if not options.get("standalone_mode", True):
            return call()
        if args is None:
            _in_utf8()
        sys.exit(run_to_end(call, given))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="perpetune")
def main() -> None:
    """Continuous fine-tuning you can audit: curate, sweep, evaluate, approve, watch."""


for item in (
    *(data.collect, data.curate),
    *(tune.plan, tune.train, tune.sweep),
    *(evaluate.evaluate, evaluate.drift),
    *(rounds.run, rounds.watch),
    label.label,
    registry.status,
    review.review,
    *(registry.approve, registry.reject, registry.rollback),
    *(registry.history, registry.audit, registry.doctor),
    reproduce.reproduce,
    *(platform.up, platform.down, platform.backup),
    *(deploy.deploy, metrics.metrics),
    settings.settings,
):
    main.add_command(item)
