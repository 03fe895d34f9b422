"""A cohort: trials that are trained from rung to rung together, the weaker ones ending at each."""

from collections.abc import Collection, Iterator, Sequence

from tasks.tune.sweep import halving
from tasks.tune.sweep.progress import TrialProgress
from tasks.tune.sweep.results import Trial
from tasks.tune.sweep.state import SweepState
from tasks.tune.train.trials import Executor


def train_cohort(
    state: SweepState, cohort: Sequence[int], execute: Executor, progress: TrialProgress
) -> Iterator[Trial]:
    """Train a cohort to its end; yields each trial when it ends.

    Args:
        state: of the sweep.
        cohort: numbers of trials that run.
        execute: trains them.
        progress: shows them.
    """
    running = list(cohort)
    for rung in [*state.rungs, None]:
        unfinished = [state.run(number) for number in running if not state.is_finished(number)]
        if unfinished:
            execute(unfinished, rung)
        for number in [*running]:
            if state.record(number):
                running.remove(number)
                yield state.trial(number)
        if rung is None:
            return
        for number in sorted(_weak(state, running, rung)):
            state.prune(number)
            running.remove(number)
            yield state.trial(number)
        progress.show()


def _weak(state: SweepState, running: Collection[int], rung: int) -> set[int]:
    """The running trials that end at a rung."""
    losses, targets = state.losses_at(rung)
    candidates = {number: losses.pop(number) for number in running if number in losses}
    if not candidates or targets is None:
        return set()
    factor = state.settings.sweep.reduction_factor
    return candidates.keys() - halving.promoted(candidates, [*losses.values()], targets, factor)
