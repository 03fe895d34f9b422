"""How results look in a terminal: tables and the commands that come next."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import markup
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tasks.rendering.markdown import one_line, visible


class _Terminal(Console):
    """Shows the control characters of what is printed: data, models and people may say anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = [visible(item) if isinstance(item, str) else item for item in objects]
        super().print(*shown, **options)


_console = _Terminal(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def escape(text: str) -> str:
    """`text` on one line, without markup or control characters of its own."""
    return markup.escape(one_line(text))


def show_plain(value: dict[str, Any]) -> None:
    """Names and values, one a line."""
    for key, item in value.items():
        if isinstance(item, float):
            item = f"{item:.4g}"
        _console.print(f"[bold]{escape(str(key))}[/]  {escape(str(item))}")


def show_collected(value: dict[str, Any]) -> None:
    """What stands in data/ now."""
    for name in value["files"]:
        _console.print(escape(f"{value['folder']}/{name}"))
    if value["recorded"]:
        _console.print(f"version [bold]{escape(str(value['version']))}[/] (data.dvc)")
    else:
        _console.print(f"not in data.dvc yet: {_me()} collect --record")


def show_curated(report: dict[str, Any]) -> None:
    """The ledger in short: what came in, what was kept, what was dropped and why."""
    kept = report["kept"]
    rows = [("in", report["in"], "")]
    rows += [
        (f"kept: {split}", count, _share(count, report["in"])) for split, count in kept.items()
    ]
    rows += [
        (f"dropped: {reason}", count, _share(count, report["in"]))
        for reason, count in sorted(report["dropped"].items(), key=lambda item: -item[1])
    ]
    _table("Data", ["records", "count", "share"], rows)
    for sentence in report.get("alarms", []):
        _console.print(f"[yellow]warning[/] {escape(str(sentence))}")
    for sentence in report.get("remarks", []):
        _console.print(f"[dim]remark[/] {escape(str(sentence))}")


@contextmanager
def live_trials() -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A table of all trials that follows a sweep; where nobody watches, nothing."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda trials: live.update(_standing(trials))


def _standing(trials: list[dict[str, Any]]) -> Table:
    left = sum(trial.get("seconds_left", 0) for trial in trials if trial["state"] == "running")
    title = f"Trials (at most {left / 60:.0f} min left)" if left else "Trials"
    names = _varied(trials)
    rows = [
        (
            trial["number"],
            *(_number(trial["params"][name]) for name in names),
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
    return _made_table(
        title,
        ["trial", *names, "state", "rung", "step", "loss", "rate now", "seconds", "left at most"],
        rows,
    )


def _varied(trials: list[dict[str, Any]]) -> list[str]:
    """What a person looks for first, then whatever else was varied."""
    found = trials[0]["params"] if trials else {}
    return sorted(found, key=lambda name: (name != "rank", name != "learning_rate", name))


def show_training(metrics: dict[str, Any]) -> None:
    """What a run has come to."""
    _console.print(
        f"validation loss {metrics['validation_loss']:.4f} after {metrics['steps']} steps; "
        f"the base's {metrics['initial_validation_loss']:.4f}"
    )
    _console.print(
        f"{_of_data(metrics)}; {metrics['tokens_trained']:,} tokens in {metrics['seconds']:.0f} s"
    )
    _show_worse(metrics)
    _console.print(escape(metrics["adapter"]), soft_wrap=True)
    _show_warnings(metrics)


def _of_data(metrics: dict[str, Any]) -> str:
    """What share of the training data the run saw."""
    return (
        f"{metrics['examples_seen']:,} of {metrics['train_examples']:,} examples seen, "
        f"{metrics['epochs']:.2g} epochs"
    )


def _show_worse(result: dict[str, Any]) -> None:
    if result.get("worse_than_base"):
        _console.print(
            "[bold red]No better than the base model: do not use it. Lower the learning rate, "
            "train longer, or look at the data.[/]"
        )


def _show_warnings(result: dict[str, Any]) -> None:
    for warning in result.get("warnings", []):
        _console.print(f"[yellow]warning[/] {escape(str(warning))}")


def show_sweep(result: dict[str, Any]) -> None:
    """Every trial, the best one marked."""
    from tasks.tune.sweep import selection_sentence

    names = _varied(result["trials"])
    best = result["best"]["number"] if result.get("best") else None
    rows = [
        (
            trial["number"],
            *(_number(trial["params"][name]) for name in names),
            trial["state"],
            trial["steps"],
            _number(trial["validation_loss"]),
            f"{trial['seconds']:.0f}",
            "best" if trial["number"] == best else trial.get("reason") or "",
        )
        for trial in result["trials"]
    ]
    columns = ["trial", *names, "state", "steps", "validation loss", "seconds", ""]
    _table("Trials", columns, rows)
    if "initial_validation_loss" in result:
        _console.print(f"The base's validation loss is {result['initial_validation_loss']:.4f}.")
    if "examples_seen" in result:
        _console.print(f"A whole trial: {_of_data(result)}.")
    if "choices" in (result.get("selection") or {}):  # not in older files
        _console.print(selection_sentence(result["selection"], result["best"]["validation_loss"]))
    for spread in result.get("seeds", []):
        losses = ", ".join(
            "failed" if loss is None else f"{loss:.4f}" for loss in spread["validation_losses"]
        )
        _console.print(
            f"trial {spread['number']} from {len(spread['validation_losses'])} seeds: {losses}"
        )
    _show_worse(result)
    _show_warnings(result)


def show_plan(result: dict[str, Any]) -> None:
    """What each method would take, the advised one marked, and why."""
    advised = result["advice"]["method"]
    paid = result["machine"]["price_per_hour"] > 0
    rows = [
        (
            method["method"],
            _unless_none(method["trainable_parameters"], "{:,}"),
            _unless_none(method["trainable_share"], "{:.2%}"),
            _unless_none(method["memory_bytes"] and method["memory_bytes"] / 1e9, "{:.2f} GB"),
            {True: "yes", False: "no", None: "?"}[method["fits"]],
            _unless_none(method["seconds"], "{:,.0f} s"),
            *([_unless_none(method["cost"], "{:.2f}")] if paid else []),
            "advised" if method["method"] == advised else "",
        )
        for method in result["methods"]
    ]
    columns = ["method", "trained", "share", "memory", "fits", "time", *(["cost"] if paid else [])]
    model, data, machine = result["model"], result["data"], result["machine"]
    _table(f"Plan for {model['name']}", [*columns, ""], rows)
    _console.print(
        f"{data['examples']:,} examples of {data['tokens']:,} tokens, {data['targets']:,} of them "
        f"learned; {data['steps']:,} steps see {data['examples_seen']:,} of the examples "
        f"({data['epochs']:.2g} epochs); {machine['memory_budget_bytes'] / 1e9:.1f} GB to use, "
        f"{machine['cores']} cores, {escape(machine['accelerator'] or 'no accelerator')}, "
        f"{machine['dtype']}"
    )
    if model["loss"] is not None:
        _console.print(
            f"the base loses {model['loss']:.2f} nats a token on the answers; some "
            f"{model['usual_loss']:.2f} on common text is usual for its size"
        )
    elif model.get("loss_unknown"):
        _console.print(
            f"the base's loss, and the time, are unknown: {escape(model['loss_unknown'])}"
        )
    _show_warnings(data)
    _console.print(f"\n[bold]Advice: {escape(advised or 'none of them')}[/]")
    for reason in result["advice"]["reasons"]:
        _console.print(f"  because {escape(reason)}")
    for other in result["advice"]["instead"]:
        _console.print(f"  or      {escape(other)}")
    for method in result["methods"]:
        if method["memory_bytes"] is None or method["method"] == advised:
            for line in method["notes"] + (method["memory_arithmetic"] or []):
                _console.print(f"[dim]{escape(method['method'])}  {escape(line)}[/]")
    _console.print(f"[dim]{result['seconds']:.0f} s; every part of every method: --json[/]")


def show_evaluation(result: dict[str, Any]) -> None:
    """Metrics with their intervals, a row a benchmark and metric."""
    rows = [
        (benchmark, metric, _interval(values[metric]))
        for benchmark, values in result["benchmarks"].items()
        for metric in ("loss", "perplexity", "rouge_l", "exact_match")
        if values.get(metric)
    ]
    _table(f"Evaluation of {result['model']}", ["benchmark", "metric", "value"], rows)


def show_round(value: dict[str, Any]) -> None:
    """The whole round, and the commands that come next."""
    from tasks.evaluate import comparison

    show_curated(value["data"])
    if value["sweep"]:
        show_sweep(value["sweep"])
    verdict = value["verdict"]
    if verdict:
        rows = comparison(verdict)
        models = [m for m in ("base", "champion", "candidate") if verdict["models"].get(m)]
        _table(
            "Champion against candidate" if "champion" in models else "Base against candidate",
            ["benchmark", "metric", *models],
            [
                (row["benchmark"], row["metric"], *(_interval(row[m]) for m in models))
                for row in rows
            ],
        )
        for gate in verdict["gates"]:
            mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
            _console.print(f"{mark}  {escape(gate['name'])}: {escape(gate['reason'])}")
    if not value["new"]:
        _console.print(
            f"\nNothing has changed since version {value['version']}: nothing registered."
        )
    _next_commands(value)


def _next_commands(value: dict[str, Any]) -> None:
    status, version, me = value["status"], value["version"], _me()
    waiting = [item["version"] for item in status["pending"]]
    _console.print()
    if version in waiting:
        _console.print(f"[bold]Version {version} of {status['model']} waits for your decision.[/]")
    elif status["champion"] == version:
        _console.print(f"[bold]Version {version} of {status['model']} is the champion.[/]")
    else:
        _console.print(
            f"[bold]Version {version} of {status['model']} did not become a candidate.[/]"
        )
    review = Path(value["folder"]) / "judge" / "review.html"
    _console.print(f"  look       {escape(str(review))}   or   {me} up", soft_wrap=True)
    _console.print(f"  approve    {me} approve {version} --by NAME", soft_wrap=True)
    _console.print(f"  roll back  {me} rollback --by NAME", soft_wrap=True)
    _console.print(f"[dim]{value['seconds']:.0f} s[/]")


def show_status(status: dict[str, Any]) -> None:
    """Aliases and what waits."""
    rows = [(alias, status[alias] or "-") for alias in ("champion", "challenger", "previous")]
    _table(status["model"], ["alias", "version"], rows)
    for item in status["pending"]:
        _console.print(
            f"version {item['version']} waits: {_me()} approve {item['version']} --by NAME"
        )
    platform = status.get("platform")
    if platform and platform["running"]:
        _console.print(f"platform: {', '.join(platform['running'])} at {platform['prefect_url']}")
    if platform and platform["gone"]:
        _console.print(f"platform: {', '.join(platform['gone'])} no longer run: {_me()} up")
    for warning in status.get("warnings", []):
        _console.print(f"[red]{escape(str(warning))}[/]")


def show_decision(decision: dict[str, Any]) -> None:
    """What was decided, and what stands where now."""
    _console.print(
        f"{decision['action']} version {decision['version']} by {escape(decision['by'])}: "
        + ", ".join(f"{alias} = {version}" for alias, version in decision["after"].items())
    )


def show_drift(result: dict[str, Any]) -> None:
    """The verdict, its tests, and which words moved."""
    color = "red" if result["drift"] else "green"
    word = "drift" if result["drift"] else "no drift"
    _console.print(f"[{color}]{word}[/]  p = {result['p_value']:.4g}, alpha = {result['alpha']}")
    rows = [
        (t["name"], _number(t["statistic"]), _number(t["p_value"]), _number(t["threshold"]))
        for t in result["tests"]
    ]
    _table("Tests", ["test", "statistic", "p", "threshold"], rows)


def show_watch(value: dict[str, Any]) -> None:
    """The windows, and the round that drift started."""
    rows = [
        (
            Path(window["window"]).name,
            window["rows"]["current"],
            f"{window['p_value']:.4g}",
            "DRIFT" if window["drift"] else "no drift",
            window["report"],
        )
        for window in value["windows"]
    ]
    _table("Windows", ["window", "rows", "p", "verdict", "report"], rows)
    if value["retrain"]:
        show_round(value["retrain"])


def show_platform(platform: dict[str, Any]) -> None:
    """Where to look."""
    _console.print(f"Prefect  {platform['sign_in_url']}", soft_wrap=True)
    _console.print(f"         sign in with the line in {escape(platform['credential'])}")
    _console.print(f"MLflow   {platform['mlflow_url']}", soft_wrap=True)
    _console.print(f"stop with  {_me()} down")


def show_stopped(value: dict[str, Any]) -> None:
    """What was ended."""
    if value["stopped"]:
        _console.print(f"stopped: {', '.join(value['stopped'])}")
    if value["gone"]:
        _console.print(f"were not running any more: {', '.join(value['gone'])}")
    if not value["stopped"] and not value["gone"]:
        _console.print("no platform was running")


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    _console.print(_made_table(title, columns, rows))


def _made_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def _interval(value: dict[str, float] | None) -> str:
    if not value:
        return "-"
    form = ".3f" if max(value.values()) < 1e6 else ".3g"
    low, middle, high = (format(value[name], form) for name in ("low", "value", "high"))
    return f"{middle} [{low}, {high}]"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _unless_none(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else ""


def _me() -> str:
    """How the user can call this program again from where they stand."""
    if shutil.which("perpetune"):
        return "perpetune"
    here = Path(sys.argv[0])
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
