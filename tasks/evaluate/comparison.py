"""A candidate beside base and champion: all on the same data, the gates, and the review sheet."""

import logging
import time
from pathlib import Path

from tasks.core import files
from tasks.evaluate import diagnosis, gates, multiplicity, pages
from tasks.evaluate.inputs import Evidence, Systems
from tasks.evaluate.label_baseline import label_notes
from tasks.evaluate.metrics import selected
from tasks.evaluate.prompting import prompting_notes
from tasks.evaluate.results import Verdict, in_order
from tasks.evaluate.side_by_side import measure_all
from tasks.settings import Settings

log = logging.getLogger(__name__)


def compare(systems: Systems, evidence: Evidence, out: Path, settings: Settings) -> Verdict:
    """Measure all systems on the same data, decide on every gate and write the review sheet.

    Losses and answers are cached (`tasks.evaluate.measuring`): base and champion are not measured
    again in the next round.

    Writes into `out`: a folder for each system (as `evaluate` does), what
    `tasks.evaluate.pages.write` writes and, last, `verdict.json`.

    Args:
        systems: what is compared, beside the base model.
        evidence: what else the round knows.
        out: folder for the results; made where missing.
        settings: `evaluate` names data, metrics and thresholds.

    Raises:
        BadInput: as `evaluate`; or the general probe is named but missing.
    """
    started = time.perf_counter()
    (out / "verdict.json").unlink(missing_ok=True)
    selected(settings.evaluate.metrics)
    gates.check(settings)
    found = measure_all(systems, evidence, out, settings)
    compared = gates.Measured(found.items, settings, evidence, systems)
    course = diagnosis.read_course(evidence)
    verdict = Verdict(
        reference=compared.reference,
        gates=gates.decide(compared),
        models={name: found.models[name] for name in in_order(found.models)},
        review="review.html",
        diagnosis=diagnosis.diagnose(compared, course),
        seconds=round(time.perf_counter() - started, 1),
        notes=(
            *prompting_notes(compared),
            *label_notes(compared),
            *multiplicity.notes(compared),
            *found.notes,
        ),
    )
    pages.write(compared, verdict, course, out)
    files.write_json(out / "verdict.json", verdict.to_json(), sort_keys=False)
    return verdict
