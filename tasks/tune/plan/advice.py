"""Which method, and whether to tune at all: rules as a table, each with its reason and source."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.tune.plan.results import Advice

FEW = 100
"""Examples below which a prompt with examples in it competes with tuning."""
_KNOWN = 0.5  # nats a token: the model gives each token 60% on average
_FAR = 1.0  # nats above what is usual: each token is 2.7 times less likely
_BITS_A_PARAMETER = 2.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What advice depends on."""

    examples: int
    targets: int
    """Tokens that are learned, in one pass over the data."""
    loss: float | None
    """The base model's mean loss on them in nats a token; none where it could not be loaded."""
    parameters: int
    """Of the base model."""
    adapters: int
    """Tuned models that are to be served."""
    trained: Mapping[str, int]
    """Trained parameters of each method that this base has a place for."""
    fits: Mapping[str, bool]
    """Whether each of those fits into memory."""

    @property
    def usual_loss(self) -> float:
        """What a model of this size loses on common text, trained on any amount of it.

        Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556, equation 10: the part of their law
        that does not depend on the training data. Tokenizers differ, so it is only a rough guide.
        """
        return 1.69 + 406.4 / float(self.parameters**0.34)

    @property
    def distance(self) -> float:
        """By how much the base model's loss on the data exceeds its usual one, in nats a token."""
        return 0.0 if self.loss is None else self.loss - self.usual_loss

    @property
    def bits(self) -> float:
        """What there is to learn: the bits by which the data surprise the base model."""
        return (self.usual_loss if self.loss is None else self.loss) * self.targets / math.log(2)

    @property
    def capacity(self) -> float:
        """What LoRA's parameters hold, in bits."""
        return _BITS_A_PARAMETER * self.trained.get("lora", 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """`methods`, best first, where the facts are so; `reason` is filled in from them."""

    applies: Callable[[Facts], bool]
    methods: tuple[str, ...]
    reason: str
    source: str


_ADAPTERS = ("lora", "qlora", "ia3", "prefix", "prompt")

_FOUR_BITS = Rule(
    lambda facts: facts.fits.get("qlora", False) and not facts.fits.get("lora", False),
    ("qlora",),
    "the base does not fit into memory in 16 bits or more, and in 4 bits it does",
    "Dettmers et al. 2023, https://arxiv.org/abs/2305.14314",
)

# The first rule that applies and of whose methods one fits decides.
_METHODS = (
    Rule(
        lambda facts: facts.examples < FEW,
        ("ia3", "lora", "qlora"),
        "{examples:,} examples are few: a method that trains little can memorise little",
        "Liu et al. 2022, https://arxiv.org/abs/2205.05638",
    ),
    _FOUR_BITS,
    Rule(
        lambda facts: facts.adapters > 1,
        _ADAPTERS,
        "{adapters} tuned models from one base: as adapters they share its weights in memory, "
        "as whole models each would bring its own",
        "Sheng et al. 2023, https://arxiv.org/abs/2311.03285",
    ),
    Rule(
        lambda facts: facts.bits > facts.capacity and facts.distance >= _FAR,
        ("full", "lora", "qlora"),
        "much to learn, far from what the base knows: some {bits} bits, and LoRA of this rank "
        "holds some {capacity}",
        "Biderman et al. 2024, https://arxiv.org/abs/2405.09673",
    ),
    Rule(
        lambda facts: facts.bits > facts.capacity,
        ("lora", "qlora"),
        "there are some {bits} bits to learn, more than the {capacity} that LoRA holds, but close "
        "to what the base knows: raise tune.method.rank before you train every weight",
        "Schulman et al. 2025, https://thinkingmachines.ai/blog/lora/",
    ),
    Rule(
        lambda _: True,
        ("lora", "qlora"),
        "there are some {bits} bits to learn, and LoRA holds some {capacity}: it learns as well as "
        "training every weight would, for less memory, and forgets less",
        "Schulman et al. 2025, https://thinkingmachines.ai/blog/lora/",
    ),
    Rule(
        lambda _: True,
        ("ia3", "prefix", "ptuning", "prompt", "feature_extraction"),
        "LoRA does not fit into memory; this trains, and learns, less",
        "the prediction above",
    ),
)

# What to try before tuning, or beside it: all that apply are told.
_INSTEAD = (
    Rule(
        lambda facts: facts.examples < FEW,
        ("prompt with examples",),
        "with {examples:,} examples, put the best few of them into the prompt and compare; "
        "collect more before you tune",
        "Brown et al. 2020, https://arxiv.org/abs/2005.14165",
    ),
    Rule(
        lambda facts: facts.loss is not None and facts.loss < _KNOWN,
        ("prompt",),
        "the base says these answers already ({loss:.2f} nats a token): a good prompt may do",
        "its loss on your validation data, measured here",
    ),
    Rule(
        lambda _: True,
        ("retrieve",),
        "facts that change, or that an answer has to cite, belong into the prompt by retrieval: "
        "tuning teaches form better than facts",
        "Ovadia et al. 2023, https://arxiv.org/abs/2312.05934",
    ),
)


def advise(facts: Facts) -> Advice:
    """The advised method, why, and what to do instead or besides."""
    reasons: list[str] = []
    chosen: str | None = None
    for rule in _METHODS:
        if chosen is not None or not rule.applies(facts):
            continue
        chosen = next((name for name in rule.methods if facts.fits.get(name)), None)
        if chosen is not None:
            reasons.append(_explain(rule, facts))
    if chosen == "qlora" and _FOUR_BITS.applies(facts):
        # It may have narrowed another rule's choice.
        reasons = list(dict.fromkeys([*reasons, _explain(_FOUR_BITS, facts)]))
    if chosen is None:
        reasons.append(
            "no method fits into this memory: lower tune.micro_batch_tokens or tune.max_length, "
            "set tune.gradient_checkpointing, choose a smaller base model, or a larger machine"
        )
    instead = [
        f"{rule.methods[0]}: {_explain(rule, facts)}" for rule in _INSTEAD if rule.applies(facts)
    ]
    return Advice(method=chosen, reasons=tuple(reasons), instead=tuple(instead))


def _explain(rule: Rule, facts: Facts) -> str:
    reason = rule.reason.format(
        examples=facts.examples,
        adapters=facts.adapters,
        loss=facts.loss,
        bits=f"{float(f'{facts.bits:.1e}'):,.0f}",
        capacity=f"{float(f'{facts.capacity:.1e}'):,.0f}",
    )
    return f"{reason} ({rule.source})"
