"""What a platform needs of its Prefect server once it runs, beside `prefect deploy`."""

from collections.abc import Iterable

POOL = "perpetune"
QUEUE = "training"
"""The queue of rounds, whichever deployment they are of."""


def are_deployed(names: Iterable[str]) -> bool:
    """Whether the server knows all of these deployments, named `FLOW/DEPLOYMENT`."""
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            for name in names:
                client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
    return True


def retire(names: Iterable[str], tag: str) -> tuple[str, ...]:
    """Delete deployments with a tag that are not among `names`, of a model that is gone say.

    Returns:
        What was deleted.
    """
    from prefect import get_client
    from prefect.client.schemas import filters

    wanted, gone = set(names), []
    with get_client(sync_client=True) as client:
        tagged = filters.DeploymentFilterTags(all_=[tag])
        for found in client.read_deployments(
            deployment_filter=filters.DeploymentFilter(tags=tagged)
        ):
            name = f"{client.read_flow(found.flow_id).name}/{found.name}"
            if name not in wanted:
                client.delete_deployment(found.id)
                gone.append(name)
    return tuple(gone)


def limit_rounds() -> None:
    """Let one round run at a time, unless somebody has set the queue's limit already."""
    from prefect import get_client

    with get_client(sync_client=True) as client:
        queue = client.read_work_queue_by_name(QUEUE, POOL)
        if queue.concurrency_limit is None:
            client.update_work_queue(queue.id, concurrency_limit=1)
