"""Tasks of lm-evaluation-harness beside the benchmarks (Gao et al. 2024, "A framework for few-shot
language model evaluation"): an optional extra, `pip install 'perpetune[lm-eval]'`.

The harness is given the model that evaluation has loaded, adapter included. Its own figures are
taken as they are (`acc` and `acc_norm` often disagree: both are shown), and its standard errors
become intervals. Results are cached as answers are.
"""

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import yaml

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.evaluate.results import BenchmarkResult, Score
from tasks.settings import Settings

if TYPE_CHECKING:
    from tasks.evaluate.measuring import System

log = logging.getLogger(__name__)

_DIGITS = 6
_BATCH = 8
_BOOTSTRAPS = 1000  # for figures whose standard error has no formula


def check(settings: Settings) -> None:
    """Check that the tasks can be run, before any training.

    Raises:
        BadInput: the extra is not installed, or there is no such folder or task.
    """
    options = settings.evaluate.lm_eval
    if options.tasks:
        _manager(settings)


def measure(system: "System") -> dict[str, BenchmarkResult]:
    """The figures of a system by task, `lm-eval TASK`; none where no task is set.

    Raises:
        BadInput: as `check`.
        PerpetuneError: the harness fails, say because a task's data cannot be had offline.
    """
    settings = system.settings
    options = settings.evaluate.lm_eval
    if not options.tasks:
        return {}
    manager = _manager(settings)
    asked = [version("lm-eval"), options.tasks, options.limit, _hashes(options.include_path)]
    key = files.content_key(system.identity, asked)
    path = settings.project.state_dir / "evaluations" / "lm_eval" / f"{key}.json"
    if path.is_file():
        log.info("lm-eval of %s: read from %s", system.name, path)
        found = files.read_json(path)
    else:
        found = _run(system, manager)
        files.write_json(path, found, sort_keys=False)
    return {f"lm-eval {task}": _result(plain, settings) for task, plain in found.items()}


def _run(system: "System", manager: Any) -> dict[str, Any]:
    """What the harness says of each task: its figures, and its number of examples."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    options = system.settings.evaluate.lm_eval
    try:
        model = HFLM(pretrained=system.model, tokenizer=system.tokenizer, batch_size=_BATCH)
        said: Any = simple_evaluate(
            model=model,
            tasks=list(options.tasks),
            task_manager=manager,
            limit=options.limit,
            bootstrap_iters=_BOOTSTRAPS,
            log_samples=False,
        )
    except Exception as error:
        raise PerpetuneError(f"evaluate.lm_eval: {type(error).__name__}: {error}") from error
    counts = said["n-samples"]
    return {
        task: {"n": counts.get(task, {}).get("effective", 0), "figures": dict(_numbers(figures))}
        for task, figures in said["results"].items()
    }


def _numbers(figures: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, float | None]]]:
    """Name, figure and standard error; a filter other than `none` is part of the name."""
    for key, value in figures.items():
        name, _, answers = key.partition(",")
        if name.endswith("_stderr") or not answers or not isinstance(value, int | float):
            continue
        error = figures.get(f"{name}_stderr,{answers}")
        known = float(error) if isinstance(error, int | float) else None
        yield name if answers == "none" else f"{name} {answers}", (float(value), known)


def _result(plain: Mapping[str, Any], settings: Settings) -> BenchmarkResult:
    reach = NormalDist().inv_cdf((1 + settings.evaluate.confidence) / 2)
    count = plain["n"]
    scores: dict[str, Score | None] = {}
    for name, (value, error) in plain["figures"].items():
        low = high = None
        if error is not None:
            low, high = round(value - reach * error, _DIGITS), round(value + reach * error, _DIGITS)
        scores[name] = Score(
            value=round(value, _DIGITS), low=low, high=high, n=count, clusters=count
        )
    return BenchmarkResult(examples=count, generated=0, scores=scores)


def _manager(settings: Settings) -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        raise BadInput(
            "evaluate.lm_eval: lm-evaluation-harness is not installed: "
            "`pip install 'perpetune[lm-eval]'`"
        )
    options = settings.evaluate.lm_eval
    folder = options.include_path
    if folder is not None and not Path(folder).is_dir():
        raise BadInput(f"evaluate.lm_eval.include_path: {folder}: no such folder")
    from lm_eval.tasks import TaskManager

    # The harness's own tasks are thousands of files: they are read only where they are asked for.
    manager = TaskManager(include_path=folder, include_defaults=False)
    if any(task not in manager.task_index for task in options.tasks):
        manager = TaskManager(include_path=folder)
    for task in options.tasks:
        if task not in manager.task_index:
            raise BadInput(
                f"evaluate.lm_eval.tasks: {task}: no such task; those of your own are YAML files "
                "in evaluate.lm_eval.include_path"
            )
    return manager


def _hashes(folder: str | None) -> dict[str, str]:
    """SHA-256 of all files of the folder, and of the local data files that its tasks name."""
    if folder is None:
        return {}
    found = dict(files.file_hashes(Path(folder)))
    for path in sorted(Path(folder).rglob("*.y*ml")):
        try:
            task = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a safe one)
        except (OSError, ValueError, yaml.YAMLError):
            continue  # the harness says what is wrong with it
        for data in _texts(task):
            if Path(data).is_file():
                found[data] = files.sha256(Path(data))
    return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads the harness's tags (`!function`) as nothing."""


_Loader.add_multi_constructor("!", lambda *_: None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str) and "\n" not in value and len(value) < 1000:
        yield value
