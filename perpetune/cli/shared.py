"""What every command shares: its options, the settings, and how it ends."""

import functools
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perpetune.cli.endings import Outcome
from perpetune.platform import environment
from perpetune.render.console import MODEL
from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.secrets import redacted
from tasks.settings import Settings, for_model, load_settings

if TYPE_CHECKING:
    from flows.forms import Request

PATH = click.Path(path_type=Path)
"""The type of an argument that is a path."""


_OF_THE_PLATFORM = ("up", "down", "doctor", "backup", "status")
"""Commands that say themselves what of the platform is gone."""


@dataclass(frozen=True)
class Context:
    """The options that every command shares."""

    settings: Settings
    params: str
    overrides: list[str]
    model: str | None = None

    @property
    def request(self) -> "Request":
        """The project as flows in other processes find it."""
        from flows.forms import Request

        return Request(self.settings, self.params, self.overrides, self.model)


class _Command(click.Command):
    """Lets `--against A B C` take every value up to the next option, as the contract writes it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        greedy = False
        for argument in args:
            if argument.startswith("-"):
                greedy = False
            elif greedy and spread[-1] != "--against":
                spread.append("--against")
            greedy = greedy or argument == "--against"
            spread.append(argument)
        return super().parse_args(ctx, spread)


def _refuse_passwords(overrides: Sequence[str]) -> None:
    """Overrides are parameters of flow runs, which Prefect keeps and shows."""
    for override in overrides:
        key, _, value = override.partition("=")
        if redacted(value) != value:
            raise BadInput(
                f"--set {key}={redacted(value)}: the address holds a password, which other users "
                "of this machine could read and Prefect would keep; leave it out and set "
                "PGPASSWORD (PostgreSQL) or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
                "(MLflow's server) in the environment"
            )


def command(name: str) -> Callable[[Callable[..., Outcome]], click.Command]:
    """A command with the shared options; its function gets a `Context` first.

    The first line of the function's docstring is the command's line in `perpetune --help`: at most
    60 characters.
    """

    def wrap(function: Callable[..., Outcome]) -> click.Command:
        @click.command(name, cls=_Command)
        @click.option(
            "--params",
            "params",
            default="params.yaml",
            metavar="FILE",
            show_default=True,
            help="Settings.",
        )
        @click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override a setting; repeatable.",
        )
        @click.option(
            "--model",
            "of_project",
            metavar="NAME",
            help="The model of models/NAME.yaml instead of the project's default.",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
        @functools.wraps(function)
        def run(
            params: str,
            overrides: tuple[str, ...],
            of_project: str | None,
            as_json: bool,
            **arguments: Any,
        ) -> Outcome:
            del as_json  # read by `run_to_end`
            # SIGTERM raises SystemExit, so that Prefect's temporary server ends, too.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            _refuse_passwords(overrides)
            settings = load_settings(Path(params), overrides, of_project)
            environment.log_to_stderr()
            environment.prepare(settings)
            if name not in _OF_THE_PLATFORM:
                environment.warn_of_what_is_gone(settings)
            MODEL.set(of_project)
            context = Context(settings, params, list(overrides), of_project)
            try:
                return function(context, **arguments)
            except PerpetuneError as error:
                error.args = (for_model(str(error), of_project),)
                raise

        return run

    return wrap
