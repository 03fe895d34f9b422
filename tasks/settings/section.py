"""A section of `params.yaml`: what every package's own section is made of.

    class Watch(Section):
        \"\"\"What happens to new traffic.\"\"\"

        KEY = "watch"

        min_labelled: Annotated[int, Field(ge=2)] = 20
        \"\"\"Labelled records that retraining needs.\"\"\"

The docstrings are what `perpetune settings` and the reference show.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from tasks.core.errors import BadInput
from tasks.core.plugins import load_plugins, loaded_plugins
from tasks.settings import messages
from tasks.settings.members import Chosen, Composed

__all__ = [
    "Chosen",
    "Composed",
    "Fraction",
    "LearningRate",
    "Name",
    "Positive",
    "Section",
    "Timestamp",
    "Unit",
    "text",
]


def text(pattern: str, words: str) -> StringConstraints:
    """A constraint of texts: they match `pattern`; `words` say to people what that is."""
    messages.PATTERNS[pattern] = words
    return StringConstraints(pattern=pattern)


def _is_timestamp(value: Any) -> Any:
    """A date or time in ISO 8601. YAML may give it as a time, too."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a date or time in ISO 8601, such as 2024-06-30") from None
    return value


@dataclass(frozen=True)
class Unit:
    """What a number counts, where its key does not say it: `Annotated[int, Unit("tokens")]`."""

    name: str


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Timestamp = Annotated[str, BeforeValidator(_is_timestamp)]
Name = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        "letters, digits, '.', '_' and '-' (100 at most, the first a letter or digit)",
    ),
]


S = TypeVar("S", bound="Section")
PLUGINS_LOADED = {"plugins": "loaded"}
"""Context of a validation in a process that may be in another folder than the plugins' paths."""


class Section(BaseModel):
    """One section of `params.yaml`: unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    KEY: ClassVar[str] = ""
    """Where the section is in `params.yaml`: `curate.quality`."""
    READ_BY: ClassVar[tuple[str, ...]] = ()
    """The commands that read the section; empty: those that read the section around it."""

    def of(self, kind: type[S]) -> S:
        """The section as the settings of one member: `tune.method.of(LowRank).rank`.

        Raises:
            TypeError: the member that was chosen has other settings.
        """
        if not isinstance(self, kind):
            raise TypeError(f"{self.KEY} has no {kind.__name__}, but {type(self).__name__}")
        return self

    def plain(self) -> dict[str, Any]:
        """The settings as JSON-able values, as they are in `params.yaml`."""
        return self.model_dump(mode="json")

    def dotted(self) -> dict[str, Any]:
        """The settings as JSON-able values by their keys, as `quality.min_tokens`."""
        found: dict[str, Any] = {}
        for key, value in self.plain().items():
            own = getattr(self, key)
            inner = own.dotted() if isinstance(own, Section) else None
            found |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
        return found

    def replace(self, **changes: Any) -> Self:
        """A copy in which these settings have other values, validated as if it were read.

        `model_copy` does not validate: settings that cannot work would pass.

        Raises:
            BadInput: the settings do not go together, or a value is out of range.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self).model_validate(values | changes, context=PLUGINS_LOADED)
        except ValidationError as error:
            prefix = tuple(self.KEY.split(".")) if self.KEY else ()
            found = messages.problems(error, type(self), values | changes, prefix)
            raise BadInput("\n".join(problem.sentence for problem in found)) from None

    def __reduce__(self) -> Any:
        """Pickled as plain values: where a plugin defines a class, the plugin is loaded first."""
        kind = type(self)
        return _restored, (loaded_plugins(), kind.__module__, kind.__qualname__, self.plain())


def _restored(plugins: list[str], module: str, name: str, values: Mapping[str, Any]) -> Section:
    """A section that was pickled in another process.

    Raises:
        BadInput: a plugin that had been loaded there cannot be loaded here.
    """
    load_plugins(plugins)
    found: Section = attrgetter(name)(importlib.import_module(module)).model_validate(
        values, context=PLUGINS_LOADED
    )
    return found
