"""The `perpetune` command: reads arguments, calls one function, shows what it returns.

Every command takes `--params`, `--set` and `--json`; how it ends is in `perpetune.cli.endings`.
"""

import functools
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from flows import environment
from perpetune.cli.endings import Outcome, run_to_end
from perpetune.render import terminal
from tasks.core.errors import BadInput
from tasks.settings import Settings, load_settings


@dataclass(frozen=True)
class Context:
    """The options that every command shares."""

    settings: Settings
    params: str
    overrides: list[str]


class _Commands(click.Group):
    """Ends every command in the same way, whatever happens; see `perpetune.cli.endings`."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> Any:
        """Run a command and exit; without `standalone_mode`, give back its `Outcome`."""
        given = list(sys.argv[1:] if args is None else args)
        own = {"prog_name": "perpetune", "standalone_mode": False}
        call = partial(super().main, given, **(options | own))
        if not options.get("standalone_mode", True):
            return call()
        sys.exit(run_to_end(call, given))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="perpetune")
def main() -> None:
    """Continuous fine-tuning you can audit: curate, sweep, judge, approve, watch."""


class _Command(click.Command):
    """Lets `--against A B C` take every value up to the next option, as the contract writes it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        greedy = False
        for argument in args:
            if argument.startswith("-"):
                greedy = False
            elif greedy and spread[-1] != "--against":
                spread.append("--against")
            greedy = greedy or argument == "--against"
            spread.append(argument)
        return super().parse_args(ctx, spread)


def command(name: str) -> Callable[[Callable[..., Outcome]], click.Command]:
    """A command of `main` with the shared options; its function gets a `Context` first."""

    def wrap(function: Callable[..., Outcome]) -> click.Command:
        @main.command(name, cls=_Command)
        @click.option(
            "--params",
            "params",
            default="params.yaml",
            metavar="FILE",
            show_default=True,
            help="Settings.",
        )
        @click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override a setting; repeatable.",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
        @functools.wraps(function)
        def run(
            params: str, overrides: tuple[str, ...], as_json: bool, **arguments: Any
        ) -> Outcome:
            del as_json  # whoever ends the command has seen it
            # Ended politely, so that Prefect's temporary server ends, too.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            settings = load_settings(Path(params), overrides)
            environment.log_to_stderr()
            environment.prepare(settings)
            return function(Context(settings, params, list(overrides)), **arguments)

        return run

    return wrap


_path = click.Path(path_type=Path)


@command("collect")
@click.argument("inputs", nargs=-1)
@click.option(
    "--role",
    type=click.Choice(["train", "benchmarks", "traffic"]),
    default="train",
    show_default=True,
    help="What these inputs are.",
)
@click.option(
    "--add", is_flag=True, help="Add to the files of that role instead of replacing them."
)
@click.option("--split", default="train", show_default=True, help="Split of a hub data set.")
@click.option("--out", type=_path, default=Path("data"), show_default=True)
@click.option("--record", "accept", is_flag=True, help="Record the data's version in data.dvc.")
@click.option("--manifest", type=_path, help="Write the files' hashes there (the DVC stage does).")
def collect(
    context: Context,
    inputs: tuple[str, ...],
    role: Any,
    add: bool,
    split: str,
    out: Path,
    accept: bool,
    manifest: Path | None,
) -> Outcome:
    """Build data/: the embedded default, or your own INPUTS (files, folders, globs, hub:ID)."""
    from flows.data import POINTER
    from tasks import collect as room
    from tasks.core import files

    if inputs:
        room.collect_files(list(inputs), out, role, add=add, split=split)
        hashes = files.file_hashes(out)
    elif accept and out.is_dir():
        hashes = files.file_hashes(out)
    elif accept or not POINTER.is_file() or out != Path("data"):
        hashes = room.collect_embedded(context.settings, out)
    else:
        hashes = room.ensure(context.settings, out, POINTER)
    if accept:
        room.record(out, POINTER)
    if manifest:
        files.write_json(manifest, hashes)
    version = room.data_version(POINTER)
    recorded = version == files.folder_hash(hashes)
    value = {"folder": str(out), "version": version, "recorded": recorded, "files": hashes}
    return Outcome(value, terminal.show_collected)


@command("curate")
@click.argument("inputs", nargs=-1)
@click.option(
    "--against", multiple=True, metavar="BENCH...", help="Benchmarks, up to the next option."
)
@click.option("--out", type=_path, required=True, help="Folder for the output files.")
@click.option("--metrics", type=_path, help="Also write the counts there, without timings.")
@click.option(
    "--engine",
    type=click.Choice(["native", "ray"]),
    default="native",
    show_default=True,
    help="Where the work is done: on this machine, or on the Ray cluster of RAY_ADDRESS.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="Processes; 0 or nothing: one for each CPU. The output does not depend on it.",
)
def curate(
    context: Context,
    inputs: tuple[str, ...],
    against: tuple[str, ...],
    out: Path,
    metrics: Path | None,
    engine: Literal["native", "ray"],
    workers: int,
) -> Outcome:
    """Clean, deduplicate, decontaminate and split INPUTS (without any: those of params.yaml)."""
    from flows.data import training_sources
    from tasks.core import files
    from tasks.curate import curate as run

    settings = context.settings
    # Inputs of one's own are held against benchmarks of one's own, not against the default's.
    benchmarks = list(against) if inputs or against else settings.curate.against
    sources = list(inputs) or training_sources(settings)
    report = run(sources, benchmarks, out, settings, on=engine, workers=workers)
    if metrics:
        files.write_json(metrics, {key: report[key] for key in ("in", "kept", "dropped")})
    return Outcome(report, terminal.show_curated)


@command("train")
@click.option("--data", type=_path, required=True, help="Folder with train and validation.jsonl.")
@click.option("--out", type=_path, required=True)
@click.option("--plots", type=_path, metavar="DIR", help="Also write the curves for DVC's plots.")
def train(context: Context, data: Path, out: Path, plots: Path | None) -> Outcome:
    """Train the one configuration of params.yaml; OUT/best is a plain PEFT adapter or model."""
    from tasks.core import files
    from tasks.tune.train import train as run

    metrics = run(data, out, context.settings)
    if plots:
        # DVC wants the same fields in every row, and most steps have no validation loss.
        curve = files.read_jsonl(out / "curve.jsonl")
        for name in ("train_loss", "validation_loss", "learning_rate"):
            rows = [{"step": row["step"], name: row[name]} for row in curve if name in row]
            files.write_json(plots / f"{name}.json", rows)
    return Outcome(metrics, terminal.show_training)


@command("sweep")
@click.option("--data", type=_path, required=True, help="Folder with train and validation.jsonl.")
@click.option("--out", type=_path, required=True)
def sweep(context: Context, data: Path, out: Path) -> Outcome:
    """Search rank × learning rate; OUT/best is the winner, a plain PEFT adapter or model."""
    from tasks.tune.sweep import sweep as run

    elsewhere = None
    if context.settings.sweep.engine != "native":
        from flows.workers import workers

        elsewhere = workers(context.settings)
    with terminal.live_trials() as show:
        result = run(data, out, context.settings, on_progress=show, workers=elsewhere)
    return Outcome(result, terminal.show_sweep)


@command("plan")
@click.option("--data", type=_path, required=True, help="Folder with train and validation.jsonl.")
def plan(context: Context, data: Path) -> Outcome:
    """Predict memory, time and cost of every method, and advise one."""
    from tasks.tune.plan import plan as run

    return Outcome(run(data, context.settings), terminal.show_plan)


@command("evaluate")
@click.argument("model")
@click.option("--data", type=_path, multiple=True, required=True, help="Held-out data; repeatable.")
@click.option("--out", type=_path, help="Folder for the figures of every example.")
def evaluate(context: Context, model: str, data: tuple[Path, ...], out: Path | None) -> Outcome:
    """Measure MODEL: a folder that training wrote, models:/name@alias, or base."""
    from tasks.core.files import content_key
    from tasks.evaluate import evaluate as run

    adapter = None
    if model.startswith("models:/"):
        from tasks.registry import Registry

        adapter = Registry(context.settings).adapter(model)
    elif model != "base":
        adapter = Path(model)
        if not adapter.is_dir():
            raise BadInput(
                f"{model}: no such adapter folder; also possible: models:/name@alias, base"
            )
    if out is None:
        key = content_key(model, [str(path) for path in data])
        out = context.settings.project.state_dir / "evaluated" / key
    return Outcome(run(adapter, list(data), out, context.settings), terminal.show_evaluation)


@command("run")
@click.option("--auto-approve", is_flag=True, help="Approve a candidate that passed its gates.")
@click.option("--reason", default="on demand", show_default=True, help="Shown to the reviewer.")
def run(context: Context, auto_approve: bool, reason: str) -> Outcome:
    """The main job: from raw data to a candidate that waits for a person's approval."""
    from flows.retrain import retrain

    value = retrain(context.params, context.overrides, reason, auto_approve)
    passed = value["verdict"] is None or value["verdict"]["passed"]
    return Outcome(value, terminal.show_round, exit_code=0 if passed else 3)


@command("status")
def status(context: Context) -> Outcome:
    """Champion, challenger, previous, and what waits for a decision."""
    from flows.running import platform_state
    from tasks.registry import Registry

    value = Registry(context.settings).status()
    return Outcome(value | {"platform": platform_state(context.settings)}, terminal.show_status)


def _decide(context: Context, action: str, *arguments: Any) -> Outcome:
    from tasks.registry import Registry

    decision = getattr(Registry(context.settings), action)(*arguments)
    return Outcome(asdict(decision), terminal.show_decision)


_by = click.option("--by", required=True, metavar="NAME", help="Who decides; recorded.")
_comment = click.option("--comment", default="", help="Why; recorded.")


@command("approve")
@click.argument("version", type=int)
@_by
@_comment
def approve(context: Context, version: int, by: str, comment: str) -> Outcome:
    """Make VERSION the champion; the champion so far becomes `previous`."""
    return _decide(context, "approve", version, by, comment)


@command("reject")
@click.argument("version", type=int)
@_by
@_comment
def reject(context: Context, version: int, by: str, comment: str) -> Outcome:
    """Decline VERSION; the champion stays."""
    return _decide(context, "reject", version, by, comment)


@command("rollback")
@_by
@_comment
def rollback(context: Context, by: str, comment: str) -> Outcome:
    """Make the previous champion the champion again."""
    return _decide(context, "rollback", by, comment)


@command("drift")
@click.option("--reference", type=_path, required=True, help="What the model was trained on.")
@click.option("--current", type=_path, required=True, help="New traffic.")
@click.option("--report", type=_path, metavar="FILE.html", help="Also write Evidently's report.")
def drift(context: Context, reference: Path, current: Path, report: Path | None) -> Outcome:
    """Test whether CURRENT differs from REFERENCE; exit code 0 either way."""
    from tasks.drift import detect

    return Outcome(detect(reference, current, context.settings, report=report), terminal.show_drift)


@command("watch")
@click.argument("windows", nargs=-1)
@click.option("--retrain", "retrain_here", is_flag=True, help="Answer drift with a round, here.")
@click.option("--auto-approve", is_flag=True, help="Approve that round's candidate if it passes.")
def watch(
    context: Context, windows: tuple[str, ...], retrain_here: bool, auto_approve: bool
) -> Outcome:
    """Check new windows of traffic (WINDOWS, or those in watch.traffic) for drift."""
    from flows.watch import watch as run

    value = run(
        context.params, context.overrides, list(windows) or None, retrain_here, auto_approve
    )
    return Outcome(value, terminal.show_watch)


@command("up")
def up(context: Context) -> Outcome:
    """Start the local platform: Prefect and MLflow servers, a worker, the deployments."""
    from flows.platform import up as run

    return Outcome(run(context.settings), terminal.show_platform)


@command("down")
def down(context: Context) -> Outcome:
    """Stop the local platform; its state stays."""
    from flows.platform import down as run

    return Outcome(run(context.settings), terminal.show_stopped)


if __name__ == "__main__":
    main()
