"""Alarms of the watch that wait for a round, until the watch keeps them."""

from typing import Any

from tasks.settings import Settings


def answered(settings: Settings, alarm: str) -> Any:
    """The answer to an alarm; None: none yet."""
    del settings, alarm


def pending(settings: Settings) -> tuple[Any, ...]:
    """The alarms that a round answers which takes its data from now on."""
    del settings
    return ()


def answer(settings: Settings, alarms: tuple[Any, ...], version: int | None, why: str) -> None:
    """Record that a round has answered these alarms."""
    del settings, alarms, version, why
