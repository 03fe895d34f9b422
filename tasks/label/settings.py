"""The section `label`."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.label.strategies import STRATEGIES
from tasks.settings.section import Fraction, Section, Unit


def _is_strategy(name: str) -> str:
    known = STRATEGIES.members()
    if name not in known:
        raise PydanticCustomError("no_member", "{names}", {"names": " or ".join(map(repr, known))})
    return name


class Label(Section):
    """Which rows of traffic people are asked to answer."""

    KEY = "label"
    READ_BY = ("label", "watch")

    folder: str | None = None
    """Folder of the answers that people gave, a file for each window of traffic; null: `labels`
    beside `watch.traffic`."""
    strategy: Annotated[str, AfterValidator(_is_strategy)] = "combined"
    """How rows are chosen: `combined`, `random`, `novelty`, `uncertainty` or `diversity`."""
    random_share: Fraction = 0.2
    """Share of the rows that is drawn at random, so that the gain can be measured without bias."""
    choices: list[str] = []
    """The answers to choose from, where answers are labels; none: those of the training data."""
    asked_rows: Annotated[int, Field(ge=0), Unit("rows")] = 200
    """Rows whose answer the champion is asked for, to see how sure it is of them (not where answers
    are labels); 0: none."""
    suggestions: bool = True
    """Put the champion's own answer beside each row, for people to correct."""
