"""What each reason of the ledger means, as the steps and the filters declare it."""

from tasks.curate.ledger import Reason
from tasks.curate.run.steps import STEPS


def all_reasons() -> dict[str, Reason]:
    """Every reason by its name; of two steps that share one, the first step's."""
    found: dict[str, Reason] = {}
    for step in STEPS:
        for reason in step.reasons:
            found.setdefault(reason.name, reason)
    return found


def explain(name: str) -> Reason:
    """The reason of that name; an unknown one speaks for itself."""
    return all_reasons().get(name) or Reason(name, name.replace("_", " "))
