"""The description of a version on its page in the registry."""

from collections.abc import Mapping

from tasks.evaluate.metrics import selected
from tasks.evaluate.pages.shown import shown_verdict
from tasks.evaluate.pages.table import shown_rows
from tasks.evaluate.results import Verdict
from tasks.rendering.templates import render
from tasks.settings import Settings
from tasks.tune.methods import METHODS


def model_card(verdict: Verdict, settings: Settings, facts: Mapping[str, str]) -> str:
    """Describe a candidate in Markdown, in the spirit of Mitchell et al. 2019, "Model Cards".

    Args:
        verdict: from `compare`.
        settings: the run's.
        facts: what else to tell, by its name: data version, commit and so on. A fact named like a
            setting of `tune` (rank, learning_rate, …) replaces it: a sweep chose another value.

    Returns:
        Markdown in which no value can become markup.
    """
    tune = settings.tune.short()
    tune.pop("source_weights")
    training = {name: facts.get(name, value) for name, value in tune.items()}
    method = METHODS.get(training["method"])
    results = verdict.candidate.benchmarks.values()
    measured = {name for result in results for name, score in result.scores.items() if score}
    metrics = [m for m in selected(settings.evaluate.metrics) if m.name in measured]
    return render(
        "tasks.evaluate.pages",
        "card.md.j2",
        name=settings.project.name,
        base=settings.base.model,
        revision=settings.base.revision,
        base_path=repr(settings.base.model.replace("package:", "path/to/")),
        base_is_package=settings.base.model.startswith("package:"),
        loading=_loading(settings),
        trust=_trust(settings),
        method=method,
        whole=method.writes == "model",
        verdict=verdict,
        **shown_verdict(verdict),
        confidence=f"{100 * settings.evaluate.confidence:g}%",
        models=list(verdict.models),
        table=shown_rows(verdict),
        caveats=[metric.caveat for metric in metrics if metric.caveat],
        training=training,
        facts={name: value for name, value in facts.items() if name not in tune},
        options=settings.evaluate,
    )


def _loading(settings: Settings) -> str:
    arguments = ""
    if settings.base.revision:
        arguments += f", revision={settings.base.revision!r}"
    return arguments + _trust(settings)


def _trust(settings: Settings) -> str:
    return ", trust_remote_code=True" if settings.base.trust_remote_code else ""
