"""Virtual tokens before each sequence: prompt tuning, P-tuning, and prefixes in every layer.

PEFT holds the weights and computes the prompts from them. Its own forward knows one sequence a row;
a pack has many, and each sees the prompt.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from peft import (
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptLearningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from peft.tuners.cartridge.utils import prompt_embeddings_from_past_key_values

from tasks.core.errors import BadInput
from tasks.model.encoding import Example
from tasks.tune.data.attention import reads_packs
from tasks.tune.data.layout import Layout
from tasks.tune.data.packing import Packed, Rows, pack
from tasks.tune.methods.adapters import PeftAdapter
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.methods.settings import PTuning, VirtualTokens
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Of the network that a prefix is learned through (Li & Liang 2021, for GPT-2).
_PREFIX_HIDDEN = 512


class _Virtual(PeftAdapter):
    def __init__(self, model: PeftModel) -> None:
        super().__init__(model)
        self.network: PreTrainedModel = model.get_base_model()  # type: ignore[assignment]
        self.config: Any = model.active_peft_config
        self.encoder: Any = model.prompt_encoder[self.name]


class PromptTuned(_Virtual):
    """Virtual embeddings before those of each sequence."""

    def inputs(self, packed: Packed) -> dict[str, Any]:
        """The pack's row with the prompt before it, with which each sequence begins."""
        if isinstance(packed, Rows):
            embedded = self.network.get_input_embeddings()(packed.input_ids)
            prompts = self.model.get_prompt(len(embedded)).to(embedded.dtype)
            return {"inputs_embeds": torch.cat([prompts, embedded], dim=1)}
        words = self.network.get_input_embeddings()(packed.input_ids)[0]
        prompt = self.model.get_prompt(1)[0].to(words.dtype)
        device, count = words.device, len(prompt)
        first = range(count)
        segments = [
            (first, *(range(segment.start + count, segment.stop + count) for segment in own))
            for own in packed.segments
        ]
        positions = [torch.arange(count, device=device), packed.position_ids[0] + count]
        return {
            "inputs_embeds": torch.cat([prompt, words])[None],
            "position_ids": torch.cat(positions)[None],
            "logits_to_keep": packed.logit_positions + count,
            "layout": Layout.of(segments, 1, device),
        }


class PrefixTuned(_Virtual):
    """Keys and values in each layer that each sequence sees before its own."""

    def inputs(self, packed: Packed) -> dict[str, Any]:
        """The pack's own, with the prefix; positions begin after it."""
        if isinstance(packed, Rows):
            prefix = self.model.get_prompt(len(packed.input_ids))
            return packed.inputs() | {"past_key_values": prefix}
        cache: Any = self.model.get_prompt(1)
        return packed.inputs() | {
            "position_ids": packed.position_ids + self.config.num_virtual_tokens,
            "prefix": [(layer.keys[0], layer.values[0]) for layer in cache.layers],
        }


@contextmanager
def prompt(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """Prompt tuning, begun with words drawn from the vocabulary.

    Lester et al. 2021, https://arxiv.org/abs/2104.08691
    """
    count = tune.method.of(VirtualTokens).virtual_tokens
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=count,
        prompt_tuning_init="SAMPLE_VOCAB",
    )
    with _peft_model(base, tune, config) as model:
        yield PromptTuned(model)


@contextmanager
def ptuning(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """P-tuning: v1, a prompt learned through a small network, or v2, a prefix in each layer.

    Liu et al. 2021, https://arxiv.org/abs/2103.10385 and https://arxiv.org/abs/2110.07602
    """
    settings = tune.method.of(PTuning)
    count = settings.virtual_tokens
    if settings.ptuning_version == "v1":
        config = PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=count)
        with _peft_model(base, tune, config) as model:
            yield PromptTuned(model)
    else:
        deep = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=count)
        with _peft_model(base, tune, deep) as model:
            yield PrefixTuned(model)


@contextmanager
def prefix(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """Prefix tuning: keys and values learned through a network that only training needs.

    Li & Liang 2021, https://arxiv.org/abs/2101.00190
    """
    count = tune.method.of(VirtualTokens).virtual_tokens
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=count,
        prefix_projection=True,
        encoder_hidden_size=_PREFIX_HIDDEN,
    )
    with _peft_model(base, tune, config) as model:
        yield PrefixTuned(model)


def check(base: "PreTrainedModel", tune: Tune) -> None:
    """Whether the base's positions hold the virtual tokens and a sequence.

    Raises:
        BadInput: they do not.
    """
    context = getattr(base.config.get_text_config(), "max_position_embeddings", None) or math.inf
    count = tune.method.of(VirtualTokens).virtual_tokens
    if count + tune.max_length > context:
        raise BadInput(
            f"tune.method.virtual_tokens: {count} before sequences of up to "
            f"{tune.max_length} tokens (tune.max_length) are more than the {context} positions of "
            f"{type(base).__name__}; lower one of the two"
        )


@contextmanager
def _peft_model(
    base: "PreTrainedModel", tune: Tune, config: PromptLearningConfig
) -> Iterator[PeftModel]:
    """PEFT's model with these weights, which leaves the base alone but for freezing it.

    Raises:
        BadInput: the base has no room for the virtual tokens, or no place.
    """
    check(base, tune)
    trainable = {parameter: parameter.requires_grad for parameter in base.parameters()}
    with _at_rest(base):
        model = get_peft_model(base, config)
        try:
            _begin_with_words(base, model)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise BadInput(
                f"tune.method: {type(base).__name__} takes no prefix of keys and values ({error}); "
                "choose another method, as lora"
            ) from error
    try:
        yield model
    finally:
        for parameter, was in trainable.items():
            parameter.requires_grad_(was)


@contextmanager
def _at_rest(base: "PreTrainedModel") -> Iterator[None]:
    """No dropout, and no checkpointing, under which PEFT refuses prefixes and there is no cache.

    Training can have both: there the prefixes are arguments, not a cache.
    """
    training = base.training
    modules = [
        module for module in base.modules() if getattr(module, "gradient_checkpointing", False)
    ]
    for module in modules:
        module.gradient_checkpointing = False  # type: ignore[assignment]
    base.eval()
    try:
        yield
    finally:
        base.train(training)
        for module in modules:
            module.gradient_checkpointing = True  # type: ignore[assignment]


@torch.no_grad()
def _begin_with_words(base: "PreTrainedModel", model: PeftModel) -> None:
    """Let the prompt be words drawn from the vocabulary, as the base embeds or reads them.

    Li & Liang 2021 (section 7.4) found real words, whichever they are, the better beginning. Under
    PEFT's random numbers the base first loses what it knows.
    """
    config: Any = model.active_peft_config
    encoder: Any = model.prompt_encoder[model.active_adapter]
    if isinstance(config, PromptTuningConfig):
        return  # PEFT itself does so
    embeddings: Any = base.get_input_embeddings()
    words = torch.randint(embeddings.num_embeddings, (config.num_virtual_tokens,))
    if isinstance(config, PromptEncoderConfig):
        wanted = embeddings(words.to(base.device)).float()
        network = encoder.mlp_head
    else:
        wanted = _keys_and_values(base, words.tolist())
        if not config.prefix_projection:
            encoder.load_prompt_embeddings(wanted)
            return
        network = encoder.transform
    *before, last = network
    hidden = torch.nn.Sequential(*before)(encoder.embedding.weight)
    # With no fewer hidden units than tokens, the last layer can give exactly what is wanted.
    last.weight.copy_((torch.linalg.pinv(hidden) @ (wanted - last.bias)).T)


def _keys_and_values(base: "PreTrainedModel", words: list[int]) -> torch.Tensor:
    """What each layer keeps of `words`, as PEFT lays out a prefix: [V, layers * 2 * heads * size].

    Raises:
        TypeError, ValueError: the layers do not each keep keys and values of the same shape.
    """
    inputs: dict[str, Any] = {"input_ids": torch.tensor([words], device=base.device)}
    if reads_packs(base):
        inputs = pack([Example("", "", tuple(words), (False,) * len(words))], base.device).inputs()
    output = base(**inputs | {"logits_to_keep": 1}, use_cache=True)
    return prompt_embeddings_from_past_key_values(
        output.past_key_values, num_virtual_tokens=len(words)
    ).float()
