"""Whether settings can work with this base and these data: asked before the base is loaded."""

import logging
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tasks.core.errors import BadInput, first_line
from tasks.model import base_model, base_source
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.examples import Data
from tasks.tune.methods import METHODS
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.objectives import Objective, objective_of
from tasks.tune.settings import Tune
from tasks.tune.train.execution import Execution

log = logging.getLogger(__name__)


def check(data: Data, settings: Settings, tunes: Sequence[Tune] = ()) -> list[str]:
    """Refuse what cannot work, and warn of what may not.

    Args:
        data: what is to be trained on.
        settings: `base` and `tune` matter.
        tunes: the configurations of a sweep; that of `settings` where not given.

    Returns:
        Warnings, a sentence each.

    Raises:
        BadInput: a configuration cannot work with this base or these data; the message names the
            setting and the remedy.
    """
    for tune in tunes or [settings.tune]:
        objective = objective_of(tune)
        if objective.head is not None:
            raise BadInput(
                f"tune.objective: {objective.name} needs a {objective.head} head, and training "
                "has the base's own language-model head only; choose another objective"
            )
    base = skeleton(settings)
    check_positions(base, data)
    for tune in tunes or [settings.tune]:
        METHODS.get(tune.method.name).check(base, tune)
    width = base.config.get_text_config().hidden_size
    found = tuning_data.warnings(data, settings.tune)
    if tunes:
        return [*found, *ranges.sweep_warnings(tunes, width)]
    return [*found, *ranges.warnings(settings.tune, width)]


def skeleton(settings: Settings) -> PreTrainedModel:
    """The base without its weights: every module has its name and shape, and takes no memory.

    Raises:
        BadInput: it is no causal language model, or cannot be built.
    """
    trusted = settings.base.trust_remote_code
    config = base_model.load_config(settings, base_source.locate(settings, weights=False))
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=trusted
            )
            return model
    except Exception as error:
        first = first_line(error)
        raise BadInput(
            f"base.model: no {config.model_type} can be built from its config.json: {first}"
        ) from error


def check_groups(execution: Execution, data: Data, objective: Objective) -> None:
    """Refuse groups of several examples on a base that reads one at a time.

    Raises:
        BadInput: they do not go together.
    """
    largest = max(len(group.examples) for group in data.train.groups + data.validation.groups)
    if execution.form == "alone" and largest > 1:
        raise BadInput(
            f"tune.objective: {objective.name} compares {largest} examples in one pass, and this "
            f"base reads one at a time ({execution.reason}); choose another base model or objective"
        )


def check_positions(base: PreTrainedModel, data: Data) -> None:
    """Refuse sequences that the base cannot read.

    Raises:
        BadInput: an example is longer than the base has positions.
    """
    positions = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    if positions and data.longest > positions:
        raise BadInput(
            f"tune.max_length: there is an example of {data.longest} tokens, and "
            f"{type(base).__name__} has {positions} positions; set it to {positions} or less"
        )
