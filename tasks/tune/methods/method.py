"""What a method of adaptation is: its settings, its usual learning rates, and where its code is.

The code imports torch and PEFT, so it is named here and imported when it is called.
"""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.tune.methods.settings import MethodSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tasks.tune.methods.contract import AdaptedModel
    from tasks.tune.settings import Tune


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to adapt a base model.

    Rates are peak learning rates for a base that is 4,096 wide; `recommended_ranges` scales them.
    """

    name: str
    attaches: "str | Callable[[PreTrainedModel, Tune, int], AbstractContextManager[AdaptedModel]]"
    """What `attach` calls: a function, or `module:function`, imported when it is called."""
    checks: "str | Callable[[PreTrainedModel, Tune], None] | None" = None
    """What `check` calls, likewise; None: every base has a place for the method."""
    settings: type[MethodSettings] = MethodSettings
    """The class of `tune.method` for this method."""
    usual_rate: float
    rates: tuple[float, float]
    """Sensible range of the peak learning rate."""
    source: str
    """Where it was published."""
    quantised: bool = False
    """The base is loaded in NF4."""
    writes: Literal["adapter", "model"] = "adapter"
    """What training writes: a plain PEFT adapter, or a whole model."""
    loaded_with: str | None = None
    """Module that registers the method with PEFT, to import before an adapter is loaded; None: PEFT
    has the method."""
    batches_adapters: bool = False
    """Several adapters of it can share one pass through one base."""

    @property
    def uses(self) -> frozenset[str]:
        """The keys of `tune.method` that this method has, `name` excepted."""
        return frozenset(self.settings.model_fields) - {"name"}

    def attach(
        self, base: "PreTrainedModel", tune: "Tune", steps: int
    ) -> "AbstractContextManager[AdaptedModel]":
        """Base, settings and the number of optimiser steps ahead → the adapted model, as a context.

        Raises:
            BadInput: the base has no place for it; the message names the setting to change.
        """
        attached: AbstractContextManager[AdaptedModel] = _function(self.attaches)(base, tune, steps)
        return attached

    def check(self, base: "PreTrainedModel", tune: "Tune") -> None:
        """Raise the same without attaching anything; the base may be without weights (`meta`)."""
        if self.checks is not None:
            _function(self.checks)(base, tune)


def _function(named: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(named, str):
        return named
    module, _, name = named.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
