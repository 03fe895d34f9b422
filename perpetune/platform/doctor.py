"""`perpetune doctor`: every check, and on demand what puts things right."""

from perpetune.platform.checks import CHECKS, Check
from perpetune.platform.results import Advice, CheckResult, Diagnosis
from tasks.core.errors import PerpetuneError
from tasks.decisions import Problem
from tasks.settings import Settings


def diagnose(settings: Settings, *, fix: bool = False, relocate: bool = False) -> Diagnosis:
    """Run every check.

    Args:
        settings: the project.
        fix: put right first what can be put right without deciding anything.
        relocate: of that, only where the artifacts of a moved or copied project are.
    """
    results = tuple(
        _checked(check, settings, fix=fix or (relocate and check.name == "artifacts"))
        for check in CHECKS
    )
    return Diagnosis(healthy=not any(result.problems for result in results), checks=results)


def _checked(check: Check, settings: Settings, *, fix: bool) -> CheckResult:
    done: tuple[str, ...] = ()
    found: tuple[Problem, ...]
    try:
        if fix:
            done = tuple(check.fix(settings))
        found = tuple(check.examine(settings))
    except PerpetuneError as error:
        found = (Problem(what=str(error), remedy="then run `perpetune doctor` again"),)
    return CheckResult(
        name=check.name,
        label=check.label,
        problems=tuple(item for item in found if not isinstance(item, Advice)),
        advice=tuple(item for item in found if isinstance(item, Advice)),
        done=done,
    )
