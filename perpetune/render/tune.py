"""Training, sweeps and plans in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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


def show_training(metrics: dict[str, Any]) -> None:
    """What a run has come to."""
    console.print(
        f"validation loss {metrics['validation_loss']:.4f} after {metrics['steps']} steps; "
        f"the base's {metrics['initial_validation_loss']:.4f}"
    )
    console.print(
        f"{_of_data(metrics)}; {metrics['tokens_trained']:,} tokens in {metrics['seconds']:.0f} s"
    )
    _show_worse(metrics)
    console.print(escape(metrics["adapter"]), soft_wrap=True)
    show_warnings(metrics.get("warnings", []))


def show_sweep(result: dict[str, Any]) -> None:
    """Every trial, the best one marked."""
    from tasks.tune.sweep import selection_sentence

    names = _varied(result["trials"])
    best = result["best"]["number"] if result.get("best") else None
    rows = [
        (
            trial["number"],
            *(number(trial["params"][name]) for name in names),
            trial["state"],
            trial["steps"],
            number(trial["validation_loss"]),
            f"{trial['seconds']:.0f}",
            "best" if trial["number"] == best else trial.get("reason") or "",
        )
        for trial in result["trials"]
    ]
    columns = ["trial", *names, "state", "steps", "validation loss", "seconds", ""]
    print_table("Trials", columns, rows)
    if "initial_validation_loss" in result:
        console.print(f"The base's validation loss is {result['initial_validation_loss']:.4f}.")
    if "examples_seen" in result:
        console.print(f"A whole trial: {_of_data(result)}.")
    if "choices" in (result.get("selection") or {}):  # not in older files
        console.print(selection_sentence(result["selection"], result["best"]["validation_loss"]))
    for spread in result.get("seeds", []):
        losses = ", ".join(
            "failed" if loss is None else f"{loss:.4f}" for loss in spread["validation_losses"]
        )
        console.print(
            f"trial {spread['number']} from {len(spread['validation_losses'])} seeds: {losses}"
        )
    _show_worse(result)
    show_warnings(result.get("warnings", []))


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
def live_trials() -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A table of all trials that follows a sweep; where nobody watches, nothing."""
    stderr = Console(stderr=True, highlight=False)
    if not stderr.is_terminal:
        yield lambda _: None
        return
    with Live(console=stderr, refresh_per_second=4, transient=True) as live:
        yield lambda trials: live.update(_standing(trials))


def _standing(trials: list[dict[str, Any]]) -> Table:
    left = sum(trial.get("seconds_left", 0) for trial in trials if trial["state"] == "running")
    title = f"Trials (at most {left / 60:.0f} min left)" if left else "Trials"
    names = _varied(trials)
    rows = [
        (
            trial["number"],
            *(number(trial["params"][name]) for name in names),
            trial["state"],
            trial["rung"],
            trial["steps"],
            "-" if trial["validation_loss"] is None else f"{trial['validation_loss']:.4f}",
            f"{trial['learning_rate']:.2g}" if "learning_rate" in trial else "-",
            f"{trial['seconds']:.0f}",
            f"{trial['seconds_left']:.0f}"
            if "seconds_left" in trial and trial["state"] == "running"
            else "-",
        )
        for trial in trials
    ]
    return make_table(
        title,
        ["trial", *names, "state", "rung", "step", "loss", "rate now", "seconds", "left at most"],
        rows,
    )


def _varied(trials: list[dict[str, Any]]) -> list[str]:
    """What a person looks for first, then whatever else was varied."""
    found = trials[0]["params"] if trials else {}
    return sorted(found, key=lambda name: (name != "rank", name != "learning_rate", name))


def _of_data(metrics: dict[str, Any]) -> str:
    """What share of the training data the run saw."""
    return (
        f"{metrics['examples_seen']:,} of {metrics['train_examples']:,} examples seen, "
        f"{metrics['epochs']:.2g} epochs"
    )


def _show_worse(result: dict[str, Any]) -> None:
    if result.get("worse_than_base"):
        console.print(
            "[bold red]No better than the base model: do not use it. Lower the learning rate, "
            "train longer, or look at the data.[/]"
        )
