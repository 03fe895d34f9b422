"""Weights that were read: all that their configuration asks for, and no others."""

from collections.abc import Iterable

from tasks.core.errors import BadInput


def check_complete(
    what: str, missing: Iterable[str], left_over: Iterable[str], shapes: Iterable[str]
) -> None:
    """Refuse weights that do not fit their configuration.

    Raises:
        BadInput: one of the lists has a name in it.
    """
    faults = []
    for names, fault in (
        (sorted(missing), "missing"),
        (sorted(left_over), "of no use in a model of this configuration"),
        (sorted(shapes), "of another shape than its configuration says"),
    ):
        if names:
            shown = ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
            faults.append(f"{len(names)} of its tensors {_are(names)} {fault} ({shown})")
    if faults:
        raise BadInput(f"{what}: {'; '.join(faults)}; copy or download the folder again")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
