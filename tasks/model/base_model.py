"""The base model: its configuration, tokenizer and weights, checked and loaded for this machine."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.core.errors import BadInput, PerpetuneError, first_line
from tasks.model import causality, tokenizer_files
from tasks.model.base_source import locate
from tasks.model.decoder import ChatTemplate
from tasks.model.machine import compute_dtype, device
from tasks.model.peft_adapter import check_made_for, load_adapter
from tasks.model.weights import check_complete
from tasks.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Weights that a base may have beside those of a language model: parts for pictures and sound, heads
# that predict several tokens at once, and tables that older versions of libraries wrote.
_NOT_TEXT = re.compile(
    r"(^|[._])(vision|visual|image|audio|speech|multi_?modal|mm|mtp|nextn)([._]|$)|"
    r"(rotary_emb\.inv_freq|masked_bias|(attn|attention)\.bias|position_ids)$"
)


def load_config(settings: Settings, folder: Path | None = None) -> "PreTrainedConfig":
    """The configuration of the base, or of another model in `folder`, if it can be trained.

    Raises:
        BadInput: it cannot be read, or is none of a causal language model.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    folder = locate(settings) if folder is None else folder
    trusted = settings.base.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    except Exception as error:  # a file of the user's, read by a library: anything
        raise BadInput(
            f"base.model: the config.json in {folder} cannot be read: {first_line(error)}"
        ) from error
    if config.is_encoder_decoder:
        raise BadInput(
            f"base.model: {folder} is an encoder-decoder ({config.model_type}), which reads a text "
            "and writes another; choose a causal (decoder-only) language model"
        )
    known = type(config) in AutoModelForCausalLM._model_mapping
    remote = trusted and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if not known and not remote:
        raise BadInput(
            f"base.model: {folder} holds a model of the kind {config.model_type!r}, of which "
            "transformers has no causal language model; choose another base model"
        )
    # Others have the word in their configuration, too, and do not look at it.
    if getattr(config, "is_decoder", None) is False and type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        raise BadInput(
            f"base.model: {folder} is an encoder ({config.model_type}, is_decoder false): it reads "
            "in both directions and cannot write; choose a causal language model"
        )
    return cast("PreTrainedConfig", config)


def load_tokenizer(settings: Settings, *, weights: bool = True) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer, with a chat template in any case; see `tokenizer_files.read`.

    Args:
        settings: names the base.
        weights: as in `locate`.

    Raises:
        BadInput: there is no such model, it is no causal language model, it has no tokenizer, or
            one with tokens that it cannot embed, or nothing ends an answer.
    """
    folder = locate(settings, weights=weights)
    config = load_config(settings, folder)
    tokenizer = tokenizer_files.read(folder, None, settings.base)
    template = ChatTemplate.of(tokenizer.chat_template, tokenizer.special_tokens_map)
    tokenizer_files.announce(template, settings.base)
    _check_vocabulary(tokenizer, config, folder)
    return tokenizer


def _check_vocabulary(
    tokenizer: "PreTrainedTokenizerBase", config: "PreTrainedConfig", folder: Path
) -> None:
    """Refuse a tokenizer with ordinary tokens, or special ones in use, beyond the embedding.

    A special token beyond it that no text of ours has (that of pictures, in Gemma 3) does no harm;
    `check_ids` sees it in data.
    """
    rows = config.get_text_config().vocab_size
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    in_use = (tokenizer.bos_token, tokenizer.eos_token, str(tokenizer.chat_template))
    beyond = [
        token
        for token, number in tokenizer.get_vocab().items()
        if number >= rows
        and (token not in special or any(token in (text or "") for text in in_use))
    ]
    if beyond:
        raise BadInput(
            f"base.model: the tokenizer in {folder} has {len(tokenizer):,} tokens, and the base "
            f"embeds {rows:,} ({len(beyond):,} of the others are in use, as {min(beyond)!r}); "
            "they do not belong together: use the base's own tokenizer, or resize its embedding"
        )


def check_ids(ids: Iterable[int], config: "PreTrainedConfig", what: str) -> None:
    """Refuse token ids that the base cannot embed.

    Raises:
        BadInput: there is one; the message begins with `what`.
    """
    highest, rows = max(ids, default=0), config.get_text_config().vocab_size
    if highest >= rows:
        raise BadInput(
            f"{what}: it has a token of number {highest:,}, and the base embeds {rows:,}; "
            "drop it, or resize the base's embedding"
        )


def load_model(
    settings: Settings,
    tuned: Path | None = None,
    *,
    quantised: bool = False,
    on: "torch.device | None" = None,
) -> "PreTrainedModel":
    """The base model on this machine's device, in eval mode, tuned if `tuned` is given.

    Args:
        settings: `base` says which model and which type of weights.
        tuned: what training wrote: a plain PEFT adapter folder, which goes onto the base, or a
            whole model's folder, which is loaded in its stead (safetensors only).
        quantised: keep the frozen weights in NF4 whatever `base.quantisation` says.
        on: another device, for unquantised weights.

    Raises:
        BadInput: there is no such model, or the adapter was made for another one.
        PerpetuneError: the weights cannot be loaded.
    """
    whole = tuned is not None and (tuned / "config.json").is_file()
    folder = tuned if tuned is not None and whole else locate(settings)
    if tuned is not None and not whole:
        check_made_for(tuned, settings)
    dtype = compute_dtype(settings.base)
    nf4: dict[str, Any] = {}
    if quantised or settings.base.quantisation == "nf4":
        from transformers import BitsAndBytesConfig

        # Double quantisation: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314
        nf4["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        nf4["device_map"] = {"": device()}
    model = _read_whole(folder, settings, dtype=dtype, **nf4)
    if nf4:
        for module in model.modules():
            # On some CPUs, evaluation would repack the weights in place for a kernel that has no
            # backward pass: training after it would fail.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                cast(Any, module).support_avx512bf16_for_cpu = False
    else:
        model = model.to(on or device())  # type: ignore[arg-type]
    model = model.eval()
    causality.check(model)
    if tuned is not None and not whole:
        model = load_adapter(model, tuned)
        model = (model if nf4 else model.to(on or device())).eval()
    return cast("PreTrainedModel", model)


def _read_whole(folder: Path, settings: Settings, **options: Any) -> "PreTrainedModel":
    """The model in `folder`, of which no weight is missing and none left over.

    The library fills in random numbers for what is missing, with no more than a warning.

    Raises:
        BadInput: there are such weights.
        PerpetuneError: they cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    config = load_config(settings, folder)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=settings.base.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except Exception as error:  # what a configuration asks for may be impossible in any way
        raise PerpetuneError(
            f"base.model: {folder} cannot be loaded: {first_line(error)}"
        ) from error
    model: PreTrainedModel
    model, found = loaded
    left_over = [name for name in found["unexpected_keys"] if not _NOT_TEXT.search(name)]
    shapes = [name for name, *_ in found["mismatched_keys"]]
    check_complete(f"base.model: {folder}", found["missing_keys"], left_over, shapes)
    return model
