"""The HTML page of a drift check: the result, and below it Evidently's view of the descriptors.

Imported late: Evidently takes seconds to import.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Context, _default_input_data_generator
from evidently.legacy.metrics import DataDriftTable
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.presets import DataDriftPreset

from tasks.core import files
from tasks.drift.descriptors import DESCRIPTORS, descriptors
from tasks.drift.results import DriftResult, DriftTest, ShiftedExample, ShiftedTerm
from tasks.rendering.markdown import clip
from tasks.rendering.templates import render

# Nothing may be fetched, whatever the page's scripts or its data ask for.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_NAME = 300
_DASHBOARD_ID = re.compile(r"metric_[0-9a-f]{32}")
_WIDGET_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class _DescriptorTable(DataDriftPreset):  # type: ignore[misc]
    """Evidently's drift table without its verdict on the data set, which has no error rate."""

    def render(
        self,
        context: Context,
        child_widgets: Any = None,  # noqa: ARG002 (Evidently's signature)
    ) -> list[BaseWidgetInfo]:
        table = DataDriftTable(
            columns=self.columns,
            num_stattest=self.num_method,
            num_stattest_threshold=self.num_threshold,
        )
        widgets = context.get_legacy_metric(table, _default_input_data_generator, None)[1]
        return list(widgets)


def write_report(
    path: Path,
    result: DriftResult,
    reference_texts: Sequence[str],
    current_texts: Sequence[str],
    reference_name: str,
    current_name: str,
) -> None:
    """Write one self-contained HTML page about a drift check, atomically.

    Evidently sees the descriptors, not the text: its own test of text compares a classifier's AUC
    with a threshold that is a percentile, and its quotations of the text would be unescaped in a
    script. The page loads nothing from anywhere, and its Content-Security-Policy forbids it to.

    Args:
        path: where the page goes.
        result: from `tasks.drift.detect`.
        reference_texts: the compared texts of the reference.
        current_texts: the compared texts of the window.
        reference_name: name of the reference, as shown.
        current_name: name of the window, as shown.
    """
    threshold = result.alpha / len(DESCRIPTORS)
    summary = render(
        "tasks.drift",
        "report.html.j2",
        result=result,
        sides=_sides(result, reference_name, current_name),
        tests=[(test, _bar(test)) for test in sorted(result.tests, key=lambda test: test.p_value)],
        evidence=_evidence(result),
        descriptor_threshold=threshold,
        evidently_version=version("evidently"),
    )
    page = _evidently_page(reference_texts, current_texts, threshold)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    page = page.replace("<head>", f"<head>{policy}{_VIEWPORT}<title>Drift check</title>", 1)
    page = page.replace("<body>", f'<body style="margin:0">{summary}', 1)
    files.write_text(path, page.lstrip())


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a person looks at to see the shift of a feature group."""

    name: str
    examples: tuple[ShiftedExample, ...]
    terms: tuple[ShiftedTerm, ...]


def _evidence(result: DriftResult) -> list[_Evidence]:
    """By feature group, the surest first."""
    groups = [test.name for test in sorted(result.tests, key=lambda test: test.p_value)]
    found = (
        _Evidence(
            name,
            tuple(example for example in result.examples if example.group == name),
            tuple(term for term in result.shifted_terms if term.group == name),
        )
        for name in groups
    )
    return [group for group in found if group.examples or group.terms]


def _sides(result: DriftResult, reference_name: str, current_name: str) -> list[tuple[Any, ...]]:
    """Name, files, records read, rows compared and what they are worth, of each side."""
    names = {"reference": clip(reference_name, _NAME), "window": clip(current_name, _NAME)}
    keys = {"reference": "reference", "window": "current"}
    return [
        (side, names[side], *(getattr(found, keys[side]) for found in _counts(result)))
        for side in names
    ]


def _counts(result: DriftResult) -> tuple[Any, ...]:
    return result.read, result.rows, result.effective


def _bar(test: DriftTest) -> int:
    """The length of a test's bar in pixels, in the logarithm of p; the threshold is at 100."""
    smallest = -math.log(max(test.p_value, 1e-12)) / -math.log(test.threshold)
    return max(1, min(160, round(100 * smallest)))


def _evidently_page(
    reference_texts: Sequence[str], current_texts: Sequence[str], threshold: float
) -> str:
    columns = list(DESCRIPTORS)
    table = _DescriptorTable(columns=columns, num_method="ks", num_threshold=threshold)
    # A constant descriptor has no correlation with another: Evidently divides by zero there.
    with np.errstate(divide="ignore", invalid="ignore"):
        snapshot = Report([table], include_tests=False).run(
            _dataset(current_texts), _dataset(reference_texts)
        )
    return _with_stable_ids(snapshot.get_html_str(as_iframe=False))


def _dataset(texts: Sequence[str]) -> Dataset:
    frame = pd.DataFrame(descriptors(texts), columns=list(DESCRIPTORS))
    return Dataset.from_pandas(frame, DataDefinition(numerical_columns=list(DESCRIPTORS)))


def _with_stable_ids(page: str) -> str:
    """Number the random ids in the page's data, so that equal input gives equal bytes."""
    stable: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return stable.setdefault(found[0], f"id-{len(stable)}")

    lines = _DASHBOARD_ID.sub("metric_drift", page).split("\n")
    # Lines that begin with a variable hold the data; the rest is Evidently's library.
    return "\n".join(
        _WIDGET_ID.sub(number, line) if line.startswith("    var ") else line for line in lines
    )
