"""The gate `data`."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.limits import at_least, unknown
from tasks.evaluate.results import GateResult
from tasks.settings.section import Section, Unit


class DataSettings(Section):
    """How much training data there must be."""

    data: Annotated[int, Field(ge=1), Unit("examples")] | None = 20
    """Fewest training examples; null: no such gate."""


@GATES.register
class Data(Gate):
    """The candidate was trained on enough examples: of a handful, what it learned is chance."""

    name = "data"
    sentence = "The training file has enough examples."
    settings = DataSettings

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result; undecided where the training file is not known."""
        fewest = measured.settings.evaluate.gates.of(DataSettings).data
        train = measured.evidence.train
        if fewest is None:
            return []
        if train is None or not train.is_file():
            return [unknown(self.name, "It is not known on which file the candidate was trained.")]
        with train.open("rb") as lines:
            count = sum(1 for line in lines if line.strip())
        reason = f"{count:,} training examples; at least {fewest:,} are demanded."
        return [at_least(self.name, count, fewest, reason)]
