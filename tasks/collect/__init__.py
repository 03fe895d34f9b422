"""Raw data from its sources: pinned packages (the embedded default), a user's files, traffic.

`data/` is what later steps read; `data.dvc` says which data it was. `write_pointer` writes that
pointer, `verify_data` and `ensure_data` compare the data with it.
"""

from tasks.collect.data_version import ensure_data, recorded_version, verify_data, write_pointer
from tasks.collect.embedded import collect_embedded
from tasks.collect.local_files import Role, collect_files
from tasks.collect.traffic_labels import Adopted, adopt_window

__all__ = [
    "Adopted",
    "Role",
    "adopt_window",
    "collect_embedded",
    "collect_files",
    "ensure_data",
    "recorded_version",
    "verify_data",
    "write_pointer",
]
