"""What holds for the whole project: its name and state, and the servers on this machine."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks.settings.section import Name, Positive, Section, Unit


class Project(Section):
    """What is built, and where its local state is kept."""

    KEY = "project"
    READ_BY = ("all",)

    name: Name = "docstring-summaries"
    """Name of the registered model and of the MLflow experiment."""
    model: Name | None = None
    """Whose settings these are: `--model NAME` sets it; null: the project's default model."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything that draws random numbers."""
    state_dir: Path = Path(".perpetune")
    """Folder for local state: SQLite databases, converted models, rounds."""
    tracking_uri: str | None = None
    """MLflow tracking URI; null: `MLFLOW_TRACKING_URI`, or else SQLite in `state_dir`."""
    plugins: list[str] = []
    """Your own methods, metrics, filters and so on: Python files, or names of modules."""

    @property
    def model_dir(self) -> Path:
        """Folder for the local state of this model alone: its rounds, their lock, its windows.

        That of the default model is `state_dir`, where what all models share is, too.
        """
        return self.state_dir if self.model is None else self.state_dir / "by-model" / self.model


class Platform(Section):
    """The local servers that `perpetune up` starts, on loopback only."""

    KEY = "platform"
    READ_BY = ("up", "run")

    prefect_port: Annotated[int, Field(ge=1024, le=65535)] = 4200
    """Port of Prefect's API and UI."""
    mlflow_port: Annotated[int, Field(ge=1024, le=65535)] = 5000
    """Port of MLflow's API and UI."""
    host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"  # noqa: S104 (refused without users and TLS)
    """`0.0.0.0`: other machines reach both servers; needs `accounts` and both addresses."""
    accounts: bool = False
    """MLflow's server has accounts: a name and a password each, and permissions."""
    prefect_address: str | None = None
    """`https://NAME` of a proxy with TLS in front of Prefect; null: for this machine only."""
    mlflow_address: str | None = None
    """`https://NAME` of a proxy with TLS in front of MLflow; null: for this machine only."""
    approval_timeout_hours: Annotated[Positive, Unit("hours")] = 168.0
    """A form that nobody answers in this time expires; the candidate stays and still waits."""
    reminder_hours: Annotated[float, Field(ge=0), Unit("hours")] = 24.0
    """Time between reminders of a candidate that waits (`notify.hooks`); 0: none."""
    round_wait_minutes: Annotated[float, Field(ge=0), Unit("minutes")] = 120.0
    """Longest wait of a round for another one, or a `dvc` command, that works here; 0: none."""
    step_timeout_hours: Annotated[Positive, Unit("hours")] = 72.0
    """Longest time that the search, or the evaluation, of a round may take before it is ended."""


class Housekeeping(Section):
    """What the weekly housekeeping of the platform deletes, and what it saves."""

    KEY = "housekeeping"
    READ_BY = ("up",)

    keep_trials_days: Annotated[float, Field(ge=0), Unit("days")] = 30.0
    """Weights of a round's trials go this long after its version was decided; figures stay."""
    clean_cache: bool = True
    """Remove from DVC's cache what no commit, no version and not the present data needs."""
    keep_backups: Annotated[int, Field(ge=0)] = 4
    """Newest backups of the databases that are kept; 0: none is made."""
