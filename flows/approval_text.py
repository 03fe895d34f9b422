"""What the form of a decision shows: the verdict, where the evidence is, and who is asked."""

from tasks.core import files
from tasks.decisions import Standing
from tasks.evaluate import Verdict, comparison_table
from tasks.registry import Registry
from tasks.rendering.markdown import escape
from tasks.settings import Settings, for_model

_FIGURES = ("loss", "rouge_l", "chrf", "exact_match", "accuracy")
"""Metrics of the short table; all of them are on the pages that it links to."""
_SIGNS = {"passed": "✓", "failed": "✗"}


def approval_text(
    registry: Registry, settings: Settings, version: Standing, problem: str = ""
) -> str:
    """Markdown that the form shows above its fields; texts of data, models and people are literal.

    Args:
        registry: of the version.
        settings: of the project.
        version: that waits.
        problem: why the answer before could not be used.

    Raises:
        PerpetuneError: the version's verdict cannot be read.
    """
    path = registry.versions.artifact(version.number, "verdict.json")
    verdict = Verdict.from_json(files.read_json(path), str(path))
    title = f"# {escape(settings.project.name)}, version {version.number}: {verdict.outcome.value}"
    parts = [
        f"**Nothing was decided: {escape(problem)}**" if problem else "",
        _approvals(version),
        title,
        _links(registry, version),
        verdict_text(verdict),
        _who(settings, version.number),
    ]
    return "\n\n".join(part for part in parts if part)


def verdict_text(verdict: Verdict) -> str:
    """Gates, notes, the most important figures, and the diagnosis, in Markdown."""
    parts = [
        _gates(verdict),
        "\n".join(f"- {escape(note)}" for note in verdict.notes),
        _figures(verdict),
        _diagnosis(verdict),
    ]
    return "\n\n".join(part for part in parts if part)


def _approvals(version: Standing) -> str:
    if not version.approvals:
        return ""
    names = ", ".join(map(escape, version.approvals))
    return f"**Approved by {names} so far; more people have to.**"


def _links(registry: Registry, version: Standing) -> str:
    links = registry.links
    pages = {
        "Review sheet": links.review_sheet(version.registration.run_id),
        "Version": links.version(version.number),
        "Round": links.run(version.registration.run_id),
    }
    # A link opens in the browser's tab unless it is opened in another: the form would be lost.
    return "Read first (in new tabs): " + " · ".join(
        f"[{name}](<{url}>)" for name, url in pages.items()
    )


def _gates(verdict: Verdict) -> str:
    # A list: the form is narrow, and would cut a table's sentences off.
    return "\n".join(
        f"- {_SIGNS.get(gate.outcome.value, '?')} {gate.outcome.value}: {escape(gate.reason)}"
        for gate in verdict.gates
    )


def _figures(verdict: Verdict) -> str:
    names = list(verdict.models)
    rows = []
    for row in comparison_table(verdict):
        if row.metric in _FIGURES:
            cells = (f"{score.value:.4g}" for score in row.scores.values())
            rows.append(f"| {escape(row.benchmark)} | {row.metric} | {' | '.join(cells)} |")
    if not rows:
        return ""
    head = f"| benchmark | metric | {' | '.join(map(escape, names))} |"
    return "\n".join([head, "|---|---|" + "---:|" * len(names), *rows])


def _diagnosis(verdict: Verdict) -> str:
    return "\n".join(
        f"- {escape(finding.sentence)} {escape(finding.remedy)}" for finding in verdict.diagnosis
    )


def _who(settings: Settings, number: int) -> str:
    command = for_model(
        f"`perpetune approve {number} --by NAME` or `perpetune reject {number} --by NAME`",
        settings.project.model,
    )
    if settings.decisions.authentication == "required":
        return (
            "**This form cannot decide.** The project takes decisions of authenticated people "
            "only, and signing in to Prefect identifies nobody: one credential is for everybody. "
            f"Decide in a terminal, with your account of MLflow's server: {command}."
        )
    return (
        "Signing in to Prefect identifies nobody: one credential is for everybody. The name below "
        f"is a claim, and the decision log says so. In a terminal: {command}."
    )
