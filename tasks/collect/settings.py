"""The section `collect`: where raw data comes from."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.settings.section import Section


class Collect(Section):
    """The embedded default: function signatures and docstrings of pinned packages."""

    KEY = "collect"
    READ_BY = ("collect",)

    train_packages: list[str] = ["numpy", "pandas", "scipy"]
    """Packages for the training source and the traffic windows without drift."""
    heldout_packages: list[str] = ["scikit-learn"]
    """Packages for the benchmark; the model never trains on them."""
    drift_packages: list[str] = ["sqlalchemy"]
    """Packages for the drifted traffic window."""
    max_per_package: Annotated[int, Field(ge=10)] = 2000
    """Records taken from one package at most."""
    max_same_completion: Annotated[int, Field(ge=1)] = 3
    """Functions with the same summary taken for one purpose: many share an inherited one."""
    windows: Annotated[int, Field(ge=1, le=52)] = 3
    """Number of traffic windows without drift."""
    window_size: Annotated[int, Field(ge=20)] = 200
    """Records in a traffic window without drift."""
    drifted_window_size: Annotated[int, Field(ge=20)] = 400
    """Records in the drifted window: some become training data, the others a benchmark."""

    @model_validator(mode="after")
    def _packages_have_one_purpose(self) -> Self:
        packages = [*self.train_packages, *self.heldout_packages, *self.drift_packages]
        twice = sorted({name for name in packages if packages.count(name) > 1})
        if twice:
            raise ValueError(f"each package once, for one purpose ({', '.join(twice)} is twice)")
        return self
