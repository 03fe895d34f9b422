"""The section `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.evaluate.gates import GATES
from tasks.settings.section import Composed, Section, Unit

Margins = dict[str, Annotated[float, Field(ge=0)]]
"""By metric, a figure of it."""

Gates = Composed(
    __name__,
    "Gates",
    "evaluate.gates",
    lambda: sorted(GATES, key=lambda gate: gate.name),
    "What a candidate must reach, all of it; null: no such gate.",
)


class LmEval(Section):
    """Tasks of lm-evaluation-harness, shown beside the benchmarks; no gate looks at them. They need
    `pip install 'perpetune[lm-eval]'`."""

    tasks: list[str] = []
    """Names of tasks; none: the harness is not asked."""
    include_path: str | None = None
    """Folder with tasks of your own (YAML); those with local data run offline."""
    limit: Annotated[int | None, Field(ge=1), Unit("examples")] = None
    """Examples of a task at most; null: all."""


class Evaluate(Section):
    """What a candidate is measured on, and what it must reach."""

    KEY = "evaluate"
    READ_BY = ("evaluate", "run", "watch")

    benchmarks: list[str] = ["data/benchmarks"]
    """Held-out data; each file is one benchmark."""
    general_probe: str | None = "data/general_probe.jsonl"
    """Data on abilities that tuning must not lose; null: no such gate."""
    few_shot: Annotated[int, Field(ge=0), Unit("examples")] = 4
    """Training examples before the prompt when the base is asked with examples, a system of its own
    beside the candidate; 0: no such system."""
    others: dict[str, str] = {}
    """More systems to compare, by a name of your choice: a folder that training wrote, or
    `models:/NAME/VERSION`."""
    lm_eval: LmEval = LmEval()
    """Tasks of lm-evaluation-harness, shown beside the benchmarks; no gate looks at them."""
    metrics: list[str] = [
        *("loss", "perplexity", "rouge_l", "chrf", "exact_match", "accuracy", "macro_f1"),
        *("valid_json", "valid_python", "length_ratio"),
    ]
    """What is computed where it applies (accuracy where answers are labels, and so on), in the
    order shown; metrics of your own are computed too."""
    max_examples: Annotated[int, Field(ge=10), Unit("examples")] = 512
    """Examples of a benchmark for the loss (the first by hash of their id)."""
    max_generations: Annotated[int, Field(ge=0), Unit("examples")] = 64
    """Of these, examples that are also answered by generation; 0: none."""
    traffic_examples: Annotated[int, Field(ge=0), Unit("examples")] = 64
    """Labelled records of the newest window of traffic whose loss is measured too, which no gate
    looks at; 0: none."""
    max_new_tokens: Annotated[int, Field(ge=1), Unit("tokens")] = 32
    """Longest answer generated, in tokens."""
    batch_size: Annotated[int, Field(ge=1)] = 24
    """Prompts that are answered at once."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of the intervals of figures; those of gates follow from `alpha`."""
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.025
    """Probability with which a gate's test may let a candidate through that it should not."""
    rounds: Literal["fixed", "spending"] = "spending"
    """`spending`: `alpha` holds for all rounds on the same benchmarks together, and each round
    tests more strictly; `fixed`: for each round alone."""
    gates: Annotated[Section, Gates] = Field(default_factory=Gates)
    """What a candidate must reach, all of it."""
    review_examples: Annotated[int, Field(ge=1), Unit("items")] = 60
    """Items of the review sheet at most: answered examples on which candidate and reference
    differ. A fifth of them is for the general probe."""
