"""A bar and a line in the log for whoever watches a run."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from tasks.tune.train.run import Run
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[TrialRun, Run], None]]:
    """What to call after each step of one run."""
    with tqdm(desc=description, disable=None, file=sys.stderr) as bar:

        def stepped(_: TrialRun, run: Run) -> None:
            bar.total = run.steps
            bar.update(run.step - bar.n)
            row = run.curve[-1]
            if "validation_loss" in row:
                log.info(
                    "step %d of %d: training loss %.4f, validation loss %.4f",
                    run.step,
                    run.steps,
                    row["train_loss"],
                    row["validation_loss"],
                )
                bar.set_postfix(validation=f"{row['validation_loss']:.3f}", refresh=False)

        yield stepped
