"""The configurations of a search: which there are, and which one comes next.

Grids are Perpetune's own; samplers are Optuna's. A trial is proposed with those settings only that
its method has. Names are those of `axis_name`: `rank` for `tune.method.rank`.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tasks.core import files
from tasks.settings import Settings
from tasks.tune.methods.settings import LowRank
from tasks.tune.settings import (
    LEARNING_RATE,
    METHOD,
    LogRange,
    Range,
    Sweep,
    Tune,
    axis_name,
    configured,
    ends,
    takes_whole_numbers,
    uses,
)

Params = Mapping[str, Any]
"""The values of a trial by name, as Optuna stores them: lists and mappings as JSON."""
_FIRST = ("rank", "alpha", "method", "target_modules", "dropout")


def propose(earlier: Sequence[FrozenTrial], settings: Settings) -> FrozenTrial:
    """The next trial, with those settings only that its method has.

    It is drawn in memory: a process that dies in between leaves no half of one in the database.

    Args:
        earlier: all trials so far.
        settings: `sweep`, `tune` and the project's seed matter.
    """
    space = _space(settings)
    if settings.sweep.sampler == "grid":
        params = grid(settings)[len(earlier)]
    else:
        draft = optuna.create_study(sampler=_sampler(settings, len(earlier)))
        draft.add_trials(earlier)
        trial = draft.ask()
        keys = _keys(settings.sweep)
        for name in sorted(space, key=lambda name: keys[name] != METHOD):
            if uses(configuration(trial.params, settings), keys[name]):
                _suggest(trial, name, space[name])
        params = trial.params
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions={name: space[name] for name in params},
    )


def count(settings: Settings) -> int:
    """Number of trials of the whole sweep."""
    sweep = settings.sweep
    return min(sweep.trials, len(grid(settings))) if sweep.sampler == "grid" else sweep.trials


def configuration(params: Params, settings: Settings) -> Tune:
    """The configuration of a trial; what `params` does not name comes from `tune`."""
    keys = _keys(settings.sweep)
    values = {keys[name]: _from_choice(value) for name, value in params.items()}
    return configured(settings.tune, values)


def shown_params(params: Params, settings: Settings, peak_lr: float | None) -> dict[str, Any]:
    """What is varied, as results show it, with rank, alpha and learning rate always among it.

    Args:
        params: of the trial.
        settings: of the sweep.
        peak_lr: what `auto` means to the trial; none where that is not known yet.

    Returns:
        By name; None for a setting that the trial's method does not have.
    """
    tune = configuration(params, settings)
    values = tune.short()
    names = dict.fromkeys(["rank", "learning_rate", *_keys(settings.sweep)])
    method = _from_choice(params.get("method"))
    if isinstance(method, dict):
        names |= dict.fromkeys(name for name in method if name != "name")
    shown = {name: values.get(name) for name in names} | {"alpha": _alpha(tune)}
    if shown["learning_rate"] == "auto":
        shown["learning_rate"] = peak_lr
    return shown


def configurations(settings: Settings) -> list[Tune]:
    """Every configuration that a trial can have; of a range, its ends."""
    if settings.sweep.sampler == "grid":
        return [configuration(params, settings) for params in grid(settings)[: count(settings)]]
    space: dict[str, Any] = _space(settings)
    axes = [
        distribution.choices
        if isinstance(distribution, CategoricalDistribution)
        else (distribution.low, distribution.high)
        for distribution in space.values()
    ]
    found: dict[str, Tune] = {}
    for values in itertools.product(*axes):
        tune = configuration(dict(zip(space, values, strict=True)), settings)
        found.setdefault(files.content_key(tune.plain()), tune)
    return list(found.values())


def grid(settings: Settings) -> list[dict[str, Any]]:
    """The parameters of each configuration of the grid once, shuffled by the project's seed: the
    first few of them are spread over the grid."""
    space: dict[str, Any] = _space(settings)
    keys = _keys(settings.sweep)
    found: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(distribution.choices for distribution in space.values())):
        params = dict(zip(space, values, strict=True))
        tune = configuration(params, settings)
        used = {name: value for name, value in params.items() if uses(tune, keys[name])}
        # Two rules for alpha can give one number.
        same = used | {"alpha": _alpha(tune)} if "alpha" in used else used
        found.setdefault(files.content_key(same), used)
    order = np.random.default_rng(settings.project.seed).permutation(len(found))
    listed = [*found.values()]
    return [listed[i] for i in order]


def fixed_settings(settings: Settings) -> dict[str, Any]:
    """The settings of `tune` that the sweep does not vary, and that decide what a trial gives."""
    tune = settings.tune.plain()
    del tune["checkpoint_minutes"]
    for key in settings.sweep.space:
        first, _, inner = key.removeprefix("tune.").partition(".")
        if inner:
            tune[first].pop(inner, None)
        elif key != METHOD:
            del tune[first]
    return tune


def _keys(sweep: Sweep) -> dict[str, str]:
    """The keys of `sweep.space` by name, in an order that does not depend on that of the file."""
    names = {axis_name(key): key for key in sweep.space}
    first = [name for name in _FIRST if name in names]
    others = sorted(names.keys() - {*_FIRST, axis_name(LEARNING_RATE)})
    last = [axis_name(LEARNING_RATE)] if LEARNING_RATE in sweep.space else []
    return {name: names[name] for name in [*first, *others, *last]}


def _space(settings: Settings) -> dict[str, BaseDistribution]:
    """What is varied, by name."""
    sweep = settings.sweep
    return {
        name: _distribution(key, sweep.space[key], settings) for name, key in _keys(sweep).items()
    }


def _distribution(key: str, axis: list[Any] | Range, settings: Settings) -> BaseDistribution:
    if isinstance(axis, list):
        if key != LEARNING_RATE or settings.sweep.sampler == "grid":
            return CategoricalDistribution([_to_choice(value) for value in axis])
        axis = LogRange(log=(min(axis), max(axis)))
    low, high = ends(axis)
    log = isinstance(axis, LogRange)
    if takes_whole_numbers(settings.tune, key, low):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)


def _to_choice(value: Any) -> Any:
    """A value as Optuna stores it: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _from_choice(value: Any) -> Any:
    """The inverse of `_to_choice`."""
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value


def _alpha(tune: Tune) -> int | float | None:
    """LoRA's alpha as a number; None where the method has none."""
    return tune.method.scaling_alpha if isinstance(tune.method, LowRank) else None


def _sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    seed = int(files.content_key(settings.project.seed, number)[:8], 16)
    if settings.sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Trials of the cohort that still run count as bad ones, so that others are tried.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
