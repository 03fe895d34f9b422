"""Contenders in processes of their own: a job goes in as JSON, a result comes out as JSON."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Result = dict[str, Any]


def take_cores(count: int) -> None:
    """Stay on the first cores that we may use; children do, too."""
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("this system cannot hold a process to a core; use Linux")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def call(module: str, job: Mapping[str, Any], threads: int | None = None) -> Result:
    """What `benchmarks.tuning.MODULE` makes of `job`, and `wall_seconds` from start to exit.

    Args:
        module: reads a JSON object and prints one, by `answer`.
        job: the object.
        threads: of its matrix products; none: as many as it takes by itself.

    Raises:
        RuntimeError: it failed; the end of what it wrote to stderr.
    """
    command = [sys.executable, "-m", f"benchmarks.tuning.{module}", "--job"]
    seconds, said = timed(command, threads, json.dumps(job, default=str))
    result: Result = json.loads(said.splitlines()[-1])
    return result | {"wall_seconds": seconds}


def timed(command: Sequence[str], threads: int | None = None, given: str = "") -> tuple[float, str]:
    """Seconds of a process from start to exit, and what it wrote to stdout.

    Raises:
        RuntimeError: it failed; the end of what it wrote to stderr.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    environment.pop("OMP_NUM_THREADS", None)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    began = time.perf_counter()
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-3000:]}")
    return seconds, done.stdout


def answer(work: Callable[[Result], Result]) -> None:
    """The other side of `call`: read the job, work, print the result."""
    print(json.dumps(work(json.load(sys.stdin)), default=str), flush=True)


def rounds(
    contenders: Mapping[str, Callable[[], Result]], count: int
) -> tuple[dict[str, list[Result]], dict[str, str]]:
    """Results of each contender in `count` rounds; who comes first changes from round to round.

    One that fails is left out from then on; the second value says why.
    """
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    failed: dict[str, str] = {}
    for number in range(count):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            if name in failed:
                continue
            print(f"round {number + 1} of {count}: {name}", file=sys.stderr, flush=True)
            try:
                results[name].append(contenders[name]())
            except RuntimeError as error:
                failed[name] = str(error)
                print(failed[name], file=sys.stderr)
    return {name: done for name, done in results.items() if done}, failed


def watched(train: Callable[[], Any], job: Mapping[str, Any]) -> Result:
    """Train; when each optimiser step ended, by PyTorch's own hook, the same for everybody.

    Also the GPU's peak memory, loading included, and where the job's `profile` says how many steps
    there are, the seconds that kernels took from the first step's end to the end of the last but
    one, as a share of that time.
    """
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    gpu = torch.cuda.is_available() and job.get("device") != "cpu"
    steps, moments = job.get("profile") or 0, list[float]()
    activity = torch.profiler.ProfilerActivity
    # Only kernels: recording every call of an operator would slow the run down.
    profile = torch.profiler.profile(activities=[activity.CUDA if gpu else activity.CPU])
    spans: list[float] = []

    def stepped(*_: Any) -> None:
        moments.append(time.perf_counter())
        if len(moments) == 1 and steps > 2:
            profile.start()
            spans.append(time.perf_counter())
        elif len(moments) == steps - 1 and spans:
            if gpu:
                torch.cuda.synchronize()
            spans.append(time.perf_counter())
            profile.stop()

    hook = register_optimizer_step_post_hook(stepped)
    if gpu:
        # Ours begins to count anew where training begins; here all counts, for everybody.
        torch.accelerator.reset_peak_memory_stats = lambda *_: None
    train()
    hook.remove()
    result: Result = {"moments": moments}
    if len(spans) == 2:
        averages = profile.key_averages()
        micros = sum(each.self_device_time_total for each in averages)
        result["kernel_share"] = micros / 1e6 / (spans[1] - spans[0])
        longest = sorted(averages, key=lambda each: -each.self_device_time_total)[:25]
        result["kernels"] = [
            {"name": each.key[:120], "count": each.count, "ms": each.self_device_time_total / 1e3}
            for each in longest
        ]
        result["launched"] = sum(each.count for each in averages if each.self_device_time_total)
    result["peak_bytes"] = torch.cuda.max_memory_allocated() if gpu else 0
    return result


def rate(moments: Sequence[float], tokens: Sequence[int]) -> Result:
    """Useful tokens a second from the end of the first step to the end of the last but one.

    The first step warms caches up, and what follows the last (an evaluation) is no step.

    Args:
        moments: when each step ended.
        tokens: those of each step that are no padding.
    """
    if len(moments) != len(tokens):
        raise RuntimeError(f"{len(moments)} steps were taken for {len(tokens)} batches")
    seconds, counted = moments[-2] - moments[0], sum(tokens[1:-1])
    return {
        "steps": len(tokens),
        "all_tokens": sum(tokens),
        "tokens_per_second": counted / seconds if seconds else 0.0,
        # The first has no beginning that can be told from start-up: as long as the others.
        "steps_seconds": (moments[-1] - moments[0]) * len(tokens) / (len(tokens) - 1),
    }


def median(results: Sequence[Result], key: str) -> float:
    """The middle of `key` over all rounds."""
    return statistics.median(result[key] for result in results)
