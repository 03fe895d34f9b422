"""What the training data says of answers: whether they are labels, and which."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tasks import records
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.label.windows import read_text
from tasks.records import BadLine, Labelled, Record
from tasks.records.record import TEXT_ROLE
from tasks.settings import Settings

log = logging.getLogger(__name__)

_MOST_READ = 20_000
_MOST_KEPT = 5_000
_MOST_LABELS = 20
_EXAMPLES_A_LABEL = 3
Choice = str | int | float | bool


@dataclass(frozen=True)
class Training:
    """Prompts of training data, and their labels where answers are labels.

    Attributes:
        texts: prompts.
        labels: of each prompt; empty where answers are no labels.
        choices: all labels, sorted; empty where answers are no labels.
        as_label: whether the data has labels beside texts, and not as answers in chats.
    """

    texts: tuple[str, ...] = ()
    labels: tuple[Choice, ...] = ()
    choices: tuple[Choice, ...] = ()
    as_label: bool = False


def training_data(settings: Settings) -> Training:
    """The prompts and labels of `curate.inputs` and `curate.feedback`, or a share of many.

    Answers are labels where there are two to twenty different ones, each three times on average
    (as evaluation has it), or where `label.choices` names them.
    """
    found = _read(settings)
    targets = [_label(record) for record in found]
    counts = Counter(map(str, targets))
    named = settings.label.choices
    values = {str(target): target for target in targets}
    are_labels = 2 <= len(counts) <= _MOST_LABELS and len(targets) >= _EXAMPLES_A_LABEL * len(
        counts
    )
    choices = tuple(values.get(name, name) for name in (named or sorted(counts)))
    as_label = bool(found) and all(_is_text(record) for record in found)
    if not (named or are_labels):
        return Training(texts=tuple(read_text(record) for record in found))
    known = set(map(str, choices))
    pairs = [(read_text(r), t) for r, t in zip(found, targets, strict=True) if str(t) in known]
    return Training(
        texts=tuple(text for text, _ in pairs),
        labels=tuple(label for _, label in pairs),
        choices=choices,
        as_label=as_label,
    )


def _read(settings: Settings) -> list[Record]:
    found: list[Record] = []
    feedback = settings.curate.feedback
    specs = [*settings.curate.inputs]
    if feedback is not None and any(Path(feedback).glob("*")):
        specs.append(feedback)
    try:
        for path in records.expand(specs):
            for item in records.read(path):
                if not isinstance(item, BadLine) and item.target:
                    found.append(item)
                if len(found) >= _MOST_READ:
                    break
    except BadInput as error:
        log.warning("curate.inputs: %s; rows are chosen without training data", error)
    found.sort(key=lambda record: order_key(f"training\0{record.id}"))
    return found[:_MOST_KEPT]


def _label(record: Record) -> Choice:
    return (
        record.label if isinstance(record, Labelled) and _is_text(record) else record.target or ""
    )


def _is_text(record: Record) -> bool:
    return isinstance(record, Labelled) and record.turns[0].role == TEXT_ROLE
