"""What a run leaves on disk to go on from: in safetensors and JSON, never pickled.

`OUT/checkpoint/` is replaced as a whole, so a process may die at any moment. The best weights so
far are beside it in `OUT/best.unfinished/`, written before the checkpoint that speaks of them: a
run that goes on from it finds those weights, or better ones that it will find again.
"""

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.settings import Settings
from tasks.tune.train.run import Run

log = logging.getLogger(__name__)

_BEST = "best.unfinished"

Progress = dict[str, Any]
"""A run in numbers, as `progress.json` holds it."""


def save(run: Run, key: str, out: Path, settings: Settings, facts: Progress) -> None:
    """Keep all that `run` needs to go on in another process.

    Args:
        run: between two steps.
        key: what names data, base and settings; only a run of the same key goes on from here.
        out: the run's folder.
        settings: for the adapter's folder.
        facts: what else `progress.json` is to hold.
    """
    if run.best_weights is not None:
        run.adapted.write(out / _BEST, run.best_weights, settings)
        run.best_weights = None
    with files.atomic_folder(out / "checkpoint") as building:
        save_file(_plain(run.adapted.state()), building / "weights.safetensors")
        save_file(_plain(_optimiser_state(run)), building / "optimiser.safetensors")
        files.write_json(building / "progress.json", facts | _progress(run, key))


def load(run: Run, key: str, out: Path) -> None:
    """Bring a fresh `run` to where `out`'s checkpoint was taken, if there is one of this key."""
    progress = read_progress(out)
    if progress is None and _progress_file(out).is_file():
        log.warning("%s holds no finite numbers or is damaged: starting over", out / "checkpoint")
    if progress is None or progress["key"] != key:
        return
    if progress["best_loss"] is not None and not progress["ended"] and not (out / _BEST).is_dir():
        return  # the best weights have been removed
    device = run.parameters[0].device
    folder = out / "checkpoint"
    run.adapted.load_state(load_file(folder / "weights.safetensors", device=str(device)))
    state = load_file(folder / "optimiser.safetensors")
    torch.set_rng_state(state.pop("random"))
    if "random.device" in state:
        torch.get_device_module(device).set_rng_state(state.pop("random.device"))
    by_parameter: dict[int, dict[str, torch.Tensor]] = {}
    for key_in_file, tensor in state.items():
        i, _, name = key_in_file.partition(".")
        by_parameter.setdefault(int(i), {})[name] = tensor
    groups = run.optimizer.state_dict()["param_groups"]
    run.optimizer.load_state_dict({"state": by_parameter, "param_groups": groups})
    run.scaler.load_state_dict(progress["scaler"])
    run.curve = progress["curve"]
    run.best_loss = math.inf if progress["best_loss"] is None else progress["best_loss"]
    run.best_losses = progress["best_losses"]
    run.evaluations = progress["evaluations"]
    run.evals_without_improvement = progress["evals_without_improvement"]
    run.computed = progress["computed"]
    run.seconds = progress["seconds"]
    run.failure = progress["failure"]


def read_progress(out: Path) -> Progress | None:
    """The numbers of the checkpoint in `out`, if there is one that can be gone on from.

    Earlier versions left one of a base that gives no finite loss.
    """
    path = _progress_file(out)
    try:
        progress = files.read_json(path) if path.is_file() else None
    except PerpetuneError:
        return None
    sound = isinstance(progress, dict) and progress.get("initial_validation_loss") is not None
    return progress if sound else None


def keep_best(out: Path) -> None:
    """Let the best weights so far be `OUT/best/`."""
    unfinished, best = out / _BEST, out / "best"
    if unfinished.is_dir():
        shutil.rmtree(best, ignore_errors=True)
        unfinished.rename(best)


def remove(out: Path) -> None:
    """Leave nothing to go on from."""
    shutil.rmtree(out / _BEST, ignore_errors=True)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)


def _progress_file(out: Path) -> Path:
    return out / "checkpoint" / "progress.json"


def _progress(run: Run, key: str) -> Progress:
    trainable, total = run.adapted.counts()
    return {
        "key": key,
        "curve": run.curve,
        "best_loss": run.best_loss if math.isfinite(run.best_loss) else None,
        "best_losses": run.best_losses,
        "evaluations": run.evaluations,
        "evals_without_improvement": run.evals_without_improvement,
        "computed": run.computed,
        "seconds": run.seconds,
        "failure": run.failure,
        "ended": run.ended,
        "peak_lr": run.peak_lr,
        "steps": run.steps,
        "scaler": run.scaler.state_dict(),
        "trainable_parameters": trainable,
        "trainable_share": trainable / total,
    }


def _optimiser_state(run: Run) -> dict[str, torch.Tensor]:
    state = {"random": torch.get_rng_state()}
    device = run.parameters[0].device
    if device.type != "cpu":
        state["random.device"] = torch.get_device_module(device).get_rng_state()
    for i, moments in run.optimizer.state_dict()["state"].items():
        state |= {f"{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    return state


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
