"""The items of a review, in blind order, with the key that says which answer is whose."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from tasks.core import files
from tasks.core.order import order_key
from tasks.core.values import Value
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import Metric
from tasks.evaluate.review.selection import select
from tasks.settings import Settings

KEY_FILE = "review_key.json"
"""Name of the sheet as data, beside `verdict.json`."""

Side = Literal["A", "B"]
SIDES: tuple[Side, Side] = get_args(Side)


class ReviewItem(Value):
    """One example with the answers of every system."""

    number: int
    """As the page shows it, from 1."""
    benchmark: str
    id: str
    group: str | None
    prompt: str
    reference: str
    """The answer that the example has."""
    key: dict[Side, str]
    """The system behind either letter."""
    answers: dict[str, str]
    """By system."""


class ReviewSheet(Value):
    """What a person compares: `review_key.json`. The page shows it without the key."""

    format: Literal[1] = 1
    model: str
    """Name of the registered model."""
    reference: str
    """The system that the candidate is compared with."""
    answered: int
    """Examples that both have answered."""
    alike: int
    """Of these, examples that both answered with the same text; none of them is an item."""
    items: tuple[ReviewItem, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the file that `write` makes."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `review_key.json` into `folder`."""
        with files.atomic_write(folder / KEY_FILE) as file:
            file.write(self._bytes())

    def _bytes(self) -> bytes:
        return f"{files.to_json(self.to_json(), indent=1)}\n".encode()


def draw(
    items: Mapping[str, Sequence[Item | None]],
    reference: str,
    metrics: Mapping[str, Sequence[Metric]],
    settings: Settings,
) -> tuple[ReviewSheet, list[int]]:
    """Choose the items, and hide which answer is whose.

    The order of the items and the letters follow from `project.seed` and the ids. The candidate has
    each letter equally often.

    Args:
        items: of every system, in one order; None where a system has none, which candidate and
            reference always have.
        reference: the system that the candidate is compared with.
        metrics: those that apply, by benchmark.
        settings: `evaluate.review_examples` is the number of items.

    Returns:
        The sheet, and for each of its items the index in `items`.
    """
    candidate = [item for item in items["candidate"] if item is not None]
    other = [item for item in items[reference] if item is not None]
    chosen = select(candidate, other, metrics, settings.evaluate.review_examples)

    def shuffled(purpose: str) -> list[int]:
        def key(i: int) -> bytes:
            item = candidate[i]
            return order_key(f"{purpose}:{settings.project.seed}:{item.benchmark}:{item.id}")

        return sorted(chosen, key=key)

    order, letters = shuffled("review order"), shuffled("review letter")
    first = set(letters[: (len(chosen) + 1) // 2])
    pairs = list(zip(candidate, other, strict=True))
    answered = [(ours, theirs) for ours, theirs in pairs if ours.answered and theirs.answered]
    systems = {True: ("candidate", reference), False: (reference, "candidate")}
    sheet = ReviewSheet(
        model=settings.project.name,
        reference=reference,
        answered=len(answered),
        alike=sum(ours.answer == theirs.answer for ours, theirs in answered),
        items=tuple(
            _item(
                number,
                candidate[i],
                {name: found[i] for name, found in items.items()},
                systems[i in first],
            )
            for number, i in enumerate(order, 1)
        ),
    )
    return sheet, order


def _item(
    number: int, example: Item, by_system: Mapping[str, Item | None], systems: tuple[str, str]
) -> ReviewItem:
    return ReviewItem(
        number=number,
        benchmark=example.benchmark,
        id=example.id,
        group=example.group,
        prompt=example.prompt,
        reference=example.reference,
        key=dict(zip(SIDES, systems, strict=True)),
        answers={
            system: item.answer for system, item in by_system.items() if item and item.answered
        },
    )
