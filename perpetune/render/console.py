"""What the other modules here print with: the console, tables, figures."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import markup
from rich.console import Console
from rich.table import Table

from tasks.rendering.markdown import one_line, visible

if TYPE_CHECKING:
    from tasks.evaluate import Score


class _Terminal(Console):
    """Shows the control characters of what is printed: data, models and people may say anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = [visible(item) if isinstance(item, str) else item for item in objects]
        super().print(*shown, **options)


console = _Terminal(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def escape(text: str) -> str:
    """`text` on one line, without markup or control characters of its own."""
    return markup.escape(one_line(text))


def show_warnings(warnings: Iterable[str]) -> None:
    """The warnings of a result, one a line."""
    for warning in warnings:
        console.print(f"[yellow]warning[/] {escape(str(warning))}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print what `make_table` gives."""
    console.print(make_table(title, columns, rows))


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table whose cells are texts or numbers, with `title` above it."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def interval(score: "Score") -> str:
    """A figure with its confidence interval, where it has one."""
    if score.low is None or score.high is None:
        return f"{score.value:.3f}"
    form = ".3f" if score.high < 1e6 else ".3g"
    low, value, high = (format(end, form) for end in (score.low, score.value, score.high))
    return f"{value} [{low}, {high}]"


def number(value: Any) -> str:
    """Four digits of a number; `-` for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_or_dash(value: float | None, form: str) -> str:
    """`value` in the format `form`; `-` for None."""
    return "-" if value is None else form.format(value)


def share(count: int, total: int) -> str:
    """`count` in percent of `total`; nothing without a total."""
    return f"{count / total:.1%}" if total else ""


MODEL: ContextVar[str | None] = ContextVar("model", default=None)
"""Which `--model` this command was called with."""


def command_line(arguments: str) -> str:
    """What the user can type next, for the same model."""
    model = MODEL.get()
    return f"{program()} {arguments}" + (f" --model {model}" if model else "")


def program() -> str:
    """How the user can call this program again from the current folder."""
    if shutil.which("perpetune"):
        return "perpetune"
    here = Path(sys.argv[0])
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
