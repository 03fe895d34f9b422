"""One of the processes that train a run together, begun by `tasks.tune.train.executors`."""

import logging
import os
import sys
import threading
from pathlib import Path

from accelerate import PartialState

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.tune.train import executors as spread
from tasks.tune.train.distributed import Processes
from tasks.tune.train.local_trainer import Trainer


def main(folder: Path) -> int:
    """Take part in the assignment in `folder`; what the user is to know of an error goes there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    assignment = spread.ASSIGNMENT.validate_json((folder / "assignment.json").read_bytes())
    processes = Processes.joined(assignment.settings.tune)
    level = logging.INFO if processes.first else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    trainer = Trainer(assignment.data, folder / "unused", processes=processes)
    try:
        trainer([spread.Job(assignment.out, assignment.settings)], assignment.evaluations)
    except PerpetuneError as error:
        kind = "input" if isinstance(error, BadInput) else "other"
        files.write_json(folder / "error.json", {"kind": kind, "message": str(error)})
        return 1
    PartialState().destroy_process_group()
    return 0


def _end_with_parent() -> None:
    # Whoever began us holds the other end: it closes when that process dies, however it dies.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
