"""Where a sweep's trials are trained when not in this process: tasks on Ray, one for each trial."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.settings import Settings
from tasks.tune.train import Executor, TrialRun, TrialTask, run_task, trial_tasks


def workers(settings: Settings) -> Callable[[Path], AbstractContextManager[Executor]] | None:
    """What `tasks.tune.sweep` takes as `workers`: nothing where it trains by itself."""
    return partial(_ray, settings) if settings.sweep.engine == "ray" else None


@contextmanager
def _ray(settings: Settings, data: Path) -> Iterator[Executor]:
    """The Ray cluster of RAY_ADDRESS, or one on this machine; a rung is a flow, a trial a task.

    Raises:
        BadInput: Ray is not installed.
    """
    from prefect import flow, task

    try:
        import ray
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError:
        raise BadInput(
            "sweep.engine: Ray is not installed; pip install 'perpetune[ray]', or native"
        ) from None
    sweep = settings.sweep
    # Without an address, Ray would join any cluster that runs on this machine.
    ray.init(
        address=os.environ.get("RAY_ADDRESS", "local"),
        namespace="prefect",
        include_dashboard=False,
        log_to_driver=False,
    )
    resources = {"num_cpus": sweep.trial_cpus, "num_gpus": sweep.trial_gpus}

    train_trial = task(name="trial", task_run_name="{task.name}")(run_task)

    @flow(name="rung", task_runner=RayTaskRunner(), validate_parameters=False)
    def rung(given: list[TrialTask]) -> None:
        with remote_options(**resources):
            train_trial.map(given).result()

    def execute(runs: Sequence[TrialRun], evaluations: int | None = None) -> None:
        rung(trial_tasks(data, runs, evaluations))

    try:
        yield execute
    finally:
        ray.shutdown()
