"""How systems look on every page: a name, a colour for either ground, and a shape."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Shape = Literal["circle", "square", "diamond", "up", "down", "cross"]


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one system; colour and shape both tell systems apart (Okabe & Ito 2008)."""

    name: str
    light: str
    """Colour on a light ground."""
    dark: str
    shape: Shape


_KNOWN: dict[str, tuple[str, str, Shape]] = {
    "base": ("#6b6b6b", "#b0b0b0", "circle"),
    "few_shot": ("#007a5a", "#4cc9a0", "up"),
    "first": ("#22759f", "#8fd0f5", "down"),
    "champion": ("#0072b2", "#6cb8ea", "square"),
    "candidate": ("#c14f00", "#ff9a4d", "diamond"),
}
_OTHERS: tuple[tuple[str, str, Shape], ...] = (
    ("#7a6a00", "#d8c54a", "cross"),
    ("#5b4bb7", "#a99cf0", "up"),
    ("#a3324f", "#f08ba5", "down"),
    ("#2f6f7e", "#7fc5d6", "square"),
)


def looks(systems: Iterable[str]) -> list[Look]:
    """The look of each system, in their order; those without one of their own share a few."""
    names = list(systems)
    others = [name for name in names if name not in _KNOWN]
    return [
        Look(name, *_KNOWN[name])
        if name in _KNOWN
        else Look(name, *_OTHERS[others.index(name) % len(_OTHERS)])
        for name in names
    ]
