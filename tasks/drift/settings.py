"""The section `drift`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.settings.section import Section, Unit


class Drift(Section):
    """When traffic counts as different from what the champion was trained on."""

    KEY = "drift"
    READ_BY = ("drift", "run", "watch")

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Probability of a false alarm that one comparison accepts; the watch has `yearly_alpha`."""
    permutations: Annotated[int, Field(ge=100, le=10_000)] = 1000
    """Permutations behind the p-value; more are drawn where alpha asks for a smaller one."""
    max_rows: Annotated[int, Field(ge=50, le=200_000)] = 20_000
    """Rows of each side that are compared at most (whole groups, drawn by a seeded hash)."""
    min_rows: Annotated[int, Field(ge=5)] = 20
    """Rows that a window needs: with fewer, it is refused."""
    max_characters: Annotated[int, Field(ge=100), Unit("characters")] = 2000
    """Of the text of a longer prompt, only its beginning and its end are compared."""

    reference_rows: Annotated[int, Field(ge=50, le=100_000)] = 5000
    """Rows at most that are stored with a version of each kind of traffic it was trained on."""
    yearly_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability of any false alarm of the watch that is accepted in a year of windows."""
    yearly_windows: Annotated[int, Field(ge=1), Unit("windows")] = 8760
    """How many windows are a year: 8760 if there is one each hour."""
    early_share: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    """Share of `yearly_alpha` spent on the first windows after each restart of the comparison."""
    longest_pool: Annotated[int, Field(ge=1, le=4096), Unit("windows")] = 256
    """Up to so many windows are pooled (1, 2, 4, …) to find what no single window shows."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_rows > self.max_rows:
            raise ValueError("min_rows of at most max_rows")
        return self
