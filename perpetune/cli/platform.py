"""Commands on the local platform: start it, stop it."""

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import Context, command
from perpetune.render.platform import show_platform, show_stopped


@command("up")
def up(context: Context) -> Outcome:
    """Start the local platform on loopback.

    It consists of Prefect's and MLflow's servers, a worker and the deployments of prefect.yaml.
    """
    from perpetune.platform import environment
    from perpetune.platform.servers import up as run

    platform = run(context.settings)
    environment.prepare(context.settings)  # from here on as a client of what now runs

    from perpetune.platform.waiting import with_links

    return Outcome(with_links(platform, context.request), show_platform)


@command("down")
def down(context: Context) -> Outcome:
    """Stop the local platform; its state stays."""
    from perpetune.platform.servers import down as run

    return Outcome(run(context.settings), show_stopped)
