"""Which settings of training are sensible: the learning rate that `auto` means, and warnings.

What is impossible is refused by `tasks.settings`, and by a method's `check` where the base has no
place for it. Here nothing is refused: a rate outside its range, say, may still be right for once.
"""

from collections.abc import Iterator, Sequence

from tasks.tune.methods import METHODS
from tasks.tune.methods.settings import (
    BottleneckSettings,
    LowRank,
    MethodSettings,
    VirtualTokens,
)
from tasks.tune.settings import Tune

_WIDE = 4096
# What "LoRA Without Regret" found for Llama models, for LoRA as for full fine-tuning:
# Schulman et al. 2025, https://thinkingmachines.ai/blog/lora/
_BY_WIDTH = 0.781


def learning_rate(tune: Tune, hidden_size: int) -> float:
    """The peak learning rate: as set, or for `auto` the method's usual one for this width.

    Args:
        tune: the configuration.
        hidden_size: width of the base.
    """
    if tune.learning_rate != "auto":
        return tune.learning_rate
    return _rounded(METHODS.get(tune.method.name).usual_rate * _scale(hidden_size))


def warnings(tune: Tune, hidden_size: int) -> list[str]:
    """A sentence for each setting of `tune` outside its sensible range, with the reason.

    Settings that the method does not use are not looked at.

    Args:
        tune: the configuration.
        hidden_size: width of the base.
    """
    return [f"tune.{sentence}" for sentence in _sentences(tune, hidden_size)]


def sweep_warnings(tunes: Sequence[Tune], hidden_size: int) -> list[str]:
    """The same for the configurations of a sweep, each sentence once.

    A search goes beyond the usual on purpose. So a method's rates are warned about where none of
    them is in its range, or where one list of rates has to serve several methods.

    Args:
        tunes: at least one configuration.
        hidden_size: width of the base.
    """
    found = dict.fromkeys(
        f"tune.{sentence}"
        for tune in tunes
        for sentence in _sentences(tune, hidden_size)
        if not sentence.startswith("learning_rate: ")
    )
    methods = list(dict.fromkeys(tune.method.name for tune in tunes))
    for method in methods:
        low, high = _range(method, hidden_size)
        rates = sorted({learning_rate(t, hidden_size) for t in tunes if t.method.name == method})
        outside = [rate for rate in rates if not low <= rate <= high]
        if len(outside) == len(rates) or (outside and len(methods) > 1):
            found[
                "sweep.space: tune.learning_rate: "
                f"{', '.join(f'{rate:g}' for rate in outside)}: outside {low:g} to {high:g}, where "
                f"{method} is mostly trained at a width of {hidden_size}"
                + ("; give each method a sweep with rates of its own" if len(methods) > 1 else "")
            ] = None
    return list(found)


def _sentences(tune: Tune, hidden_size: int) -> Iterator[str]:
    yield from _of_method(tune.method)
    low, high = _range(tune.method.name, hidden_size)
    rate = learning_rate(tune, hidden_size)
    if not low <= rate <= high:
        yield (
            f"learning_rate: {rate:g} is outside {low:g} to {high:g}, where {tune.method.name} is "
            f"mostly trained at a width of {hidden_size}; "
            + ("it may learn too little" if rate < low else "it may diverge or forget")
        )
    yield from _of_training(tune)


def _of_method(method: MethodSettings) -> Iterator[str]:
    if isinstance(method, LowRank):
        yield from _of_ranks(method)
    if isinstance(method, LowRank | BottleneckSettings) and method.dropout > 0.2:
        yield (
            f"method.dropout: {method.dropout:g} is above 0.2; LoRA and QLoRA were trained with 0 "
            "to 0.1, and more mostly slows learning down"
        )
    if isinstance(method, VirtualTokens) and not 10 <= method.virtual_tokens <= 50:
        yield f"method.virtual_tokens: {method.virtual_tokens} is outside 10 to 50; " + (
            "fewer hold too little of a task"
            if method.virtual_tokens < 10
            else "more than that seldom gains, and each one is computed with every example"
        )
    if isinstance(method, BottleneckSettings) and not 64 <= method.bottleneck_size <= 256:
        yield f"method.bottleneck_size: {method.bottleneck_size} is outside 64 to 256; " + (
            "fewer may be too narrow for the task"
            if method.bottleneck_size < 64
            else "more seldom gains over the cost in memory and time"
        )


def _of_ranks(method: LowRank) -> Iterator[str]:
    rank, alpha = method.rank, method.scaling_alpha
    if not 4 <= rank <= 256:
        yield f"method.rank: {rank} is outside 4 to 256; " + (
            "it may hold too little of the task"
            if rank < 4
            else "it seldom gains over smaller ones and costs memory in proportion"
        )
    if not rank <= alpha <= 2 * rank:
        yield (
            f"method.alpha: {alpha:g} at rank {rank} scales the update by {alpha / rank:.3g}; r or "
            "2r are usual, and learning rates are meant for them"
        )


def _of_training(tune: Tune) -> Iterator[str]:
    if tune.weight_decay > 0.1:
        yield (
            f"weight_decay: {tune.weight_decay:g} is above 0.1 and pulls what is learned back "
            "faster than a short training learns it"
        )
    if not 0.03 <= tune.warmup_share <= 0.1:
        yield f"warmup_share: {tune.warmup_share:g} is outside 0.03 to 0.1; " + (
            "the first steps may throw the weights about"
            if tune.warmup_share < 0.03
            else "that part of the run learns at less than its rate"
        )
    if not 8 <= tune.batch_size <= 128:
        yield f"batch_size: {tune.batch_size} is outside 8 to 128 (usual: 32 to 128); " + (
            "gradients of so few examples are noisy"
            if tune.batch_size < 8
            else "fewer steps learn less from the same data, LoRA above all"
        )
    if not 1 <= tune.epochs <= 5:
        yield f"epochs: {tune.epochs:g} is outside 1 to 5; " + (
            "part of the data is never seen"
            if tune.epochs < 1
            else "small models learn so often repeated data by heart"
        )
    if tune.patience > 3 and tune.patience < tune.evaluations:
        yield (
            f"patience: {tune.patience} evaluations without gain are more than the usual 2 to 3; "
            "the rest of the run is mostly wasted"
        )
    if tune.patience == 1 and tune.evaluations > 1:
        yield "patience: 1 evaluation without gain may be chance; 2 to 3 are usual"
    if tune.max_length > tune.micro_batch_tokens:
        yield (
            f"max_length: {tune.max_length} is above micro_batch_tokens "
            f"({tune.micro_batch_tokens}); one example may take more memory than was predicted"
        )


def _range(method: str, hidden_size: int) -> tuple[float, float]:
    low, high = METHODS.get(method).rates
    return _rounded(low * _scale(hidden_size)), _rounded(high * _scale(hidden_size))


def _scale(hidden_size: int) -> float:
    return float((_WIDE / hidden_size) ** _BY_WIDTH)


def _rounded(rate: float) -> float:
    # Two digits: what is said is what is used.
    return float(f"{rate:.1e}")
