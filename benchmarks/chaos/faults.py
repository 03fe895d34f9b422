"""Each kind of fault: what is done, that the loop is started again, and what is counted then."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from unittest.mock import patch

from benchmarks.chaos import kills, loop
from benchmarks.chaos.ground import Ground, Result
from tests.infra.servers import postgres
from tests.project import ProjectFolder


def killed_flow(ground: Ground, times: int, seed: int) -> Result:
    """Kill -9 of the flow, with all that it has started, at random moments."""
    project = ground.project("killed")
    lap = ground.lap(project)
    moments = list(kills.kill_at_random(project, lap, times, seed, servers=False))
    return kill_result("kill -9 of the flow", project, lap, moments)


def kill_result(
    fault: str, project: ProjectFolder, lap: loop.Lap, moments: Sequence[kills.Moment]
) -> Result:
    """Let the lap that was killed last end, and look at what there is."""
    ended = sum(moment.exit_code == 0 for moment in moments)
    code, said = kills.finish(replace(lap, number=lap.number + ended))
    found = loop.examine(project, ended + 1, lap.overrides)
    problems = [*found.problems, *([] if code == 0 else [f"ends with {code}: {said}"])]
    stopped = [moment for moment in moments if moment.exit_code not in (None, 0)]
    hits = [moment for moment in moments if moment.struck]
    return Result(
        fault,
        len(hits),
        sum(moment.exit_code is None or moment.said.startswith(_ENDS) for moment in hits),
        tuple(problems),
        _once(moment.said for moment in stopped),
    )


_ENDS = ("STEP end", "SAID ")


def mlflow_away(ground: Ground, seconds: float) -> Result:
    """MLflow's server does not answer while the search runs."""
    with ground.mlflow("away") as server:
        project = ground.project("away")
        lap = _served(ground, project, server.url)
        process = loop.start(lap)
        _wait_for_step(lap, "'curate' - Finished", process)
        server.away = True
        time.sleep(seconds)
        server.away = False
        return _after(f"MLflow away for {seconds:g} s", project, lap, process)


def store_errors(ground: Ground, times: int) -> Result:
    """The object store behind MLflow refuses writes: 503, again and again."""
    with ground.mlflow("store") as server:
        project = ground.project("store")
        lap = _served(ground, project, server.url)
        server.failing, server.failures = "mlflow-artifacts", times
        found = _after("object store errors", project, lap, loop.start(lap))
        return replace(found, fault=f"object store errors ({server.refused} writes refused)")


def postgres_restart(ground: Ground, times: int, seed: int) -> Result:
    """PostgreSQL, which MLflow keeps its registry in, restarts in mid-round."""
    draw = random.Random(seed)
    with postgres() as database, patch.dict(os.environ, PGPASSWORD=database.password):
        database.create("mlflow")
        url = database.url("mlflow")
        project = ground.project("restarted")
        results = []
        for number in range(1, times + 1):
            lap = _served(ground, project, url, number)
            lap = replace(lap, environment={**lap.environment, "PGPASSWORD": database.password})
            process = loop.start(lap)
            _wait_for_step(lap, "'curate' - Finished", process)
            time.sleep(draw.uniform(0, 10))
            database.stop()
            time.sleep(1)
            database.start()
            results.append(_after("PostgreSQL restarts", project, lap, process))
    return _sum(results)


def disk_full(ground: Ground, times: int, seed: int) -> Result:
    """No file can grow beyond a limit, as on a disk that is full."""
    draw = random.Random(seed)
    project = ground.project("full")
    lap = ground.lap(project)
    went_on, said = 0, []
    for _ in range(times):
        limit = int(2 ** draw.uniform(12, 21))
        code = loop.run(replace(lap, limit=limit))
        words = loop.last_words(lap, 1)
        went_on += code == 0 or words.startswith("SAID")
        said += [words] if code else []
    code, words = kills.finish(lap)
    problems = loop.examine(project, 1, lap.overrides).problems
    problems += [] if code == 0 else [f"ends with {code}: {words}"]
    return Result("disk full", times, went_on, tuple(problems), _once(said))


def two_platforms(ground: Ground) -> Result:
    """Two state folders, as of two machines, work on one registry at once: one round, then two."""
    with ground.mlflow("shared") as server:
        one, two = ground.project("shared"), ground.project("shared-2")
        name = "project.name=shared"
        said: list[str] = []
        laps = [replace(_served(ground, one, server.url), folder=p.path) for p in (one, two)]
        for numbers in ((1, 1), (2, 3)):
            both = [replace(lap, number=number) for lap, number in zip(laps, numbers, strict=True)]
            processes = [loop.start(lap) for lap in both]
            for process in processes:
                process.join(300)
            for lap in both:
                if kills.finish(lap)[0]:
                    said.append(loop.last_words(lap, 1))
        where = f"project.tracking_uri={server.url}"
        found = loop.examine(one, 3, (name, where))
        problems = [*found.problems, *(f"does not end: {words}" for words in said)]
        return Result("two platforms on one registry", 2, 2 - len(said), tuple(problems))


def moved(ground: Ground) -> Result:
    """The project's folder has another name after the first lap."""
    project = ground.project("moved")
    first = ground.lap(project)
    code = loop.run(first)
    there = project.path.with_name("moved elsewhere")
    shutil.move(project.path, there)
    project.path = there
    second = replace(first, folder=there, number=2)
    again, said = kills.finish(second)
    found = loop.examine(project, 2, first.overrides)
    problems = [*found.problems, *([] if code == again == 0 else [f"ends with {again}: {said}"])]
    return Result("a moved project", 1, int(again == 0), tuple(problems))


def home_that_cannot_be_written(ground: Ground, commands: Sequence[Sequence[str]]) -> Result:
    """HOME and the caches are places where nothing can be made."""
    project = ground.project("homeless")
    project.environment |= {"HOME": "/proc/nobody"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME"):
        project.environment.pop(name, None)
    problems = []
    for command in commands:
        done = project.run("perpetune", *command, "--json", check=False)
        if done.returncode:
            problems.append(f"perpetune {command[0]}: {done.stderr.strip().splitlines()[-1]}")
    well = len(commands) - len(problems)
    return Result("a home that cannot be written", len(commands), well, tuple(problems))


def _served(ground: Ground, project: ProjectFolder, url: str, number: int = 1) -> loop.Lap:
    return ground.lap(project, number, f"project.tracking_uri={url}")


def _after(fault: str, project: ProjectFolder, lap: loop.Lap, process) -> Result:
    """The lap in which something was wrong ends; if need be it is started again."""
    process.join(600)
    loop.kill_group(process.pid)
    process.join()
    words = loop.last_words(lap, 1)
    went_on = process.exitcode == 0 or words.startswith("SAID")
    code, last = (0, "") if process.exitcode == 0 else kills.finish(lap)
    problems = loop.examine(project, lap.number, lap.overrides).problems
    problems += [] if code == 0 else [f"ends with {code}: {last}"]
    return Result(fault, 1, int(went_on), tuple(problems), _once([words]))


def _sum(results: Sequence[Result]) -> Result:
    return Result(
        results[0].fault,
        sum(found.times for found in results),
        sum(found.went_on for found in results),
        _once(problem for found in results for problem in found.problems),
        _once(words for found in results for words in found.said),
    )


def _wait_for_step(lap: loop.Lap, sign: str, process) -> None:
    end = time.monotonic() + 240
    while process.is_alive() and time.monotonic() < end:
        if lap.log.is_file() and sign in lap.log.read_text(errors="replace"):
            return
        time.sleep(0.05)


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in sentences if not text.startswith("STEP")))


ALL: dict[str, Callable[[Ground, int, int], Result]] = {
    "flow": killed_flow,
    "mlflow": lambda ground, _, __: mlflow_away(ground, 60),
    "store": lambda ground, _, __: store_errors(ground, 5),
    "postgres": lambda ground, _, seed: postgres_restart(ground, 3, seed),
    "disk": lambda ground, _, seed: disk_full(ground, 10, seed),
    "two": lambda ground, _, __: two_platforms(ground),
    "moved": lambda ground, _, __: moved(ground),
    "home": lambda ground, _, __: home_that_cannot_be_written(
        ground, [["status"], ["run"], ["status"]]
    ),
}
"""By the name that `--faults` takes; each is given the number of moments and the seed."""
