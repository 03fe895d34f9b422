"""The gate `size`."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.limits import at_most, unknown
from tasks.evaluate.results import GateResult
from tasks.settings.section import Section, Unit

_MEGABYTE = 1e6


class SizeSettings(Section):
    """How large the candidate may be."""

    size: Annotated[float, Field(gt=0), Unit("MB")] | None = None
    """Largest size of the candidate's folder, in 10⁶ bytes; null: no such gate."""


@GATES.register
class Size(Gate):
    """The candidate's folder is small enough to be kept and served."""

    name = "size"
    sentence = "The candidate's files are not larger than is allowed."
    settings = SizeSettings

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result; undecided where the folder is not known."""
        most = measured.settings.evaluate.gates.of(SizeSettings).size
        if most is None:
            return []
        if measured.systems is None or not measured.systems.candidate.is_dir():
            return [unknown(self.name, "The candidate's folder is not known.")]
        folder = measured.systems.candidate
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MEGABYTE
        reason = f"The candidate's files have {size:,.1f} MB; at most {most:,g} MB are allowed."
        return [at_most(self.name, round(size, 6), most, reason)]
