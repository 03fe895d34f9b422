"""What the course of the training and the answers show beyond the gates: a file for each test.

A diagnostic tests for one thing and says it with its figures and a remedy, or is silent. Nothing
here decides on a candidate: that is what gates do.
"""

import logging
from collections.abc import Sequence

from tasks.core.plugins import PluginRegistry
from tasks.evaluate.diagnosis.contract import Diagnostic, Seen
from tasks.evaluate.diagnosis.course import Course, read_course
from tasks.evaluate.gates import Measured
from tasks.evaluate.results import Finding

__all__ = [
    "DIAGNOSTICS",
    "Course",
    "Diagnostic",
    "Finding",
    "Seen",
    "diagnose",
    "read_course",
    "silent",
    "title",
]

DIAGNOSTICS: PluginRegistry[Diagnostic] = PluginRegistry(
    "diagnostic", "tasks.evaluate.diagnosis.findings"
)

log = logging.getLogger(__name__)


def diagnose(measured: Measured, course: Course | None) -> tuple[Finding, ...]:
    """The findings of every diagnostic, in the order of `DIAGNOSTICS`.

    Args:
        measured: the items of every system, and the evidence of the round.
        course: of the trial that won; None: it is not known, and nothing is said about it.
    """
    seen = Seen(measured, course)
    found = []
    for diagnostic in DIAGNOSTICS:
        said = diagnostic.find(seen)
        if said is not None:
            found.append(Finding(name=diagnostic.name, sentence=said[0], remedy=said[1]))
    for finding in found:
        log.info("%s: %s %s", finding.name, finding.sentence, finding.remedy)
    return tuple(found)


def silent(findings: Sequence[Finding]) -> list[str]:
    """What the diagnostics without a finding look for, in words."""
    names = {finding.name for finding in findings}
    return [diagnostic.subject for diagnostic in DIAGNOSTICS if diagnostic.name not in names]


def title(finding: Finding) -> str:
    """A finding's name as people read it."""
    known = DIAGNOSTICS.members().get(finding.name)
    subject = known.subject if known else finding.name.replace("_", " ")
    return subject[:1].upper() + subject[1:]
