"""The gate `general`."""

from collections.abc import Sequence

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.comparing import compared
from tasks.evaluate.items import GENERAL
from tasks.evaluate.results import GateResult
from tasks.evaluate.settings import Margins
from tasks.settings.section import Section


class GeneralSettings(Section):
    """What may be lost of what the base can."""

    general: Margins | None = Field({"loss": 0.3})
    """By metric, how much worse than the base the candidate may be on the general probe; null: no
    such gate."""


@GATES.register
class General(Gate):
    """Non-inferiority on the general probe: passed where the worse end of the interval is within
    the margin (Schuirmann 1987; Piaggio et al. 2012).

    The candidate is compared with the base: compared with the champion, small losses would add up
    over rounds. The groups of the probe are kinds of questions: the claim is about other kinds like
    them, and not only about other questions of these kinds.
    """

    name = "general"
    sentence = "On the general probe the candidate is not worse than the base by the margin."
    needs = frozenset({"general_probe"})
    settings = GeneralSettings
    metrics = frozenset({"general"})

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result a metric."""
        limits = measured.settings.evaluate.gates.of(GeneralSettings).general or {}
        return compared(self.name, measured, "base", limits, [GENERAL], "the general probe")
