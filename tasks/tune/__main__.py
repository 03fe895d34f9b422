"""One of the processes that train a run together, started by `tasks.tune.train.executors`."""

import logging
import os
import sys
import threading
from pathlib import Path

from accelerate import PartialState

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.tune.train.distributed import Processes
from tasks.tune.train.local_executor import LocalExecutor
from tasks.tune.train.trials import TrialRun, read_task


def main(folder: Path) -> int:
    """Take part in the task in `folder`; an error that the user is to see is written there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = read_task(folder / "task.json")
    processes = Processes.from_torchrun(task.settings.tune)
    level = logging.INFO if processes.is_main else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    execute = LocalExecutor(task.data, processes=processes)
    try:
        execute([TrialRun(task.out, task.settings)], task.evaluations)
    except PerpetuneError as error:
        kind = "input" if isinstance(error, BadInput) else "other"
        files.write_json(folder / "error.json", {"kind": kind, "message": str(error)})
        return 1
    PartialState().destroy_process_group()
    return 0


def _end_with_parent() -> None:
    # The process that started this one holds the other end, which closes when it dies.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
