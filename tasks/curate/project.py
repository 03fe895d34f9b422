"""Which records a project curates, and against which benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class Sources:
    """Records to curate, and the benchmarks that must not leak into them."""

    inputs: list[str]
    benchmarks: list[str]


def choose_sources(
    settings: Settings, inputs: Sequence[str] = (), benchmarks: Sequence[str] = ()
) -> Sources:
    """Those named, or those of the settings.

    The settings' inputs include the labelled traffic of earlier drift (`curate.feedback`), where
    there is some. Inputs that are named without benchmarks are compared with none: the settings'
    benchmarks belong to the settings' inputs.
    """
    named = bool(inputs or benchmarks)
    return Sources(
        inputs=list(inputs) or _of_settings(settings),
        benchmarks=list(benchmarks if named else settings.curate.benchmarks),
    )


def _of_settings(settings: Settings) -> list[str]:
    inputs, feedback = list(settings.curate.inputs), settings.curate.feedback
    if feedback and any(not path.name.startswith(".") for path in Path(feedback).glob("*")):
        inputs.append(feedback)
    return inputs
