"""Which settings of training are sensible: the learning rate that `auto` means, and warnings.

What is impossible is refused by `tasks.settings`, and by a method's `check` where the base has no
place for it. Here nothing is refused: a rate outside its range, say, may still be right for once.
"""

from collections.abc import Iterator, Sequence

from tasks.settings import Method as Name
from tasks.settings import Tune
from tasks.tune.methods import METHODS, alpha

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
    return _rounded(METHODS[tune.method].usual_rate * _scale(hidden_size))


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
    methods = list(dict.fromkeys(tune.method for tune in tunes))
    for method in methods:
        low, high = _range(method, hidden_size)
        rates = sorted({learning_rate(t, hidden_size) for t in tunes if t.method == method})
        outside = [rate for rate in rates if not low <= rate <= high]
        if len(outside) == len(rates) or (outside and len(methods) > 1):
            found[
                f"sweep.learning_rate: {', '.join(f'{rate:g}' for rate in outside)}: outside "
                f"{low:g} to {high:g}, where {method} is mostly trained at a width of "
                f"{hidden_size}"
                + ("; give each method a sweep with rates of its own" if len(methods) > 1 else "")
            ] = None
    return list(found)


def _sentences(tune: Tune, hidden_size: int) -> Iterator[str]:
    method = tune.method
    uses = METHODS[method].uses
    if "rank" in uses:
        yield from _of_ranks(tune)
    if "dropout" in uses and tune.dropout > 0.2:
        yield (
            f"dropout: {tune.dropout:g} is above 0.2; LoRA and QLoRA were trained with 0 to 0.1, "
            "and more mostly slows learning down"
        )
    if "virtual_tokens" in uses and not 10 <= tune.virtual_tokens <= 50:
        yield f"virtual_tokens: {tune.virtual_tokens} is outside 10 to 50; " + (
            "fewer hold too little of a task"
            if tune.virtual_tokens < 10
            else "more than that seldom gains, and each one is computed with every example"
        )
    if "bottleneck_size" in uses and not 64 <= tune.bottleneck_size <= 256:
        yield f"bottleneck_size: {tune.bottleneck_size} is outside 64 to 256; " + (
            "fewer may be too narrow for the task"
            if tune.bottleneck_size < 64
            else "more seldom gains over the cost in memory and time"
        )
    low, high = _range(method, hidden_size)
    rate = learning_rate(tune, hidden_size)
    if not low <= rate <= high:
        yield (
            f"learning_rate: {rate:g} is outside {low:g} to {high:g}, where {method} is mostly "
            f"trained at a width of {hidden_size}; "
            + ("it may learn too little" if rate < low else "it may diverge or forget")
        )
    yield from _of_training(tune)


def _of_ranks(tune: Tune) -> Iterator[str]:
    if not 4 <= tune.rank <= 256:
        yield f"rank: {tune.rank} is outside 4 to 256; " + (
            "it may hold too little of the task"
            if tune.rank < 4
            else "it seldom gains over smaller ones and costs memory in proportion"
        )
    if not tune.rank <= alpha(tune) <= 2 * tune.rank:
        yield (
            f"alpha: {alpha(tune):g} at rank {tune.rank} scales the update by "
            f"{alpha(tune) / tune.rank:.3g}; r or 2r are usual, and learning rates are meant for "
            "them"
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


def _range(method: Name, hidden_size: int) -> tuple[float, float]:
    low, high = METHODS[method].rates
    return _rounded(low * _scale(hidden_size)), _rounded(high * _scale(hidden_size))


def _scale(hidden_size: int) -> float:
    return (_WIDE / hidden_size) ** _BY_WIDTH


def _rounded(rate: float) -> float:
    # Two digits: what is said is what is used.
    return float(f"{rate:.1e}")
