"""The description of a version on its page in the registry."""

from collections.abc import Mapping
from typing import Any

from tasks.evaluate.comparison import MODELS
from tasks.evaluate.review import figures
from tasks.rendering.templates import render
from tasks.settings import Settings

# Methods that give a whole model instead of an adapter.
_WHOLE = ("full", "feature_extraction")


def model_card(verdict: Mapping[str, Any], settings: Settings, facts: Mapping[str, str]) -> str:
    """Describe a candidate in Markdown, in the spirit of Mitchell et al. 2019, "Model Cards".

    Args:
        verdict: see `judge`.
        settings: the run's.
        facts: what else to tell, by its name: data version, commit and so on. A fact named like a
            setting of `tune` (rank, learning_rate, …) replaces it: a sweep chose another value.

    Returns:
        Markdown in which no value can become markup.
    """
    models = [name for name in MODELS if name in verdict["models"]]
    tune = settings.tune.model_dump(mode="json", exclude={"mix"})
    training = {name: facts.get(name, value) for name, value in tune.items()}
    return render(
        "tasks.evaluate",
        "card.md.j2",
        name=settings.project.name,
        base=settings.base.model,
        revision=settings.base.revision,
        base_path=repr(settings.base.model.replace("package:", "path/to/")),
        base_is_package=settings.base.model.startswith("package:"),
        loading=_loading(settings),
        trust=_trust(settings),
        whole=training["method"] in _WHOLE,
        verdict=verdict,
        confidence=f"{100 * settings.judge.confidence:g}%",
        models=models,
        table=figures(verdict, models),
        training=training,
        facts={name: value for name, value in facts.items() if name not in tune},
        judge=settings.judge,
    )


def _loading(settings: Settings) -> str:
    arguments = ""
    if settings.base.revision:
        arguments += f", revision={settings.base.revision!r}"
    return arguments + _trust(settings)


def _trust(settings: Settings) -> str:
    return ", trust_remote_code=True" if settings.base.trust_remote_code else ""
