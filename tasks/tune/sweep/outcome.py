"""What a sweep leaves: the best trial's weights, plots, and `sweep.json`."""

import logging
import shutil
from collections.abc import Sequence

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.tune.data.examples import Seen
from tasks.tune.sweep import plots, selection
from tasks.tune.sweep.results import BestTrial, SeedSpread, Selection, SweepResult, Trial
from tasks.tune.sweep.run_state import read_run
from tasks.tune.sweep.state import SweepState
from tasks.tune.train.results import read_result, worse_than_base

log = logging.getLogger(__name__)


def best_first(state: SweepState) -> list[Trial]:
    """The complete trials, the lowest validation loss first.

    Raises:
        PerpetuneError: there is none.
    """
    trials = state.trials()
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        reason = next((trial.reason for trial in trials if trial.reason), "")
        raise PerpetuneError(
            f"{state.out}: all {len(trials)} trials failed (the first: {reason}); lower the "
            "learning rates of sweep.space"
        )
    return sorted(complete, key=lambda trial: (trial.validation_loss or 0.0, trial.number))


def write_outcome(
    state: SweepState, seeds: Sequence[SeedSpread], seen: Seen, warnings: Sequence[str]
) -> SweepResult:
    """Write `best/`, the plots and, last of all, `sweep.json`, which is returned.

    Args:
        state: of a sweep whose trials have all ended.
        seeds: of `train_other_seeds`.
        seen: what a whole trial sees of the training data.
        warnings: to be told with the result.

    Raises:
        PerpetuneError: no trial is complete.
    """
    trials, best = state.trials(), best_first(state)[0]
    out, folder = state.out, state.folder(best.number)
    with files.atomic_folder(out / "best") as building:
        shutil.copytree(folder / "best", building, dirs_exist_ok=True)
    winner = read_result(folder)
    assert winner is not None
    base_loss = winner.initial_validation_loss
    curves = {trial.number: read_run(state.folder(trial.number)).curve for trial in trials}
    plots.draw_curves(trials, curves, best.number, base_loss, out / "curves.png")
    plots.draw_heatmap(trials, best.number, base_loss, out / "heatmap.png")
    tokens, seconds = sum(trial.tokens for trial in trials), state.seconds
    result = SweepResult(
        key=state.key,
        trials=tuple(trials),
        best=BestTrial(
            number=best.number,
            params=best.params,
            validation_loss=winner.validation_loss,
            worse_than_base=winner.worse_than_base,
            adapter=out / "best",
            tune=state.run(best.number).settings.tune.plain(),
        ),
        initial_validation_loss=base_loss,
        worse_than_base=winner.worse_than_base,
        selection=_selection(state, trials, best),
        seeds=tuple(seeds),
        examples_seen=seen.examples,
        epochs=seen.epochs,
        train_examples=winner.train_examples,
        data=winner.data,
        warnings=tuple(warnings),
        seconds=seconds,
        tokens_trained=tokens,
        tokens_per_second=tokens / seconds,
    )
    if result.worse_than_base:
        log.warning("%s", worse_than_base(winner.validation_loss, base_loss, "the best trial"))
    files.write_json(out / "sweep.json", result)
    return result


def _selection(state: SweepState, trials: Sequence[Trial], best: Trial) -> Selection:
    measured = {
        trial.number: read_run(state.folder(trial.number)).example_losses()
        for trial in trials
        if trial.state != "failed"
    }
    return selection.assess(
        {number: losses for number, (losses, _) in measured.items()},
        measured[best.number][1],
        best.number,
        seed=state.settings.project.seed,
    )
