"""Which rows of traffic people should answer, and their answers back.

`hand_out` writes the rows that are most worth an answer to a file for people, `take` checks what
they filled in and keeps it, `with_labels` reads a window with these answers. A way to choose is a
member of `STRATEGIES`, a form of file one of `FILE_FORMS`.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.label.choosing import Known, hand_out
    from tasks.label.files import FILE_FORMS, FileForm
    from tasks.label.pool import Pool
    from tasks.label.strategies import STRATEGIES, Strategy
    from tasks.label.taking import take
    from tasks.label.values import Batch, BatchRow, Difference, Filled, HandedOut, Taken
    from tasks.label.windows import is_labelled, labels_folder, with_labels

__all__ = [
    "FILE_FORMS",
    "STRATEGIES",
    "Batch",
    "BatchRow",
    "Difference",
    "FileForm",
    "Filled",
    "HandedOut",
    "Known",
    "Pool",
    "Strategy",
    "Taken",
    "hand_out",
    "is_labelled",
    "labels_folder",
    "take",
    "with_labels",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Batch": "values",
        "BatchRow": "values",
        "Difference": "values",
        "FILE_FORMS": "files",
        "FileForm": "files",
        "Filled": "values",
        "HandedOut": "values",
        "Known": "choosing",
        "Pool": "pool",
        "STRATEGIES": "strategies",
        "Strategy": "strategies",
        "Taken": "values",
        "hand_out": "choosing",
        "is_labelled": "windows",
        "labels_folder": "windows",
        "take": "taking",
        "with_labels": "windows",
    },
)
