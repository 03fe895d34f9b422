"""The entry of the `perpetune` command, which Ctrl-C ends quietly from its first moment.

A terminal sends Ctrl-C to every process that a command has started. Here only the first process
takes it, and ends the others: the signal is blocked, which new processes inherit, and a thread
waits for it. Otherwise each worker of an engine would print a traceback.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

from perpetune import interrupt

_WAKE = signal.SIGUSR1
_PATIENCE = 2.0  # seconds
_PARALLEL = {"curate", "sweep", "run", "watch"}
"""Commands that start processes by `multiprocessing`."""


def main() -> None:
    """Run the command line."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup
            _take_interrupts()
        from perpetune.cli.main import main as commands
    except KeyboardInterrupt:
        sys.stderr.write("perpetune: interrupted\n")
        sys.stderr.flush()
        os._exit(130)
    commands()


def _take_interrupts() -> None:
    thread = threading.main_thread().ident
    assert thread is not None

    def wake() -> None:
        signal.pthread_kill(thread, _WAKE)

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGINT})
            wake()
            time.sleep(_PATIENCE)
            # The main thread may wait in native code for an answer of the workers.
            from perpetune.cli.endings import end_children

            end_children()

    def raise_interrupt(_: int, __: FrameType | None) -> None:
        interrupt.requested.set()
        raise KeyboardInterrupt

    def unraisable(problem: "sys.UnraisableHookArgs") -> None:
        if issubclass(problem.exc_type, KeyboardInterrupt):
            # A destructor was running and swallowed it: try again.
            threading.Timer(0.1, wake).start()
        else:
            sys.__unraisablehook__(problem)

    if _PARALLEL & set(sys.argv):
        # If it started later, it would unblock the signal.
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
    signal.signal(_WAKE, raise_interrupt)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.unraisablehook = unraisable
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
