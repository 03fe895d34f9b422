"""Raw data from its sources: pinned packages (the embedded default), a user's files, traffic.

`data/` is what later steps read; `data.dvc` says which data it was. `write_pointer` writes that
pointer, `verify_data` and `ensure_data` compare the data with it.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.collect.collection import Collected, Inputs, collect, pointer_to
    from tasks.collect.data_version import (
        ensure_data,
        record_traffic,
        recorded_version,
        verify_data,
        write_pointer,
    )
    from tasks.collect.embedded import collect_embedded
    from tasks.collect.local_files import Role, collect_files
    from tasks.collect.traffic_labels import (
        Adopted,
        adopt_window,
        count_labelled,
        newest_labelled,
    )

__all__ = [
    "Adopted",
    "Collected",
    "Inputs",
    "Role",
    "adopt_window",
    "collect",
    "collect_embedded",
    "collect_files",
    "count_labelled",
    "ensure_data",
    "newest_labelled",
    "pointer_to",
    "record_traffic",
    "recorded_version",
    "verify_data",
    "write_pointer",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Adopted": "traffic_labels",
        "Collected": "collection",
        "Inputs": "collection",
        "Role": "local_files",
        "adopt_window": "traffic_labels",
        "collect": "collection",
        "collect_embedded": "embedded",
        "collect_files": "local_files",
        "count_labelled": "traffic_labels",
        "ensure_data": "data_version",
        "newest_labelled": "traffic_labels",
        "pointer_to": "collection",
        "record_traffic": "data_version",
        "recorded_version": "data_version",
        "verify_data": "data_version",
        "write_pointer": "data_version",
    },
)
