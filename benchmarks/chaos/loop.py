"""A small real loop in a project of its own: a round, a decision, a look at traffic.

A lap runs in a process that is forked from one with everything imported, so that the moments at
which it is killed are moments of work.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.project import ProjectFolder

SMALL = (
    "sweep.trials=2",
    "sweep.space={tune.method.rank: [2], tune.learning_rate: [0.003, 0.03]}",
    "tune.max_steps=6",
    "evaluate.max_generations=0",
    "evaluate.max_examples=10",
    "evaluate.few_shot=0",
    "evaluate.traffic_examples=0",
    "evaluate.gates.better=null",
)
APPROVER = "Ada"
_PRELOAD = (
    "flows.retrain",
    "flows.watch",
    "flows.candidate",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "tasks.tune.train.trainer",
    "tasks.tune.sweep.search",
    "tasks.evaluate.comparison",
    __name__,
)

_processes = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Lap:
    """What a process is to do in a project's folder."""

    folder: Path
    number: int
    environment: Mapping[str, str]
    overrides: Sequence[str] = SMALL
    model: str | None = None
    limit: int | None = None
    """Largest file that it can write, in bytes."""

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / f"laps-{self.model or 'default'}.log"


def preload() -> None:
    """Import what laps need once, in the process that they are forked from."""
    _processes.set_forkserver_preload(list(_PRELOAD))


_ENVIRONMENT = """
import json, os, sys
from pathlib import Path
from perpetune.platform.environment import prepare
from tasks.settings import load_settings
prepare(load_settings(Path("params.yaml"), sys.argv[1:]))
names = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK", "TQDM", "HF_", "TOKENIZERS_", "TRANSFORMERS_")
print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(names)}))
"""


def environment_of(project: ProjectFolder, *overrides: str) -> dict[str, str]:
    """The variables with which the commands of a project find its servers."""
    done = project.run(sys.executable, "-c", _ENVIRONMENT, *overrides)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def start(lap: Lap) -> multiprocessing.process.BaseProcess:
    """Begin a lap in a process group of its own."""
    process = _processes.Process(target=_run, args=(lap,))
    process.start()
    return process


def run(lap: Lap, seconds: float = 300) -> int:
    """A lap to its end; its exit code, -9 where it took longer than `seconds`."""
    process = start(lap)
    process.join(seconds)
    if process.is_alive():
        kill_group(process.pid)
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def kill_group(pid: int | None) -> None:
    """End a lap with everything that it has started, as a power cut would."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def last_words(lap: Lap, lines: int = 3) -> str:
    """What the last lap said last."""
    text = lap.log.read_text(errors="replace") if lap.log.is_file() else ""
    return "\n".join(text.strip().splitlines()[-lines:])


def step_of(lap: Lap) -> str:
    """The step in which the last lap was."""
    text = lap.log.read_text(errors="replace") if lap.log.is_file() else ""
    steps = [line.removeprefix("STEP ") for line in text.splitlines() if line.startswith("STEP ")]
    return steps[-1] if steps else "start"


def _run(lap: Lap) -> None:
    os.setsid()
    os.chdir(lap.folder)
    os.environ.update(lap.environment)
    with lap.log.open("w", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        if lap.limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (lap.limit, lap.limit))
        from tasks.core.errors import PerpetuneError

        try:
            _work(lap)
        except PerpetuneError as error:
            print(f"SAID {error.exit_code} {str(error).splitlines()[0]}")
            sys.stdout.flush()
            os._exit(error.exit_code)
        except OSError as error:
            print(f"SAID 1 {error}")
            sys.stdout.flush()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)


def _work(lap: Lap) -> None:
    from flows.retrain import retrain
    from tasks.registry import Registry
    from tasks.settings import load_settings

    overrides = [*lap.overrides, f"project.seed={lap.number}"]
    settings = load_settings(Path("params.yaml"), overrides, lap.model)
    print("STEP round")
    made = retrain(overrides=overrides, model=lap.model, reason=f"lap {lap.number}")
    assert made is not None  # only an alarm can have been answered before
    print("STEP decision")
    registry = Registry(settings)
    if registry.versions.state().versions[made.version].outcome is None:
        passed = made.passed and registry.status().challenger == made.version
        registry.approve(
            made.version, APPROVER, f"lap {lap.number}", override="" if passed else "a test"
        )
    print("STEP end")


@dataclass
class Findings:
    """What does not hold; empty: nothing is lost, and nothing is there twice."""

    problems: list[str] = field(default_factory=list)
    versions: int = 0
    trials: int = 0
    decisions: int = 0

    def once(self, what: str, keys: Sequence[Any]) -> None:
        """Each of these is there once."""
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            self.problems.append(f"{what} twice: {twice}")


def examine(
    project: ProjectFolder, laps: int, overrides: Sequence[str] = (), model: str | None = None
) -> Findings:
    """Whether `laps` laps have left what they have to.

    Args:
        project: after its last lap ended by itself.
        laps: how many have ended.
        overrides: that lead to the registry.
        model: whose laps.
    """
    from mlflow import MlflowClient  # noqa: TID251 (what is really there, beside our own view)

    from tasks.registry import Registry
    from tasks.settings import load_settings

    here = Path.cwd()
    os.chdir(project.path)
    try:
        found = Findings()
        settings = load_settings(Path("params.yaml"), overrides, model)
        registry = Registry(settings)
        audit = registry.audit()
        if not audit.holds:
            found.problems += [f"audit: {problem}" for problem in audit.problems]
        store = MlflowClient(registry._connection.uri)
        versions = store.search_model_versions(f"name='{settings.project.name}'")
        found.versions = len(versions)
        if len(versions) != laps:
            found.problems.append(f"{laps} laps have {len(versions)} versions")
        entries = registry.history()
        decided = [(entry.action, entry.version) for entry in entries]
        found.decisions = len(decided)
        found.once("decision", decided)
        standings = registry.versions.state().versions
        # A newer candidate takes the place of one that waits: that is a decision of the policy.
        lost = {number for number, standing in standings.items() if standing.outcome is None}
        if lost:
            found.problems.append(f"no decision on versions {sorted(lost)}")
        _runs(found, store, settings.project.name)
        return found
    finally:
        os.chdir(here)


def _runs(found: Findings, store: Any, name: str) -> None:
    experiment = store.get_experiment_by_name(name)
    runs = store.search_runs([experiment.experiment_id], max_results=5000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    found.trials = len(trials)
    found.once("round", [run.info.run_name.partition(":")[0] for run in parents])
    found.once(
        "trial", [(run.data.tags["mlflow.parentRunId"], run.info.run_name) for run in trials]
    )
    each = Counter(run.data.tags["mlflow.parentRunId"] for run in trials)
    for parent in parents:
        if each[parent.info.run_id] != 2:
            found.problems.append(f"{parent.info.run_name}: {each[parent.info.run_id]} of 2 trials")
    running = [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    if running:
        found.problems.append(f"runs that never end: {running}")
