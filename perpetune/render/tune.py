"""Training, sweeps and plans in a terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from perpetune.render.console import (
    console,
    escape,
    format_or_dash,
    make_table,
    number,
    print_table,
    show_warnings,
)
from tasks.tune.plan import Plan
from tasks.tune.sweep import SweepResult, Trial, selection_sentence
from tasks.tune.train import TrainingResult


def show_training(result: TrainingResult) -> None:
    """What a run has come to."""
    console.print(
        f"validation loss {result.validation_loss:.4f} after {result.steps} steps; "
        f"the base's {result.initial_validation_loss:.4f}"
    )
    seen = _seen(result.examples_seen or 0, result.train_examples, result.epochs)
    console.print(f"{seen}; {result.tokens_trained:,} tokens in {result.seconds:.0f} s")
    if result.worse_than_base:
        _show_worse()
    console.print(escape(str(result.adapter)), soft_wrap=True)
    show_warnings(result.warnings or ())


def show_sweep(result: SweepResult) -> None:
    """Every trial, the best one marked."""
    names = _param_names(result.trials)
    rows = [
        (
            trial.number,
            *(number(trial.params[name]) for name in names),
            trial.state,
            trial.steps,
            number(trial.validation_loss),
            f"{trial.seconds:.0f}",
            "best" if trial.number == result.best.number else trial.reason or "",
        )
        for trial in result.trials
    ]
    columns = ["trial", *names, "state", "steps", "validation loss", "seconds", ""]
    print_table("Trials", columns, rows)
    console.print(f"The base's validation loss is {result.initial_validation_loss:.4f}.")
    seen = _seen(result.examples_seen, result.train_examples, result.epochs)
    console.print(f"A whole trial: {seen}.")
    console.print(selection_sentence(result.selection, result.best.validation_loss))
    for spread in result.seeds:
        losses = ", ".join(
            "failed" if loss is None else f"{loss:.4f}" for loss in spread.validation_losses
        )
        console.print(f"trial {spread.number} from {len(spread.validation_losses)} seeds: {losses}")
    if result.worse_than_base:
        _show_worse()
    show_warnings(result.warnings)


def show_plan(plan: Plan) -> None:
    """What each method would take, the advised one marked, and why."""
    advised = plan.advice.method
    paid = plan.machine.price_per_hour > 0
    rows = [
        (
            method.method,
            format_or_dash(method.trainable_parameters, "{:,}"),
            format_or_dash(method.trainable_share, "{:.2%}"),
            format_or_dash(method.memory_bytes and method.memory_bytes / 1e9, "{:.2f} GB"),
            {True: "yes", False: "no", None: "?"}[method.fits],
            format_or_dash(method.seconds, "{:,.0f} s"),
            *([format_or_dash(method.cost, "{:.2f}")] if paid else []),
            "advised" if method.method == advised else "",
        )
        for method in plan.methods
    ]
    columns = ["method", "trained", "share", "memory", "fits", "time", *(["cost"] if paid else [])]
    print_table(f"Plan for {plan.model.name}", [*columns, ""], rows)
    _show_plan_facts(plan)
    console.print(f"\n[bold]Advice: {escape(advised or 'none of them')}[/]")
    for reason in plan.advice.reasons:
        console.print(f"  because {escape(reason)}")
    for other in plan.advice.instead:
        console.print(f"  or      {escape(other)}")
    for method in plan.methods:
        if method.memory_bytes is None or method.method == advised:
            for line in method.notes + (method.memory_arithmetic or ()):
                console.print(f"[dim]{escape(method.method)}  {escape(line)}[/]")
    console.print(f"[dim]{plan.seconds:.0f} s; every part of every method: --json[/]")


def _show_plan_facts(plan: Plan) -> None:
    """Data, machine and base model."""
    model, data, machine = plan.model, plan.data, plan.machine
    console.print(
        f"{data.examples:,} examples of {data.tokens:,} tokens, {data.targets:,} of them "
        f"learned; {data.steps:,} steps see {data.examples_seen:,} of the examples "
        f"({data.epochs:.2g} epochs); {machine.memory_budget_bytes / 1e9:.1f} GB to use, "
        f"{machine.cores} cores, {escape(machine.accelerator or 'no accelerator')}, "
        f"{machine.dtype}"
    )
    if model.loss is not None:
        console.print(
            f"the base's loss on the answers is {model.loss:.2f} nats a token; about "
            f"{model.usual_loss:.2f} on common text is usual for its size"
        )
    elif model.loss_unknown:
        console.print(f"the base's loss, and the time, are unknown: {escape(model.loss_unknown)}")
    show_warnings(data.warnings)


@contextmanager
def live_trials() -> Iterator[Callable[[list[Trial]], None]]:
    """A table of all trials that follows a sweep; nothing where stderr is no terminal."""
    stderr = Console(stderr=True, highlight=False)
    if not stderr.is_terminal:
        yield lambda _: None
        return
    with Live(console=stderr, refresh_per_second=4, transient=True) as live:
        yield lambda trials: live.update(_live_table(trials))


def _live_table(trials: Sequence[Trial]) -> Table:
    running = [trial for trial in trials if trial.state == "running"]
    left = sum(trial.seconds_left or 0 for trial in running)
    title = f"Trials (at most {left / 60:.0f} min left)" if left else "Trials"
    names = _param_names(trials)
    rows = [
        (
            trial.number,
            *(number(trial.params[name]) for name in names),
            trial.state,
            trial.rung,
            trial.steps,
            format_or_dash(trial.validation_loss, "{:.4f}"),
            format_or_dash(trial.learning_rate, "{:.2g}"),
            f"{trial.seconds:.0f}",
            format_or_dash(trial.seconds_left if trial in running else None, "{:.0f}"),
        )
        for trial in trials
    ]
    return make_table(
        title,
        ["trial", *names, "state", "rung", "step", "loss", "rate now", "seconds", "left at most"],
        rows,
    )


def _param_names(trials: Sequence[Trial]) -> list[str]:
    """Rank and learning rate first, then what else was varied."""
    names = trials[0].params if trials else {}
    return sorted(names, key=lambda name: (name != "rank", name != "learning_rate", name))


def _seen(examples: int, of: int, epochs: float) -> str:
    """How much of the training data a run saw."""
    return f"{examples:,} of {of:,} examples seen, {epochs:.2g} epochs"


def _show_worse() -> None:
    console.print(
        "[bold red]No better than the base model: do not use it. Lower the learning rate, "
        "train longer, or look at the data.[/]"
    )
