"""The gate `contamination`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.limits import at_most, unknown
from tasks.evaluate.results import GateResult
from tasks.settings.section import Section, Unit


class ContaminationSettings(Section):
    """What training may have seen of what is judged on."""

    contamination: Annotated[int, Field(ge=0), Unit("records")] | None = 0
    """Records of the training and validation files that may contain a benchmark record, or one of
    the general probe; null: no such gate."""


@GATES.register
class Contamination(Gate):
    """Nothing that trained or chose the candidate holds what it is judged on.

    The very files that the round trained on and chose among its trials on are searched again, as
    curation does (`tasks.curate`), for every record of the benchmarks and of the general probe.
    """

    name = "contamination"
    sentence = "Neither training data nor the data that chose the trial hold benchmark records."
    settings = ContaminationSettings

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result; undecided where the training file is not known."""
        limit = measured.settings.evaluate.gates.of(ContaminationSettings).contamination
        evidence = measured.evidence
        if limit is None:
            return []
        files = {"training": evidence.train, "validation": evidence.validation}
        for name, path in files.items():
            if (path is None and name == "training") or (path is not None and not path.is_file()):
                return [unknown(self.name, f"The {name} file of the round is not known.")]
        known = {name: path for name, path in files.items() if path is not None}
        return [self._searched(known, measured, limit)]

    def _searched(self, searched: dict[str, Path], measured: Measured, limit: int) -> GateResult:
        # Imported here: `status` and the pages read gates, and search nothing.
        from tasks.curate import find_contamination

        options = measured.settings.evaluate
        benchmarks = [*options.benchmarks, *filter(None, [options.general_probe])]
        total, counted, first = 0, [], ""
        for name, path in searched.items():
            found = find_contamination(path, benchmarks, measured.settings.curate)
            total += len(found.leaks)
            counted.append(f"{len(found.leaks):,} of {found.records:,} {name} examples")
            if found.leaks and not first:
                leak = found.leaks[0]
                first = (
                    f"; the first: line {leak.line} of {path.name} has {leak.benchmark_id} of "
                    f"{Path(leak.benchmark).name}"
                )
        allowed = f", {limit:,} are allowed" if limit else ""
        verb = "contains" if total == 1 else "contain"
        reason = f"{' and '.join(counted)} {verb} a benchmark record{allowed}{first}."
        return at_most(self.name, total, limit, reason)
