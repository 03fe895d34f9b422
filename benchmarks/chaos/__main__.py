"""Put faults into the small loop and print the counts: `python -m benchmarks.chaos --moments 50`.

The kills of worker and servers are of a platform that `perpetune up` starts; the other faults use
its Prefect server. `--faults flow,disk` are some of them. It takes minutes for each ten moments.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.chaos import faults, kills, loop
from benchmarks.chaos.ground import Ground, Result
from tests.platform import free_port
from tests.project import ProjectFolder, make_project, make_tiny_base

PLATFORM = "platform"


def main() -> int:
    """The exit code: 1 where something was lost or is there twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default=",".join([PLATFORM, *faults.ALL]))
    parser.add_argument("--scratch", type=Path, help="keep the projects there")
    given = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    scratch = given.scratch or Path(tempfile.mkdtemp(prefix="perpetune-chaos-"))
    template = _template(scratch)
    project = ProjectFolder(scratch / PLATFORM, scratch / "prefect-home")
    _with_ports(template.path, project.path)
    project.perpetune("up")
    try:
        environment = loop.environment_of(project)
        os.environ.update(environment)
        loop.preload()
        ground = Ground(template.path, scratch, environment)
        results = []
        for name in given.faults.split(","):
            if name == PLATFORM:
                result = _platform(project, environment, given.moments, given.seed)
            else:
                result = faults.ALL[name](ground, max(given.moments // 5, 3), given.seed)
            results.append(result)
            _say(result)
    finally:
        project.perpetune("down")
    sys.stdout.write(json.dumps({"faults": [asdict(result) for result in results]}) + "\n")
    return int(any(result.problems for result in results))


def _template(scratch: Path) -> ProjectFolder:
    base = scratch / "tiny-base"
    base.mkdir(parents=True)
    return make_project(scratch / "template", make_tiny_base(base), scratch / "prefect-home")


def _with_ports(template: Path, path: Path) -> None:
    import shutil

    shutil.copytree(template, path, symlinks=True)
    params = path / "params.yaml"
    text = params.read_text()
    for name in ("prefect_port", "mlflow_port"):
        text = re.sub(rf"{name}: \d+", f"{name}: {free_port()}", text)
    params.write_text(text)


def _platform(
    project: ProjectFolder, environment: dict[str, str], moments: int, seed: int
) -> Result:
    """Kill -9 of flow, Prefect's server, MLflow's server and worker at random moments."""
    lap = loop.Lap(project.path, 1, environment)
    done = []
    for moment in kills.kill_at_random(project, lap, moments, seed, servers=True):
        done.append(moment)
        if not moment.struck:
            continue
        how = "the lap" if moment.exit_code is None else f"the lap ended with {moment.exit_code}"
        back = "" if moment.by_itself else "; `perpetune up` was needed"
        sys.stderr.write(
            f"{sum(item.struck for item in done)}: {moment.victim} in {moment.step}: {how}{back}\n"
        )
    counts = ", ".join(
        f"{name} {sum(moment.struck and moment.victim == name for moment in done)}"
        for name in kills.VICTIMS
    )
    return faults.kill_result(f"kill -9 ({counts})", project, lap, done)


def _say(result: Result) -> None:
    sys.stdout.write(
        f"{result.fault}: {result.times} times, went on or said what to do {result.went_on}, "
        f"lost or twice {len(result.problems)}\n"
    )
    for text in (*result.problems, *result.said):
        sys.stdout.write(f"    {text[:300]}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
