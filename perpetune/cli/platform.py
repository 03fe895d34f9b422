"""Commands on the local platform: start it, stop it, save what it keeps."""

from pathlib import Path

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.platform import show_backup, show_platform, show_restored, show_stopped


@command("up")
def up(context: Context) -> Outcome:
    """Start the local platform on loopback.

    It consists of Prefect's and MLflow's servers, a worker and the deployments of prefect.yaml.
    """
    from perpetune.platform import environment
    from perpetune.platform.deployments import deploy, derived
    from perpetune.platform.servers import up as run

    derived(context.request)  # what is wrong with it is said before anything starts
    platform = run(context.settings)
    environment.prepare(context.settings)  # from here on as a client of what now runs
    deploy(context.request)

    from flows.drift_events import tell_kept

    tell_kept(context.request)
    from perpetune.platform.waiting import with_links

    return Outcome(with_links(platform, context.request), show_platform)


@command("down")
def down(context: Context) -> Outcome:
    """Stop the local platform; its state stays."""
    from perpetune.platform.servers import down as run

    return Outcome(run(context.settings), show_stopped)


@command("backup")
@click.option("--out", type=PATH, metavar="DIR", help="Save to DIR, which has to be new.")
@click.option("--restore", "source", type=PATH, metavar="DIR", help="Put the backup DIR back.")
@click.option("--no-artifacts", is_flag=True, help="List MLflow's artifacts, do not copy them.")
@click.option("--credentials", is_flag=True, help="Save credentials, too.")
def backup(
    context: Context, out: Path | None, source: Path | None, no_artifacts: bool, credentials: bool
) -> Outcome:
    """Save databases, decisions and artifacts, or restore them.

    The project may be in use while it is saved. What it can make again is left out.
    """
    if (out is None) == (source is None):
        raise click.UsageError("give either --out DIR or --restore DIR")
    if source is not None:
        from perpetune.platform.backups import restore_stopped

        return Outcome(restore_stopped(context.settings, source), show_restored)
    from tasks.backup import back_up

    assert out is not None
    saved = back_up(context.settings, out, artifacts=not no_artifacts, credentials=credentials)
    return Outcome(saved, show_backup)
