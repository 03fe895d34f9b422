"""From curated data to a registered version: search, evaluate, register."""

from pathlib import Path

from flows.artifacts import following, show_sweep, show_verdict
from flows.evidence import evidence_files
from flows.progress import trial_table
from flows.ray import workers
from flows.round import SECTIONS, RoundInputs
from flows.steps import step
from tasks.collect import newest_labelled
from tasks.core.errors import BadInput
from tasks.decisions import Version
from tasks.evaluate import Evidence, Systems, Verdict, check_benchmarks, compare, model_card
from tasks.registry import Candidate, Registry, resolve_model
from tasks.reproduce import Made, record_recipe, record_source
from tasks.settings import Settings
from tasks.tune.sweep import SweepResult, Trial, selection_sentence, sweep, trial_folder


def make_candidate(inputs: RoundInputs) -> Version:
    """Train, evaluate and register what a round is to bring; go on where an earlier try ended.

    Raises:
        BadInput: the settings or the data cannot be used.
        PerpetuneError: a step failed.
    """
    record_source(inputs.recipe, inputs.settings)
    longest = 3600 * inputs.settings.platform.step_timeout_hours
    run_id = open_step(inputs)
    swept = sweep_step.with_options(timeout_seconds=longest)(inputs, run_id)
    verdict = evaluate_step.with_options(timeout_seconds=longest)(inputs, swept)
    return register_step(inputs, run_id, swept, verdict)


@step("open round", hours=0.25)
def open_step(inputs: RoundInputs) -> str:
    """The round's run in MLflow, below which its trials hang: its id."""
    plain = inputs.settings.plain()
    return Registry(inputs.settings).tracking.open_round(
        inputs.key,
        name=f"round {inputs.key}: {inputs.reason}",
        params={section: plain[section] for section in ("curate", *SECTIONS)},
        tags=inputs.lineage() | {"reason": inputs.reason},
        datasets=inputs.datasets,
    )


@step("sweep", tags=["training"])
def sweep_step(inputs: RoundInputs, run_id: str) -> SweepResult:
    """The search; each finished trial becomes a child run of the round."""
    # Or the round would fail after its longest step.
    check_benchmarks(inputs.settings)
    _others(inputs.settings)
    _champions(inputs.settings)
    registry = Registry(inputs.settings)

    def log_trial(trial: Trial, folder: Path) -> None:
        registry.tracking.log_trial(run_id, trial, folder, inputs.datasets)

    with trial_table() as show, following(inputs.settings) as follow:
        swept = sweep(
            inputs.data.folder,
            inputs.folder / "sweep",
            inputs.settings,
            on_trial=log_trial,
            on_progress=lambda trials: (show(trials), follow(trials))[0],
            workers=workers(inputs.settings),
        )
        follow(list(swept.trials))  # the search itself does not tell of its last trial's end
    show_sweep(inputs.settings, swept, inputs.folder / "sweep")
    return swept


@step("evaluate", tags=["training"])
def evaluate_step(inputs: RoundInputs, swept: SweepResult) -> Verdict:
    """The winner against the champion, or against the base where there is no champion yet."""
    systems, evidence = _systems(inputs, swept), _evidence(inputs, swept)
    verdict = compare(systems, evidence, inputs.folder / "evaluate", inputs.settings)
    show_verdict(inputs.settings, verdict, inputs.folder / "evaluate")
    return verdict


@step("register", hours=1)
def register_step(
    inputs: RoundInputs, run_id: str, swept: SweepResult, verdict: Verdict
) -> Version:
    """The winner as a version of the registered model, with its evidence."""
    registry = Registry(inputs.settings)
    lineage = inputs.lineage()
    card = model_card(verdict, inputs.settings, lineage | _choice(swept))
    recipe = record_recipe(inputs.recipe, _made(inputs, swept), inputs.settings)
    candidate = Candidate(
        adapter=swept.best.adapter,
        passed=verdict.passed,
        verdict=verdict.to_json(),
        card=card,
        artifacts=(*evidence_files(inputs), recipe),
        tags=lineage,
        metrics={"validation_loss": swept.best.validation_loss} | verdict.candidate.figures(),
    )
    return registry.register(run_id, inputs.key, candidate)


def _systems(inputs: RoundInputs, swept: SweepResult) -> Systems:
    """The winner beside the champion and the first version that was ever approved."""
    champion, first = _champions(inputs.settings)
    return Systems(
        candidate=swept.best.adapter,
        champion=champion,
        first=first,
        others=_others(inputs.settings),
    )


def _champions(settings: Settings) -> tuple[Path | None, Path | None]:
    """The adapters of the champion and, where that is another version, of the first champion.

    Raises:
        PerpetuneError: one of them is gone, or is not what was registered.
    """
    registry = Registry(settings)
    champion = registry.versions.champion()

    def adapter(number: int | None) -> Path | None:
        if number is None:
            return None
        return registry.versions.adapter(f"models:/{registry.name}/{number}")

    approved = [
        entry.version
        for entry in registry.history()
        if entry.action == "approve" and not entry.missing
    ]
    in_use = champion.number if champion else None
    first = approved[-1] if approved else None  # newest first
    return adapter(in_use), adapter(first if in_use not in (None, first) else None)


def _others(settings: Settings) -> dict[str, Path]:
    """The models of `evaluate.others`, by name.

    Raises:
        BadInput: there is no such model, or it is the base, which is compared in any case.
    """
    found = {}
    for name, model in settings.evaluate.others.items():
        folder = resolve_model(model, settings)
        if folder is None:
            raise BadInput(f"evaluate.others.{name}: the base is compared in any case")
        found[name] = folder
    return found


def _evidence(inputs: RoundInputs, swept: SweepResult) -> Evidence:
    """What the round knows of data and search."""
    data = inputs.data.folder
    return Evidence(
        train=data / "train.jsonl",
        validation=data / "validation.jsonl",
        trial=trial_folder(inputs.folder / "sweep", swept.best.number),
        trials=len(swept.trials),
        optimism=swept.selection.optimism,
        looks=_looks(inputs),
        window=newest_labelled(inputs.settings),
    )


def _looks(inputs: RoundInputs) -> int:
    """Earlier rounds, by the decision log, whose candidates were judged on a benchmark of this."""
    ours = set(inputs.benchmarks.split())
    standings = Registry(inputs.settings).versions.state().versions.values()
    return sum(
        standing.registration.round != inputs.key
        and not ours.isdisjoint(standing.registration.facts.get("benchmarks", "").split())
        for standing in standings
    )


def _made(inputs: RoundInputs, swept: SweepResult) -> Made:
    data = inputs.data
    sweep = inputs.folder / "sweep"
    return Made(inputs.key, swept, sweep, data.folder, data.raw_version, inputs.base)


def _choice(swept: SweepResult) -> dict[str, str]:
    """What the model card says of the chosen trial."""
    best = swept.best
    return {
        "trials": str(len(swept.trials)),
        **{name: str(value) for name, value in best.used_params.items()},
        "how sure that choice is": selection_sentence(swept.selection, best.validation_loss),
    }
