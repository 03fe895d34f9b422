"""What an evaluation found, as values; `to_json` is what the files and `--json` hold."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import model_serializer, model_validator

from tasks.core.values import Value

SYSTEMS = {
    "base": "the base model",
    "few_shot": "the base model with examples in its prompt",
    "champion": "the champion",
    "first": "the first champion",
    "candidate": "the candidate",
}
"""The systems that are compared, in the order in which they are shown, with their names in
sentences. Others (`evaluate.others`) have names of their own and stand before the candidate."""


def in_order(names: Iterable[str]) -> list[str]:
    """Names of systems in the order in which they are shown."""
    found = list(names)
    known = [name for name in SYSTEMS if name in found and name != "candidate"]
    others = [name for name in found if name not in SYSTEMS]
    return known + others + [name for name in found if name == "candidate"]


def in_words(system: str) -> str:
    """A system's name in sentences."""
    return SYSTEMS.get(system, system)


class Score(Value):
    """A figure between the ends of its confidence interval, from `n` items in `clusters`."""

    value: float
    low: float | None
    """None, as `high`: one cluster says nothing about how far others would be from it."""
    high: float | None
    n: int
    clusters: int = 0
    """Independent parts: groups, and items without a group."""


class BenchmarkResult(Value):
    """What one system reached on one benchmark.

    In JSON the scores are beside the counts: `{"examples", "generated", "loss": {…}, …}`.
    """

    examples: int
    generated: int
    """Examples that were also answered."""
    scores: dict[str, Score | None]
    """By metric; None: too few items, or no finite number."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "scores" in value:
            return value
        counts = {"examples", "generated"}
        scores = {name: item for name, item in value.items() if name not in counts}
        return {name: value[name] for name in counts & value.keys()} | {"scores": scores}

    @model_serializer
    def _flatten(self) -> dict[str, Any]:
        return {"examples": self.examples, "generated": self.generated} | {
            name: score and score.to_json() for name, score in self.scores.items()
        }


class Evaluation(Value):
    """What one system reached: the content of `metrics.json`."""

    model: str
    """`base`, or the path of what training wrote."""
    benchmarks: dict[str, BenchmarkResult]
    seconds: float

    def figures(self) -> dict[str, float]:
        """The values of all scores, by `BENCHMARK.METRIC`."""
        return {
            f"{benchmark}.{metric}": score.value
            for benchmark, result in self.benchmarks.items()
            for metric, score in result.scores.items()
            if score is not None
        }

    def headline(self) -> dict[str, dict[str, float]]:
        """Of each benchmark, the loss and the first metric of answers that has a figure."""
        found = {}
        for benchmark, result in self.benchmarks.items():
            known = {name: score.value for name, score in result.scores.items() if score}
            answers = [name for name in known if name not in ("loss", "perplexity")][:1]
            found[benchmark] = {name: known[name] for name in ("loss", *answers) if name in known}
        return found


class Outcome(StrEnum):
    """How a gate ended. Only `PASSED` lets a candidate through."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "cannot decide"


class GateResult(Value):
    """What a gate found. In JSON `passed` is beside `outcome`."""

    name: str
    outcome: Outcome
    value: float | None = None
    """The figure that the gate looks at."""
    interval: tuple[float, float] | None = None
    threshold: float | None = None
    reason: str
    """A sentence with the figures."""
    needed: int | None = None
    """Examples that would probably decide, where these did not."""
    at_approval: bool = False
    """The outcome is not known yet: the policy asks for it when the candidate is approved. Such a
    gate is shown, and does not count in the verdict."""

    @property
    def passed(self) -> bool:
        """Whether the candidate has what the gate demands."""
        return self.outcome is Outcome.PASSED

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; `from_json` is the inverse."""
        return super().to_json() | {"passed": self.passed}

    @model_validator(mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if isinstance(value, dict) and "passed" in value:
            return {name: item for name, item in value.items() if name != "passed"}
        return value


class Finding(Value):
    """Something that the course of the training or the figures show, with what to do about it."""

    name: str
    """Key in files, such as `over_fitting`."""
    sentence: str
    """What was found, with the figures."""
    remedy: str
    """What to change, as settings where there are some."""


class Verdict(Value):
    """A candidate beside base and champion, and what the gates say: `verdict.json`.

    In JSON `passed` and `outcome` come first.
    """

    reference: Literal["base", "champion"]
    """What the candidate was compared with: the champion, or the base where there is none."""
    gates: tuple[GateResult, ...]
    models: dict[str, Evaluation]
    """By name, in the order of `in_order`."""
    review: str
    """Name of the review sheet, beside `verdict.json`."""
    seconds: float
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the verdict needs: whether prompting is enough, how many rounds
    were judged on these benchmarks, what examples would decide."""
    diagnosis: tuple[Finding, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Failed where a gate failed; else undecided where one is, or where there is no gate."""
        outcomes = {gate.outcome for gate in self.gates if not gate.at_approval}
        if Outcome.FAILED in outcomes:
            return Outcome.FAILED
        return Outcome.PASSED if outcomes == {Outcome.PASSED} else Outcome.UNDECIDED

    @property
    def passed(self) -> bool:
        """Whether every gate passed; without a gate nothing passes."""
        return self.outcome is Outcome.PASSED

    @property
    def candidate(self) -> Evaluation:
        """What the candidate reached."""
        return self.models["candidate"]

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; `from_json` is the inverse."""
        gates = [gate.to_json() for gate in self.gates]
        head = {"passed": self.passed, "outcome": self.outcome.value}
        return head | super().to_json() | {"gates": gates}

    @classmethod
    def from_json(cls, value: Any, place: str = "") -> Self:
        """Read what `to_json` gave.

        Raises:
            PerpetuneError: it is something else, such as a file of another version.
        """
        if isinstance(value, dict):
            computed = {"passed", "outcome"}
            value = {name: item for name, item in value.items() if name not in computed}
        return super().from_json(value, place)
