"""How a command ends: its result, or one sentence, and the exit code.

Exit codes: 0 done, 1 the work failed, 2 bad arguments or input, 3 refused by a gate or by policy,
130 interrupted. Under `--json` one JSON object goes to standard output, and nothing else does.
"""

import contextlib
import errno
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

import click
import psutil

from perpetune import interrupt
from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.core.values import Value
from tasks.rendering.markdown import visible

INTERRUPTED = 130


@dataclass(frozen=True)
class Outcome:
    """What a command has to say: the result, how a person reads it, and the exit code."""

    value: Value | dict[str, Any]
    show: Callable[[Any], None]
    exit_code: int = 0


def run_to_end(call: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Call a command and say how it ended, for a person or, with `--json`, for a program.

    Args:
        call: gives an `Outcome`, or click's exit code where it has answered by itself (`--help`).
        arguments: those of the command line.

    Returns:
        The exit code. Where the user interrupts, the process ends here.
    """
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale that lacks a character of a name
            stream.reconfigure(errors="backslashreplace")
    try:
        with _standard_output(as_json) as out:
            return _ended(call, as_json, out)
    except (KeyboardInterrupt, click.Abort):
        interrupted()
    except BrokenPipeError:
        # The reader of our output has closed it: do not write the rest of the buffer again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def interrupted() -> NoReturn:
    """End this process and its descendants after Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGUSR1):  # Ctrl-C once more; see `perpetune.__main__`
        signal.signal(number, signal.SIG_IGN)
    sys.stderr.write("perpetune: interrupted\n")
    sys.stderr.flush()
    # Nobody needs what workers print when they are ended.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    end_children()
    # Python would wait for threads of engines, which abort the process when it ends.
    os._exit(INTERRUPTED)


def end_children() -> None:
    """End all descendants of this process, politely at first."""
    children = [
        child for child in psutil.Process().children(recursive=True) if not _ends_by_itself(child)
    ]
    for act in ("terminate", "kill"):
        for child in children:
            with contextlib.suppress(psutil.Error):
                getattr(child, act)()
        _, children = psutil.wait_procs(children, timeout=5)


def _ends_by_itself(process: psutil.Process) -> bool:
    # Python's own: it ignores signals, and removes shared memory when its parent has ended.
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:
        return True


def _ended(call: Callable[[], Any], as_json: bool, out: TextIO) -> int:
    usage = ""
    try:
        return _answered(call(), as_json, out)
    except click.ClickException as error:
        message, exit_code = error.format_message(), error.exit_code
        context = error.ctx if isinstance(error, click.UsageError) else None
        if context and not message.startswith("Usage:"):
            usage = f"{context.get_usage()}\n"
    except PerpetuneError as error:
        message, exit_code = str(error), error.exit_code
    except (click.Abort, BrokenPipeError):
        raise
    except OSError as error:
        message, exit_code = _of_the_system(error), 1
    except Exception as error:
        if interrupt.requested.is_set():  # an import that was cut off fails in its own way
            raise KeyboardInterrupt from error
        message, exit_code = _unknown(error), 1
    click.echo(visible(f"{usage}perpetune: {message}"), err=True)
    if as_json:
        _print_json({"error": message, "exit_code": exit_code}, out)
    return exit_code


def _answered(outcome: Any, as_json: bool, out: TextIO) -> int:
    if not isinstance(outcome, Outcome):
        return int(outcome or 0)
    if as_json:
        value = outcome.value
        _print_json(value.to_json() if isinstance(value, Value) else value, out)
    else:
        outcome.show(outcome.value)
        sys.stdout.flush()
    return outcome.exit_code


def _of_the_system(error: OSError) -> str:
    """What the operating system says, with the file."""
    what = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EMFILE:
        what += "; raise the limit with `ulimit -n 4096`"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([" to ".join(names), what] if names else [what])


def _unknown(error: Exception) -> str:
    """A fault of ours: one line, and the file with the traceback for a report."""
    first = (str(error).strip() or "no message").splitlines()[0]
    with tempfile.NamedTemporaryFile(
        "w", prefix="perpetune-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)).encode(errors="replace").decode())
    return (
        f"internal error: {type(error).__name__}: {first[:300]}; "
        f"please report it with {file.name}, which says where it happened"
    )


def _print_json(value: Value | dict[str, Any], out: TextIO) -> None:
    out.write(files.to_json(value) + "\n")
    out.flush()


@contextlib.contextmanager
def _standard_output(as_json: bool) -> Iterator[TextIO]:
    """Where the JSON object goes.

    Meanwhile standard output of libraries, native code and child processes goes to standard error.
    """
    try:
        own = sys.stdout.fileno() == 1
    except (OSError, ValueError, AttributeError):
        own = False  # replaced, as tests do
    if not as_json or not own:
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as out:
            yield out
    finally:
        os.dup2(kept, 1)
        os.close(kept)
