"""Kill -9 at random moments: the flow, Prefect's server, MLflow's server, the worker."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from benchmarks.chaos import loop
from tests.platform import wait_for
from tests.project import ProjectFolder

VICTIMS = {"flow": 6, "prefect": 2, "mlflow": 1, "worker": 1}
"""How often each is the one that ends."""


@dataclass(frozen=True)
class Moment:
    """One kill, and how the loop went on."""

    victim: str
    step: str
    """Where the lap was."""
    exit_code: int | None
    """Of the lap, where another process was killed; None: the lap itself was."""
    said: str
    by_itself: bool
    """Whether what was killed came back without `perpetune up`."""
    struck: bool
    """Whether there was anything to kill: the lap had not ended."""


def kill_at_random(
    project: ProjectFolder, lap: loop.Lap, moments: int, seed: int, *, servers: bool
) -> Iterator[Moment]:
    """Kill `moments` times; a lap is taken up again until it ends, and then the next begins.

    A lap that ended before its moment came is yielded as well, with `struck` false.

    Args:
        project: in which the loop runs.
        lap: the first one; the number of the last one that ended is that of the moments' last lap.
        moments: number of kills.
        seed: of the moments and of who is killed.
        servers: also kill the platform's processes, which have to run.
    """
    draw = random.Random(seed)
    seconds = 20.0
    struck = 0
    while struck < moments:
        victims = VICTIMS if servers else {"flow": 1}
        (victim,) = draw.choices([*victims], [*victims.values()])
        began = time.monotonic()
        process = loop.start(lap)
        process.join(draw.uniform(0, 1) * seconds)
        step, code, said, by_itself = loop.step_of(lap), None, "", True
        alive = process.is_alive()
        struck += alive
        if alive and victim == "flow":
            loop.kill_group(process.pid)
            process.join()
        else:
            if alive:
                by_itself = _kill_server(project, victim)
            process.join(300)
            loop.kill_group(process.pid)
            process.join()
            code, said = process.exitcode, loop.last_words(lap, 1)
            if code == 0 and not alive:
                seconds = time.monotonic() - began
        yield Moment(victim, step, code, said, by_itself, alive)
        if code == 0:
            lap = replace(lap, number=lap.number + 1)


def finish(lap: loop.Lap, tries: int = 3) -> tuple[int, str]:
    """Take up a lap until it ends by itself; its exit code and what it said last."""
    code = -1
    for _ in range(tries):
        code = loop.run(lap)
        if code == 0:
            break
    return code, loop.last_words(lap)


def _kill_server(project: ProjectFolder, name: str) -> bool:
    """Kill one process of the platform; whether it is started again without anybody's doing."""
    before = _pid(project, name)
    if before is None:
        project.perpetune("up")
        return False
    psutil.Process(before).kill()
    try:
        wait_for(lambda: _pid(project, name) not in (None, before), seconds=90)
    except AssertionError:
        project.perpetune("up")
        return False
    return True


def _pid(project: ProjectFolder, name: str) -> int | None:
    """Of a process of the platform that runs."""
    try:
        found = json.loads((project.path / ".perpetune/platform.json").read_text())
        pid = int(found["processes"][name]["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if psutil.pid_exists(pid) else None
