"""Raw data from its sources: pinned packages (the embedded default), a user's files, traffic.

`data/` is what later rooms read, `data.dvc` says which data it was: `record` writes that pointer,
`verify` and `ensure` hold the data against it.
"""

from tasks.collect.adopt import Adopted, adopt_window
from tasks.collect.embedded import collect_embedded
from tasks.collect.own import Role, collect_files
from tasks.collect.pointer import data_version, ensure, record, verify

__all__ = [
    "Adopted",
    "Role",
    "adopt_window",
    "collect_embedded",
    "collect_files",
    "data_version",
    "ensure",
    "record",
    "verify",
]
