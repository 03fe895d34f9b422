"""What is recorded of a version, and what making it again has shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.core.environment import Environment
from tasks.core.values import Value
from tasks.model.base_source import BaseRecord
from tasks.tune.train import Conditions

FORMAT: Literal[1] = 1
"""Of `recipe.json`; a change of what it holds makes it 2."""


class Source(Value):
    """The code of a round."""

    commit: str | None
    """None where the project is in no git repository, or nothing is committed there."""
    prefix: str = ""
    """The project's folder in its repository, with a `/` at its end; none where it is the root."""
    changed: tuple[str, ...] = ()
    """Files of the patch: what differed from the commit, with new files that the round read."""
    patch_sha256: str | None = None
    """Of `changes.patch`; None without one."""


class Recipe(Value):
    """All that a version was made of: the content of `recipe.json`."""

    format: Literal[1] = FORMAT
    round: str
    source: Source
    code: dict[str, str]
    """SHA-256 of the source of each package of `tasks`, as it ran."""
    settings: dict[str, Any]
    """Those of the round, all of them, with `tune` as the version was trained."""
    sweep: dict[str, Any]
    """The search's `tune`, from which trials differ."""
    raw: str | None
    """DVC's hash of `data/`; None outside a DVC project."""
    train: str
    """MD5 of the curated training data."""
    validation: str
    """MD5 of the curated validation data."""
    curated: str
    """The folder in which they were."""
    base: BaseRecord
    converted: dict[str, str]
    """SHA-256 of each file that a package's model was converted to; none of other bases."""
    trial: int
    """Number of the trial in the search."""
    computed: tuple[Conditions, ...]
    """What its steps were computed on, in their order."""
    lanes: dict[str, int]
    """Adapters that shared a pass in the search, by method, where that was measured."""
    curve: tuple[dict[str, Any], ...]
    """A row for each step: `step`, `train_loss`, and where it was evaluated `validation_loss`."""
    adapter: dict[str, str]
    """SHA-256 of each file of the trained weights."""
    environment: Environment


@dataclass(frozen=True, slots=True)
class Recorded:
    """A registered version, as the registry gives it out."""

    model: str
    version: int
    recipe: Path
    """Folder with `recipe.json` and, where there are changes, `changes.patch`."""
    adapter: Path
    """Folder of the registered weights."""


class Difference(Value):
    """Something that is not as it was."""

    what: str
    recorded: str
    here: str
    decisive: bool
    """Whether it can change a result in bits."""


class DataCheck(Value):
    """One kind of data of a version."""

    name: str
    recorded: str | None
    """Its hash."""
    found: str | None
    how: str
    """Where it came from, in words."""

    @property
    def same(self) -> bool:
        """Whether it is the recorded data, or was not found and not needed."""
        return self.found in (None, self.recorded)


class Losses(Value):
    """The losses of two runs compared, step by step, in nats a token."""

    compared: int
    """Training and validation losses that both have."""
    missing: int
    """Those that only one has."""
    largest: float
    """The largest difference of any loss; 0 where all are equal."""
    step: int | None = None
    """Where it is."""
    name: str | None = None
    """`train_loss` or `validation_loss`."""
    first: int | None = None
    """The first step at which a loss differs."""

    @property
    def same(self) -> bool:
        """Whether all losses of all steps are equal."""
        return not self.missing and self.first is None


class FileCheck(Value):
    """One file of the trained weights, by SHA-256; None where it is missing."""

    name: str
    recorded: str | None
    """As the round trained it."""
    registered: str | None
    """As it is in the registry now."""
    reproduced: str | None

    @property
    def same(self) -> bool:
        """Whether all three are equal."""
        return self.recorded == self.registered == self.reproduced


class Weights(Value):
    """The registered and the reproduced weights compared."""

    largest: float | None
    """The largest difference of two weights; None where one of them is no finite number."""
    tensor: str | None
    """Where it is."""
    scale: float
    """The largest registered weight."""
    unmatched: tuple[str, ...] = ()
    """Tensors that only one has, or in another shape."""


class Reproduction(Value):
    """What making a version again has shown."""

    model: str
    version: int
    round: str
    commit: str
    identical: bool
    """Data, losses of all steps and all files of the weights are equal in bits."""
    same_conditions: bool
    """Nothing decisive differs, so that they had to be."""
    how: Literal["trial", "sweep"]
    """What was trained: the version's trial alone, or all trials of its search."""
    data: tuple[DataCheck, ...]
    environment: tuple[Difference, ...]
    losses: Losses
    adapter: tuple[FileCheck, ...]
    weights: Weights | None
    """None where the files are equal, or hold no weights that can be compared."""
    notes: tuple[str, ...]
    folder: Path
    """`reproduction.json`, `reproduction.md`, and `adapter/`, the reproduced weights."""
    seconds: float
