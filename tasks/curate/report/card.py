"""The data card: the report in Markdown, for the experiment tracker and the model's page."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.curate.reasons import explain
from tasks.curate.results import CurationReport, Figures
from tasks.curate.settings import Curate
from tasks.curate.steps.privacy.redaction import kind_name
from tasks.curate.steps.quality.filters.language import Languages
from tasks.rendering.markdown import visible
from tasks.rendering.templates import render
from tasks.settings import Settings

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B")
"""Classes of size, as dataset cards on the Hugging Face hub name them."""


def write_card(
    report: CurationReport, examples: Sequence[Mapping[str, Any]], settings: Settings
) -> str:
    """Describe curated data in Markdown.

    Its questions are those of Gebru et al. 2021, "Datasheets for Datasets", as far as curation can
    answer them; its head is that of a dataset card of the Hugging Face hub.

    Args:
        report: the curation's report.
        examples: training records (`ReportExamples.training`); the first one is shown.
        settings: what the data was made with.

    Returns:
        Markdown in which no value can become markup.
    """
    curate = shown_settings(settings.curate)
    name = data_name(report)
    return render(
        __package__ or "",
        "card.md.j2",
        report=report,
        name=name,
        pretty_name=_quoted(f"Training data of {name}"),
        base=settings.base.model,
        size=_quoted(_size(report.total_kept)),
        splits=[
            (_quoted(split), _quoted(f"{split}.jsonl")) for split, n in report.kept.items() if n
        ],
        example=examples[0] if examples else None,
        actions=settings.curate.privacy.model_dump(),
        kind_name=kind_name,
        languages=list(map(_quoted, settings.curate.quality.of(Languages).languages)),
        meanings={reason: explain(reason).meaning for reason in report.dropped},
        settings={key: json.dumps(value, ensure_ascii=False) for key, value in curate.items()},
    )


def shown_settings(curate: Curate) -> dict[str, Any]:
    """The settings by their keys. What was read is in the table of files, whatever they name."""
    sources = ("inputs", "feedback", "benchmarks", "replay.inputs")
    return {key: value for key, value in curate.dotted().items() if key not in sources}


def data_name(report: Figures) -> str:
    """What the data is called: its file, or the folder of its files, or the first of the files."""
    paths = [Path(file.path) for file in report.files]
    folders = {path.parent.name for path in paths}
    if len(paths) > 1 and len(folders) == 1 and (folder := folders.pop()):
        return folder
    names = list(dict.fromkeys(path.name for path in paths))
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _size(records: int) -> str:
    steps = [1000 * 10**n for n in range(len(_SIZES))]
    i = sum(records >= step for step in steps)
    if i == 0:
        return f"n<{_SIZES[0]}"
    return f"{_SIZES[i - 1]}<n<{_SIZES[i]}" if i < len(_SIZES) else f"n>{_SIZES[-1]}"


def _quoted(text: str) -> Any:
    """`text` as a quoted scalar of YAML."""
    from markupsafe import Markup

    quoted = json.dumps(visible(text), ensure_ascii=False)
    # Names of files may hold markup and links, which viewers of Markdown make of the head, too.
    quoted = re.sub(r"[<*\]/]|(?<=www)\.", lambda sign: f"\\u{ord(sign[0]):04x}", quoted)
    return Markup(quoted)  # noqa: S704 (YAML, not HTML)
