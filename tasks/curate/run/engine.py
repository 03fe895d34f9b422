"""The engine: Daft runs a worker over tasks, on all cores of this machine or on a Ray cluster.

The only module that knows Daft. What a worker computes, and in which files it leaves it, is its own
business; Daft places the tasks, starts the processes and hands the answers back as they come.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tasks.core.errors import BadInput, PerpetuneError

Engine: TypeAlias = Literal["native", "ray"]
Worker: TypeAlias = Callable[[str], str]
"""One task in, one answer out, both short texts (JSON, say)."""


def run(
    make: Callable[[], Worker], tasks: Sequence[str], engine: Engine = "native", workers: int = 0
) -> Iterator[str]:
    """The answers of workers to `tasks`, in any order.

    Args:
        make: makes a worker, once in each process; module-level functions and what they are bound
            to travel by pickle.
        tasks: what is to be done; a single one is done in this process.
        engine: `native`: this machine; `ray`: the cluster that `RAY_ADDRESS` names, or a local one.
        workers: processes; 0: as many as there are CPUs for this process.

    Raises:
        BadInput: the engine is not installed.
        PerpetuneError: a worker failed; what it raised, where that is an error of ours.
        OSError: a worker could not read or write.
    """
    if not tasks:
        return
    if engine == "native" and (len(tasks) == 1 or workers == 1):
        yield from map(make(), tasks)
        return
    # Workers compute in one thread each, and nobody is asked for telemetry.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    import daft

    logging.getLogger("tracing.span").setLevel(logging.WARNING)  # Daft's steps
    cpus = _start_ray(daft) if engine == "ray" else len(os.sched_getaffinity(0))
    count = min(workers or cpus, len(tasks))
    worker = daft.cls(_RemoteWorker, use_process=engine == "native", max_concurrency=count)(
        make, str(Path.cwd())
    )
    frame = daft.from_pydict({"task": list(tasks)}).into_batches(1)
    if engine == "ray":
        frame = frame.into_partitions(min(len(tasks), 4 * count))
    answers = frame.select(worker.answer(daft.col("task")).alias("answer"))
    for row in answers.iter_rows(results_buffer_size=count):
        outcome, text = row["answer"][:1], row["answer"][1:]
        if outcome == _FAILED:
            kind, _, message = text.partition(":")
            if kind == OSError.__name__:
                raise OSError(*json.loads(message))
            raise (BadInput if kind == BadInput.__name__ else PerpetuneError)(message)
        yield text


_DONE, _FAILED = "+", "-"


class _RemoteWorker:
    """A worker for Daft. An error of ours, or of the system, comes back as an answer."""

    def __init__(self, make: Callable[[], Worker], folder: str) -> None:
        os.chdir(folder)  # what paths are relative to
        self._work = make()

    def answer(self, task: str) -> str:
        try:
            return _DONE + self._work(task)
        except PerpetuneError as error:
            return f"{_FAILED}{type(error).__name__}:{error}"
        except OSError as error:  # a full disk
            name = None if error.filename is None else str(error.filename)
            what = [error.errno, error.strerror or str(error), name]
            return f"{_FAILED}{OSError.__name__}:{json.dumps(what)}"


def _start_ray(daft: Any) -> int:
    """Let Daft run on Ray; returns the CPUs of the cluster."""
    try:
        import ray
    except ImportError:
        raise BadInput(
            "--engine ray: Ray is not installed; run `pip install 'perpetune[ray]'`"
        ) from None
    if not ray.is_initialized():
        # A cluster that was left behind is joined only where RAY_ADDRESS names it.
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
    try:
        daft.set_runner_ray()
    except daft.exceptions.DaftCoreException as error:
        raise PerpetuneError(
            "this process has used the native engine already, and Daft takes one for its life: "
            "start a new process"
        ) from error
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)
