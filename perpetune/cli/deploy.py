"""The command that makes the deployments known to a Prefect server of the user's own."""

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import Context, command


@command("deploy")
def deploy(context: Context) -> Outcome:
    """Make the deployments known to your own Prefect server.

    That is the one of PREFECT_API_URL; `perpetune up` does it for the local one. Work pool and
    deployments of every model are made, or brought to what prefect.yaml says now.
    """
    from flows.server import has_server
    from perpetune.platform import deployments
    from tasks.core.errors import BadInput

    if not has_server():
        raise BadInput(
            "PREFECT_API_URL is not set: name your Prefect server there (`perpetune up` starts a "
            "local one, which has the deployments)"
        )
    deployments.make_pool()
    deployments.deploy(context.request)
    names = deployments.deployment_names(context.settings)
    return Outcome({"deployments": list(names)}, lambda _: click.echo("\n".join(names)))
