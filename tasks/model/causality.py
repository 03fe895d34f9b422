"""Whether a model predicts each token from those before it alone, measured on the model itself."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput, first_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

_LENGTH = 16
_REACH = re.compile(r"window|chunk|block_size|top_?k|compress|stride|pool|segment|local|sparse")
_NOT_REACH = {"top_k", "chunk_size_feed_forward", "max_window_layers", "num_local_experts"}
_BOUND = re.compile(r"(window|window_size|local_attention|attention_chunk_size)$")


def check(model: "PreTrainedModel") -> None:
    """Refuse a model whose prediction at a position depends on later tokens.

    The gradient of early predictions by what later tokens embed to has to be exactly zero; so
    nothing is lost in rounding, whatever the type of the weights.

    Raises:
        BadInput: it depends on them, or the model cannot read plain tokens.
    """
    import torch

    ids = torch.tensor([random_tokens(model.config, _LENGTH)], device=model.device)
    half = _LENGTH // 2
    try:
        with torch.enable_grad(), embedded(model) as found:
            logits = model(input_ids=ids, use_cache=False).logits[:, :half].float()
            # Not the plain sum: where a head is centred, its gradient could vanish.
            weighed = (logits * torch.linspace(-1, 1, logits.shape[-1], device=model.device)).sum()
            gradient = torch.autograd.grad(weighed, found)[0]
    except Exception as error:  # whatever an architecture does not take
        first = first_line(error)
        raise BadInput(
            f"base.model: {type(model).__name__} does not read plain tokens ({first}); "
            "choose a causal language model"
        ) from error
    if not bool(torch.isfinite(gradient).all()):
        return  # the loss tells it better
    if bool(gradient[:, half:].any()):
        raise BadInput(
            f"base.model: {type(model).__name__} predicts a token from those after it, too: it "
            "reads in both directions and cannot write; choose a causal language model"
        )


@contextmanager
def embedded(model: "PreTrainedModel") -> "Iterator[list[torch.Tensor]]":
    """What the model's input embeddings give in this context, as leaves to differentiate by."""
    found: list[torch.Tensor] = []

    def leaf(_module: Any, _args: Any, output: "torch.Tensor") -> "torch.Tensor":
        found.append(output.detach().requires_grad_())
        return found[-1].clone()  # some architectures change it in place

    hook = model.get_input_embeddings().register_forward_hook(leaf)
    try:
        yield found
    finally:
        hook.remove()


def random_tokens(config: "PreTrainedConfig", count: int) -> list[int]:
    """Ids of tokens that mean nothing special to the model; always the same."""
    text = config.get_text_config()
    special = {
        value
        for part in (config.to_dict(), text.to_dict())
        for name, value in part.items()
        if isinstance(value, int) and name.endswith(("_id", "_index"))
    }
    drawn = random.Random(0)
    found: list[int] = []
    while len(found) < count:
        token = drawn.randrange(text.vocab_size)
        if token not in special:
            found.append(token)
    return found


def bounds(config: "PreTrainedConfig") -> list[int]:
    """How many tokens back layers with a window see, where the configuration has the number."""
    return [value for name, value in _numbers(config) if _BOUND.search(name)]


def has_reach(config: "PreTrainedConfig") -> bool:
    """Whether the configuration has a number of a name that may change how far a layer sees."""
    return any(_REACH.search(name) for name, _ in _numbers(config))


def _numbers(config: "PreTrainedConfig") -> Iterator[tuple[str, int]]:
    for name, value in config.get_text_config().to_dict().items():
        # A boolean is an int, too.
        if type(value) is int and value > 0 and name not in _NOT_REACH:
            yield name, value
