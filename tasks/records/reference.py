"""The reference of record formats, as documentation: written from the registry.

python -m tasks.records.reference > docs/reference/record-formats.md
"""

import json

from tasks.records.formats import FORMATS, Format

_HEAD = """\
# Record formats

Written from the formats' own code by `python -m tasks.records.reference`. A line of data is offered
to the formats in this order; the first that it fits says what it means. What belongs to records of
any format, and why a line is dropped: [What is read, and what it means](what-is-read.md).
"""


def record_formats() -> str:
    """All formats as Markdown: what their records are, their keys, examples."""
    ordered = sorted(FORMATS, key=lambda format: (format.precedence, format.name))
    return "\n".join([_HEAD, *map(_section, ordered)])


def _section(format: Format) -> str:
    needed = " and ".join(" or ".join(f"`{key}`" for key in group) for group in format.required)
    examples = (json.dumps(example, ensure_ascii=False) for example in format.examples)
    return "\n".join(
        [
            f"## {format.name}",
            "",
            f"A {format.kind} record, by {needed}. After {format.source}.",
            "",
            "| key | meaning |",
            "|---|---|",
            *(f"| `{key}` | {meaning} |" for key, meaning in format.keys.items()),
            "",
            "```json",
            *examples,
            "```",
            "",
        ]
    )


if __name__ == "__main__":
    print(record_formats(), end="")  # noqa: T201
