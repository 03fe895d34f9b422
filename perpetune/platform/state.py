"""How the platform is, by its processes and by asking its servers."""

from perpetune.platform.launching import answers
from perpetune.platform.processes import SERVERS, Platform, recorded_platform
from perpetune.platform.results import PlatformState
from tasks.settings import Settings


def platform_state(settings: Settings, *, ask: bool = True) -> PlatformState | None:
    """Which processes of the last `perpetune up` run, answer, and are gone; None before any.

    Args:
        settings: the project.
        ask: send each server a request; otherwise its process alone counts.
    """
    platform = recorded_platform(settings)
    if platform is None:
        return None
    alive = platform.alive()
    asked = [name for name in SERVERS if ask and name in alive]
    return PlatformState(
        prefect_url=platform.prefect_url,
        mlflow_url=platform.mlflow_url,
        running=tuple(name for name in platform.processes if name in alive),
        gone=tuple(name for name in platform.processes if name not in alive),
        silent=tuple(name for name in asked if not _answers(platform, name)),
        supervised=platform.supervised() is not None,
        restarts=tuple(platform.restarts.items()),
    )


def in_words(state: PlatformState) -> tuple[str, ...]:
    """What is wrong with a platform of which something runs, as sentences."""
    if not state.running:
        return ()
    said: list[str] = []
    names = ", ".join(state.gone)
    if state.gone and state.supervised:
        said.append(f"the platform's {names} ended and is being started again")
    elif state.gone:
        said.append(f"the platform's {names} no longer runs: `perpetune up` starts it again")
    elif not state.supervised:
        said.append(
            "nothing starts the platform's processes again if they end: `perpetune up` does so"
        )
    if "worker" in state.gone:
        said.append("without a worker no scheduled round, watch or form goes on")
    for name in state.silent:
        said.append(f"the platform's {name} runs and does not answer: see its log")
    return tuple(said)


def _answers(platform: Platform, name: str) -> bool:
    places = {
        "prefect": f"{platform.prefect_api_url}/health",
        "mlflow": f"{platform.mlflow_url}/health",
    }
    return answers(places[name], seconds=3)
