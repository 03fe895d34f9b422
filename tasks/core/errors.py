"""The ways in which work ends badly, and the exit code of each.

A message names the file, the line where there is one, and the remedy; it is what the user reads.
"""


class PerpetuneError(Exception):
    """The work itself failed (exit code 1)."""

    exit_code = 1


class Unavailable(PerpetuneError):
    """Something outside does not answer now (exit code 1); trying again later may help."""


class BadInput(PerpetuneError):
    """An argument, a setting or an input file cannot be used (exit code 2)."""

    exit_code = 2


class Refused(PerpetuneError):
    """A gate or a policy says no (exit code 3)."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
