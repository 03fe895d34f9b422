"""All of `params.yaml`: the sections of every package, and what holds between them."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationInfo, model_validator

from tasks.collect.settings import Collect
from tasks.core.plugins import load_plugins
from tasks.curate.settings import Curate
from tasks.decisions.settings import Decisions
from tasks.drift.settings import Drift
from tasks.evaluate.settings import Evaluate
from tasks.label.settings import Label
from tasks.model.settings import Base
from tasks.notify.settings import Notify
from tasks.settings import messages
from tasks.settings.project import Housekeeping, Platform, Project
from tasks.settings.section import PLUGINS_LOADED, Section
from tasks.tune.settings import METHOD, BadAxis, Plan, Sweep, Tune, check_space, configured
from tasks.watch.settings import Watch

_FEEDBACK: str = Curate.model_fields["feedback"].default


class Settings(Section):
    """All of `params.yaml`."""

    project: Project = Field(default_factory=Project)
    base: Base = Field(default_factory=Base)
    collect: Collect = Field(default_factory=Collect)
    curate: Curate = Field(default_factory=Curate)
    tune: Tune = Field(default_factory=Tune)
    sweep: Sweep = Field(default_factory=Sweep)
    plan: Plan = Field(default_factory=Plan)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    decisions: Decisions = Field(default_factory=Decisions)
    drift: Drift = Field(default_factory=Drift)
    watch: Watch = Field(default_factory=Watch)
    label: Label = Field(default_factory=Label)
    notify: Notify = Field(default_factory=Notify)
    platform: Platform = Field(default_factory=Platform)
    housekeeping: Housekeeping = Field(default_factory=Housekeeping)

    @model_validator(mode="before")
    @classmethod
    def _plugins_come_first(cls, given: Any, info: ValidationInfo) -> Any:
        """Members that plugins add have settings, too."""
        if info.context != PLUGINS_LOADED:
            load_plugins(plugins_of(given))
        return given

    @model_validator(mode="after")
    def _weights_follow_the_feedback(self) -> Self:
        """The share of labelled traffic is that of the folder which `curate.feedback` names."""
        folder, weights = self.curate.feedback, self.tune.source_weights
        if folder and folder != _FEEDBACK and _FEEDBACK in weights and folder not in weights:
            moved = {folder if key == _FEEDBACK else key: share for key, share in weights.items()}
            tune = self.tune.model_copy(update={"source_weights": moved})
            self.__dict__["tune"] = tune
        return self

    @model_validator(mode="after")
    def _trials_are_valid(self) -> Self:
        try:
            check_space(self.tune, self.sweep)
        except BadAxis as error:
            raise messages.at(("sweep", "space", error.key), str(error)) from None
        methods = self.sweep.space.get(METHOD, [])
        for method in methods if isinstance(methods, list) else []:
            tune = configured(self.tune, {METHOD: method})
            _check_quantisation(self.base, tune, ("sweep", "space", METHOD))
        if not methods:
            _check_quantisation(self.base, self.tune, ("tune", "method"))
        return self


def plugins_of(values: Any) -> list[str]:
    """`project.plugins` of settings as they are read; none where that is malformed, which
    validation says."""
    project = values.get("project") if isinstance(values, Mapping) else None
    plugins = project.get("plugins") if isinstance(project, Mapping) else None
    if isinstance(project, Project):
        plugins = project.plugins
    if isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins):
        return plugins
    return []


def _check_quantisation(base: Base, tune: Tune, key: tuple[str, ...]) -> None:
    if base.quantisation == "nf4" and tune.method.name == "full":
        raise messages.at(
            key,
            "full trains every weight, and base.quantisation keeps the base in 4 bits: set "
            "base.quantisation to null, or choose qlora",
        )
