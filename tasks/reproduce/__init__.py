"""Making a registered version again: what has to be recorded for it, and the making itself.

    source        the code of a round: a commit, and a patch of what was not committed
    recipe        all that a version was made of, recorded when it is registered
    worktree      the code of a version, checked out beside the user's own
    data          the data of a version, found by its hash
    training      curates and trains in the worktree, with the code that is there
    comparison    what differs: data, environment, losses, weights
    reproduction  the whole, and its report

Each function works alone; none of them knows the registry.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.reproduce.recipe import Made, record_recipe
    from tasks.reproduce.report import losses_sentence, verdict_sentence, weights_sentence
    from tasks.reproduce.reproduction import reproduce
    from tasks.reproduce.results import (
        DataCheck,
        Difference,
        FileCheck,
        Losses,
        Recipe,
        Recorded,
        Reproduction,
        Source,
        Weights,
    )
    from tasks.reproduce.source import record_source

__all__ = [
    "DataCheck",
    "Difference",
    "FileCheck",
    "Losses",
    "Made",
    "Recipe",
    "Recorded",
    "Reproduction",
    "Source",
    "Weights",
    "losses_sentence",
    "record_recipe",
    "record_source",
    "reproduce",
    "verdict_sentence",
    "weights_sentence",
]

_RESULTS = [name for name in __all__ if name[0].isupper() and name != "Made"]

__getattr__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(_RESULTS, "results"),
        **dict.fromkeys(("Made", "record_recipe"), "recipe"),
        "record_source": "source",
        "reproduce": "reproduction",
        **dict.fromkeys(("losses_sentence", "verdict_sentence", "weights_sentence"), "report"),
    },
)
