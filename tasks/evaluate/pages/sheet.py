"""The review sheet: what a person reads before deciding, and compares blind."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks.core import files
from tasks.evaluate import review
from tasks.evaluate.aggregation import applying, item_score
from tasks.evaluate.gates import Measured
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import Metric, selected
from tasks.evaluate.pages import differences
from tasks.evaluate.pages.shown import shown_verdict
from tasks.evaluate.pages.systems import Look, looks
from tasks.evaluate.pages.table import shown_rows
from tasks.evaluate.results import Verdict, in_words
from tasks.evaluate.review import ReviewItem, ReviewSheet
from tasks.rendering.markdown import visible
from tasks.rendering.templates import label, render

TABLE_FILE = "review_table.json"
"""The items as a table, in the form of MLflow's `log_table`."""

Scores = Mapping[tuple[int, str], Mapping[str, float | None]]
"""By number of the item and system: scores by the label of their metric."""


def write(measured: Measured, verdict: Verdict, course: str, out: Path) -> None:
    """Write `review.html`, `review.md`, `review_key.json` and `review_table.json`.

    Args:
        measured: the items of every system; `evaluate.review_examples` of them are compared.
        verdict: from `compare`.
        course: the curves of the training as SVG; empty where they are not known.
        out: the folder.
    """
    settings = measured.settings
    metrics = {
        name: [metric for metric in applying(part, asked) if _shown_by_item(metric)]
        for asked in [selected(settings.evaluate.metrics)]
        for name, part in measured.items["candidate"].items()
    }
    items = _aligned(measured, list(verdict.models))
    sheet, chosen = review.draw(items, verdict.reference, metrics, settings)
    sheet.write(out)
    scores = {
        (item.number, system): {
            metric.label: item_score(one, metric) for metric in metrics[item.benchmark]
        }
        for item, i in zip(sheet.items, chosen, strict=True)
        for system, found in items.items()
        if (one := found[i]) is not None
    }
    files.write_json(out / TABLE_FILE, _table(sheet, list(items), scores), sort_keys=False)
    values = {
        "name": settings.project.name,
        "base": settings.base.model,
        "verdict": verdict,
        "confidence": f"{100 * settings.evaluate.confidence:g}%",
        "models": list(verdict.models),
        "table": shown_rows(verdict),
        "benchmarks": list(verdict.candidate.benchmarks),
        **shown_verdict(verdict),
        "about": _about(sheet),
        "nothing": _nothing(sheet),
    }
    page = render(
        "tasks.evaluate.pages",
        "review.html.j2",
        items=[_shown(item, sheet, list(items), scores) for item in sheet.items],
        course=Markup(course),  # noqa: S704 (drawn here, from numbers)
        **_embedded(sheet, looks(items)),
        **values,
    )
    files.write_text(out / "review.html", page)
    page = render(
        "tasks.evaluate.pages", "review.md.j2", items=sheet.items, scores=scores, **values
    )
    files.write_text(out / "review.md", page)


def _shown_by_item(metric: Metric) -> bool:
    """Speed and the like are figures of whole runs."""
    return metric.derived_from is None and metric.aspect != "speed"


def _aligned(measured: Measured, systems: Sequence[str]) -> dict[str, list[Item | None]]:
    """The items of every system in the candidate's order; None: a system has none for an example.

    Candidate and reference have one for each; a system beside them may not.
    """
    order = [item for part in measured.items["candidate"].values() for item in part]
    found: dict[str, list[Item | None]] = {}
    for system in systems:
        parts = [item for part in measured.items[system].values() for item in part]
        if [item.id for item in parts] == [item.id for item in order]:
            found[system] = [*parts]
            continue
        known = {(item.benchmark, item.id): item for item in parts}
        found[system] = [known.get((item.benchmark, item.id)) for item in order]
    return found


def _shown(
    item: ReviewItem,
    sheet: ReviewSheet,
    systems: Sequence[str],
    scores: Scores,
) -> dict[str, Any]:
    """An item as the page has it."""

    def words(system: str) -> str:
        found = scores[item.number, system].items()
        return " · ".join(f"{name} {score:.2f}" for name, score in found if score is not None)

    pair = []
    first, second = review.SIDES
    for side, other in ((first, second), (second, first)):
        system, answer = item.key[side], item.answers[item.key[side]]
        against = item.answers[item.key[other]]
        pair.append(
            {
                "side": side,
                "pieces": differences.pieces(answer, against, item.reference),
                "scores": words(system),
            }
        )
    others = [
        {"look": i, "name": system, "text": item.answers[system], "scores": words(system)}
        for i, system in enumerate(systems)
        if system not in ("candidate", sheet.reference) and system in item.answers
    ]
    return dict(item) | {"pair": pair, "others": others}


def _table(
    sheet: ReviewSheet,
    systems: Sequence[str],
    scores: Scores,
) -> dict[str, Any]:
    """The items in the form that MLflow's `log_table` writes: pandas' `split` without an index."""
    metrics = list(dict.fromkeys(name for found in scores.values() for name in found))
    names = list(map(visible, systems))
    columns = ["item", "benchmark", "group", "id", "prompt", "reference", "A", "B", *names]
    columns += [f"{metric} of {name}" for name in names for metric in metrics]
    data = [
        [
            item.number,
            *map(visible, (item.benchmark, item.group or "", item.id, item.prompt, item.reference)),
            *(item.key[side] for side in review.SIDES),
            *(visible(item.answers.get(system, "")) for system in systems),
            *(
                scores.get((item.number, system), {}).get(metric)
                for system in systems
                for metric in metrics
            ),
        ]
        for item in sheet.items
    ]
    return {"columns": columns, "data": data}


def _about(sheet: ReviewSheet) -> str:
    """Which items are shown."""
    count = len(sheet.items)
    alike = f"; {sheet.alike} were answered alike" if sheet.alike else ""
    return (
        f"{count} of {sheet.answered} answered examples{alike}. Some are those on which the scores "
        "differ most, the others are chosen by the hash of their id; every group of the data has "
        "its turn. One answer is the candidate's, the other that of "
        f"{in_words(sheet.reference)}, and the letters are drawn anew for each item."
    )


def _nothing(sheet: ReviewSheet) -> str:
    """Why no item is shown."""
    if sheet.answered:
        return f"All {sheet.answered} answers are alike: there is nothing to compare."
    return "None were generated (evaluate.max_generations is 0)."


def _embedded(sheet: ReviewSheet, shown: Sequence[Look]) -> dict[str, Any]:
    """Styles, script and data of the page, and the policy that lets nothing else in.

    The policy names style and script by their hashes: what data might smuggle into the page is
    neither run nor loaded.
    """
    style, script = _resource("review.css"), _resource("review.js")
    rules = [f".s{i} {{ color: {look.light}; }}" for i, look in enumerate(shown)]
    dark = " ".join(f".s{i} {{ color: {look.dark}; }}" for i, look in enumerate(shown))
    colours = "\n".join([*rules, f"@media (prefers-color-scheme: dark) {{ {dark} }}"])
    policy = (
        f"default-src 'none'; style-src {_source(style)} {_source(colours)}; "
        f"script-src {_source(script)}; base-uri 'none'; form-action 'none'"
    )
    data = files.to_json(
        {
            "digest": sheet.digest,
            "model": sheet.model,
            "key": {item.number: item.key for item in sheet.items},
            "names": {name: label(name) for name in ("candidate", sheet.reference)},
        }
    )
    for sign in "<>&":  # nothing in it may end the block
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return {
        "looks": shown,
        "policy": Markup(policy),  # noqa: S704
        "style": Markup(style),  # noqa: S704
        "colours": Markup(colours),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "data": Markup(data),  # noqa: S704
    }


@cache
def _resource(name: str) -> str:
    return resources("tasks.evaluate.pages").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
