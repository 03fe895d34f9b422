"""What the commands of the platform, and `status`, say."""

from tasks.core.values import Value
from tasks.decisions import Problem
from tasks.registry import Status
from tasks.watch import WatchState


class PlatformState(Value):
    """Which processes of the last `perpetune up` run, and which are gone."""

    prefect_url: str
    mlflow_url: str
    running: tuple[str, ...]
    gone: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """Servers that run and do not answer."""
    supervised: bool = False
    """Whether what has ended is started again."""
    restarts: tuple[tuple[str, int], ...] = ()
    """How often each was started again since `perpetune up`."""


class ProjectStatus(Status):
    """What the registry says of a model, the platform's state (None before any `up`), and the
    names that `--model` takes."""

    platform: PlatformState | None
    models: tuple[str, ...] = ()
    watch: WatchState | None = None
    """None before the first look at traffic."""


class RunningProcess(Value):
    """A process of the platform."""

    pid: int
    log: str


class Waiting(Value):
    """A version that waits for a decision, and where it is read and decided."""

    version: int
    version_url: str
    """Its page in MLflow, in the view in which models are trained."""
    review_url: str
    form_url: str | None
    """The form in Prefect; None: no form is open."""


class RunningPlatform(Value):
    """Where the platform is, and how to sign in."""

    prefect_url: str
    prefect_api_url: str
    sign_in_url: str
    """Prefect's other pages show an error, not this one, to a browser that is not signed in."""
    mlflow_url: str
    credential: str
    """The file with the credential of Prefect's server."""
    processes: dict[str, RunningProcess]
    rounds_url: str | None = None
    """The project's rounds in MLflow; None before the first."""
    waiting: tuple[Waiting, ...] = ()


class StoppedPlatform(Value):
    """What `down` ended, and what had ended before."""

    stopped: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    others: int = 0
    """Further processes that the platform had started and that had outlived it."""


class Advice(Problem):
    """Something worth knowing; nothing is wrong."""


class CheckResult(Value):
    """What one check of `doctor` found."""

    name: str
    label: str
    problems: tuple[Problem, ...]
    advice: tuple[Advice, ...] = ()
    done: tuple[str, ...] = ()
    """What was put right, as sentences."""


class Diagnosis(Value):
    """What `doctor` found."""

    healthy: bool
    checks: tuple[CheckResult, ...]
