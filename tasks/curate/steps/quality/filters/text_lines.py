"""Texts whose lines repeat, are all bullets, or break off: rules for web pages."""

import re
from collections import Counter
from collections.abc import Callable

from tasks.curate.ledger import Evidence
from tasks.curate.steps.quality.answers import whole_text
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Fraction, Section

_MIN_LINES = 10
_PROSE_LINE = re.compile(r"[^\W\d_][^\s{}\[\]<>|=;\\_/]*(?: +[^\s{}\[\]<>|=;\\_/]+){2,}")
_BULLETS = ("•", "‣", "▪", "●", "◦", "·", "* ", "- ", "– ")
_ELLIPSES = ("...", "…")


class RepeatedLines(Section):
    max_duplicate_lines: Fraction = 0.3
    """Highest share of a text's lines that repeat an earlier one (Gopher: 0.3)."""


@FILTERS.register
class DuplicateLines(Filter[RepeatedLines]):
    """A text of which too many lines repeat an earlier one (Gopher: more than 0.3).

    Checked are texts of at least 10 lines of prose, which are half of all. Lines of data, markup
    and source code repeat by nature (one C file in five breaks the rule as published), as do
    indented lines and those of fewer than three words: none of them counts.
    """

    name = "duplicate_lines"
    meaning = "Too many of the text's lines repeat an earlier one."
    settings = RepeatedLines
    evidence = {
        "share": "share of the lines",
        "maximum": "the setting",
        "text": "the most frequent line",
        "times": "how often it is there",
    }
    order = 90

    def is_on(self, settings: RepeatedLines) -> bool:
        return settings.max_duplicate_lines < 1

    def check(
        self, record: Record, settings: RepeatedLines, measured: Measurements
    ) -> Evidence | None:
        text, maximum = whole_text(record), settings.max_duplicate_lines
        if text.count("\n") < _MIN_LINES - 1:
            return None
        rows = [line.rstrip() for line in text.splitlines() if line.strip()]
        lines = [line for line in rows if _PROSE_LINE.fullmatch(line)]
        if len(lines) < max(_MIN_LINES, len(rows) / 2):
            return None
        # With a number in it a line is a row: equal ones are equal values.
        counts = Counter(line for line in lines if not any(map(str.isdigit, line)))
        share = (counts.total() - len(counts)) / len(lines)
        if share <= maximum:
            return None
        ((most, times),) = counts.most_common(1)
        return {"share": round(share, 4), "maximum": maximum, "text": most[:300], "times": times}


class Bullets(Section):
    max_bullet_lines: Fraction = 1.0
    """Highest share of a text's lines that begin with a bullet (Gopher: 0.9)."""


@FILTERS.register
class BulletLines(Filter[Bullets]):
    """A text of which too many lines begin with a bullet (Gopher: more than 0.9).

    Off by default: a list or a file of YAML may be all bullets.
    """

    name = "bullet_lines"
    meaning = "Nearly all of the text's lines begin with a bullet."
    settings = Bullets
    evidence = {"share": "share of the lines", "maximum": "the setting"}
    order = 120

    def is_on(self, settings: Bullets) -> bool:
        return settings.max_bullet_lines < 1

    def check(self, record: Record, settings: Bullets, measured: Measurements) -> Evidence | None:
        return _line_share(
            record, settings.max_bullet_lines, lambda line: line.startswith(_BULLETS)
        )


class Ellipses(Section):
    max_ellipsis_lines: Fraction = 1.0
    """Highest share of a text's lines that end with an ellipsis (Gopher: 0.3)."""


@FILTERS.register
class EllipsisLines(Filter[Ellipses]):
    """A text of which too many lines end with an ellipsis (Gopher: more than 0.3).

    Off by default: one line of prose or a Python stub may end so.
    """

    name = "ellipsis_lines"
    meaning = "Too many of the text's lines end with an ellipsis."
    settings = Ellipses
    evidence = {"share": "share of the lines", "maximum": "the setting"}
    order = 130

    def is_on(self, settings: Ellipses) -> bool:
        return settings.max_ellipsis_lines < 1

    def check(self, record: Record, settings: Ellipses, measured: Measurements) -> Evidence | None:
        return _line_share(
            record, settings.max_ellipsis_lines, lambda line: line.endswith(_ELLIPSES)
        )


def _line_share(record: Record, maximum: float, marked: Callable[[str], bool]) -> Evidence | None:
    lines = [line.strip() for line in whole_text(record).splitlines()]
    lines = [line for line in lines if line]
    share = sum(map(marked, lines)) / max(len(lines), 1)
    return {"share": round(share, 4), "maximum": maximum} if share > maximum else None
