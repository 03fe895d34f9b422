"""Versions, decisions and the log in a terminal."""

from pathlib import Path

from perpetune.platform.results import Diagnosis, ProjectStatus
from perpetune.render.console import command_line, console, escape, print_table, program
from tasks.decisions import Decision, Entry, Review
from tasks.registry import Audit, Pending
from tasks.watch import WatchState


def show_status(status: ProjectStatus) -> None:
    """Aliases and what waits."""
    aliases = {
        "champion": status.champion,
        "challenger": status.challenger,
        "previous": status.previous,
    }
    rows = [(alias, version or "-") for alias, version in aliases.items()]
    print_table(status.model, ["alias", "version"], rows)
    for pending in status.pending:
        _show_pending(pending)
    platform = status.platform
    if platform and platform.running:
        console.print(f"platform: {', '.join(platform.running)} at {platform.prefect_url}")
    elif platform:
        console.print(f"platform: it does not run any more: {program()} up")
    if status.watch:
        _show_traffic(status.watch)
    if status.models:
        console.print(f"models of their own (--model NAME): {', '.join(status.models)}")
    for warning in status.warnings:
        console.print(f"[red]{escape(warning)}[/]")


def _show_traffic(watch: WatchState) -> None:
    if watch.window:
        found = f"{escape(Path(watch.window).name)} is {watch.status} ({watch.at})"
        console.print(f"traffic: {watch.windows} looks, the newest: {found}")
    if watch.alarm:
        console.print(f"[red]{escape(watch.alarm)}[/]: no round has answered yet")


def _show_pending(pending: Pending) -> None:
    number = pending.version
    console.print(f"version {number} waits: {command_line(f'approve {number} --by NAME')}")
    console.print(f"  gates {pending.verdict}, digest {pending.digest[:12]}")
    for review in pending.reviews:
        console.print(f"  reviewed by {escape(review.by)}: {_marks(review)}")
    if pending.approvals:
        names = ", ".join(map(escape, pending.approvals))
        console.print(f"  approved by {names}; approvals missing: {pending.missing}")


def _marks(review: Review) -> str:
    p_value = "" if review.p_value is None else f", p = {review.p_value:.3g}"
    return f"{review.wins} better, {review.ties} alike, {review.losses} worse{p_value}"


def show_decision(decision: Decision) -> None:
    """What was decided, and where each alias is now."""
    console.print(
        f"{decision.action} version {decision.version} by {escape(decision.by)}: "
        + ", ".join(f"{alias} = {version}" for alias, version in decision.after)
    )
    if decision.override:
        console.print(f"[red]against its gates[/]: {escape(decision.override)}")
    if decision.missing:
        console.print(f"approvals missing before it becomes champion: {decision.missing}")
    if decision.identity == "claimed":
        console.print("recorded as a claim: MLflow has no accounts, nobody has checked the name")


def show_audit(audit: Audit) -> None:
    """The log, entry by entry, and whether it holds."""
    rows = [
        (entry.number, entry.action, entry.version, _person(entry), _words(entry), entry.at)
        for entry in audit.entries
    ]
    columns = ["entry", "action", "version", "by", "what", "at (clock of the machine)"]
    print_table(f"decision log of {audit.model}", columns, rows)
    console.print(f"kept in {escape(audit.log)}")
    console.print(f"last entry: {escape(audit.head) or 'none'}")
    for note in audit.notes:
        console.print(f"[yellow]{escape(note)}[/]")
    for problem in audit.problems:
        console.print(f"[red]{escape(str(problem))}[/]")
    if audit.holds:
        console.print("the log holds, and MLflow agrees with it")
    else:
        console.print(f"[red]does not hold[/]: {len(audit.problems)} problems")


def show_history(entries: list[Entry]) -> None:
    """What people have decided, newest first."""
    rows = [
        (entry.number, entry.action, entry.version, _person(entry), _words(entry), entry.at)
        for entry in entries
    ]
    print_table("decisions", ["entry", "action", "version", "by", "what", "at"], rows)


def _person(entry: Entry) -> str:
    return entry.by if entry.identity == "authenticated" else f"{entry.by} (claimed)"


def _words(entry: Entry) -> str:
    parts = []
    if entry.registration:
        parts.append(f"gates {entry.registration.outcome}, {entry.registration.digest[:12]}")
    if entry.review:
        parts.append(_marks(entry.review))
    if entry.override:
        parts.append(f"AGAINST ITS GATES: {entry.override}")
    if entry.missing:
        parts.append(f"approvals missing: {entry.missing}")
    return "; ".join([*parts, *([entry.comment] if entry.comment else [])])


def show_diagnosis(found: Diagnosis) -> None:
    """Each check, what was put right, and what is left."""
    for check in found.checks:
        word = "[red]wrong[/]" if check.problems else "[green]in order[/]"
        console.print(f"{escape(check.name)}: {word} ({escape(check.label)})")
        for sentence in check.done:
            console.print(f"  put right: {escape(sentence)}")
        for problem in (*check.problems, *check.advice):
            console.print(f"  {escape(problem.what)}")
            console.print(f"    → {escape(problem.remedy)}")
