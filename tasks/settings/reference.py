"""The settings reference, docs/reference/settings.md: `python -m tasks.settings.reference`."""

import sys
from collections.abc import Iterator

from tasks.settings.explanation import Entry, entries
from tasks.settings.writing import flow

_HEAD = """# Settings

Written by `make reference` from the sections' own descriptions. `perpetune settings KEY` explains
one key, `perpetune settings --write FILE` writes a `params.yaml` with these comments, and `--set
section.key=value` overrides a key for one command. A key of an earlier version is read as what it
is called now, with a message.
"""


def reference() -> str:
    """Every key with its default, the values that it takes, and what it is for, as Markdown."""
    every = list(entries())
    lines = [_HEAD]
    for section in every:
        if not section.section:
            continue
        lines += [*_section(section), ""]
        rows = [_row(entry) for entry in every if _is_in(entry, section)]
        if rows:
            lines += ["| key | default | allowed | |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _is_in(entry: Entry, section: Entry) -> bool:
    """Whether a setting is directly in a section."""
    return entry.section is None and entry.key.rpartition(".")[0] == section.key


def _section(entry: Entry) -> Iterator[str]:
    assert entry.section is not None
    yield f"{'#' * (2 + entry.key.count('.'))} {entry.key}"
    yield ""
    yield " ".join((entry.field.description or entry.section.__doc__ or "").split())
    if "." not in entry.key:
        commands = ", ".join(f"`{name}`" for name in entry.read_by)
        yield f"Read by {'every command' if entry.read_by == ('all',) else commands}."


def _row(entry: Entry) -> str:
    notes = " ".join((entry.field.description or "").split())
    allowed = f"{entry.allowed} ({entry.unit})" if entry.unit else entry.allowed
    if entry.members:
        notes += f" Of {', '.join(f'`{name}`' for name in entry.members)}."
    cells = (f"`{entry.key}`", f"`{flow(entry.default)}`", allowed, notes)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
