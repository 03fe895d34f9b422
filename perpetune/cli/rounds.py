"""Commands that run flows: the main job, and the watch over traffic."""

import click

from flows.progress import followed_by
from perpetune.cli.endings import Outcome
from perpetune.cli.shared import Context, command
from perpetune.render.rounds import show_round, show_watch
from perpetune.render.tune import live_trials


@command("run")
@click.option("--auto-approve", is_flag=True, help="Approve a candidate that passed its gates.")
@click.option("--reason", default="on demand", show_default=True, help="Shown to the reviewer.")
def run(context: Context, auto_approve: bool, reason: str) -> Outcome:
    """The main job: from raw data to a candidate for approval."""
    from flows.data import check_repository

    check_repository()  # before Prefect starts a server

    from flows.retrain import retrain

    with followed_by(live_trials):
        result = retrain(context.params, context.overrides, context.model, reason, auto_approve)
    assert result is not None, "without an alarm there is a round"
    return Outcome(result, show_round, exit_code=0 if result.passed else 3)


@command("watch")
@click.argument("windows", nargs=-1)
@click.option("--once", is_flag=True, help="One pass, for cron. It is the default.")
@click.option("--retrain", "retrain_here", is_flag=True, help="Answer drift with a round, here.")
@click.option("--auto-approve", is_flag=True, help="Approve that round's candidate if it passes.")
def watch(
    context: Context, windows: tuple[str, ...], once: bool, retrain_here: bool, auto_approve: bool
) -> Outcome:
    """Look at new windows of traffic for drift.

    The windows are WINDOWS or, without any, those of `watch.traffic` that were not looked at yet.
    Without a champion there is nothing to compare with, which is no error.
    """
    del once  # says in a cron line what happens anyway
    from flows.watch import watch as run

    with followed_by(live_trials):
        result = run(
            params=context.params,
            overrides=context.overrides,
            model=context.model,
            windows=list(windows) or None,
            retrain_here=retrain_here,
            auto_approve=auto_approve,
        )
    return Outcome(result, show_watch)
