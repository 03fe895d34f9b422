"""The data card: the report in Markdown, for the experiment tracker and the model's page."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.curate.reasons import explain
from tasks.curate.report.advice import personal
from tasks.curate.settings import Curate
from tasks.curate.steps.quality.filters.language import Languages
from tasks.rendering.markdown import clip, escape, visible
from tasks.settings import Settings

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B")
"""Classes of size, as dataset cards on the Hugging Face hub name them."""


def card(
    report: Mapping[str, Any], examples: Sequence[Mapping[str, Any]], settings: Settings
) -> str:
    """Describe curated data in Markdown.

    Its questions are those of Gebru et al. 2021, "Datasheets for Datasets", as far as curation can
    answer them; its head is that of a dataset card of the Hugging Face hub.

    Args:
        report: the figures of `report.json`.
        examples: training records, as `samples.show` gives them; the first one is shown.
        settings: what the data was made with.

    Returns:
        Markdown in which no value can become markup.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=False,  # noqa: S701 (`finalize` escapes for Markdown and HTML)
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "clip": clip,
        "count": "{:,}".format,
        "meaning": lambda reason: explain(reason).meaning,
        "percent": "{:.1%}".format,
        "personal": personal,
        "quoted": _quoted,
    }
    template = environment.from_string(
        Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")
    )
    curate = shown_settings(settings.curate)
    return template.render(
        report=report,
        name=data_name(report),
        base=settings.base.model,
        kept=sum(report["kept"].values()),
        size=_size(sum(report["kept"].values())),
        example=examples[0] if examples else None,
        actions=settings.curate.privacy.model_dump(),
        languages=settings.curate.quality.of(Languages).languages,
        settings={name: json.dumps(value, ensure_ascii=False) for name, value in curate.items()},
    )


def shown_settings(curate: Curate) -> dict[str, Any]:
    """The settings by their keys. What was read is in the table of files, whatever they name."""
    sources = ("inputs", "feedback", "benchmarks", "replay.inputs")
    return {key: value for key, value in curate.dotted().items() if key not in sources}


def data_name(report: Mapping[str, Any]) -> str:
    """What the data is called: its file, or the folder of its files, or the first of the files."""
    paths = [Path(file["path"]) for file in report["files"]]
    folders = {path.parent.name for path in paths}
    if len(paths) > 1 and len(folders) == 1 and (folder := folders.pop()):
        return folder
    names = list(dict.fromkeys(path.name for path in paths))
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _size(records: int) -> str:
    steps = [1000 * 10**n for n in range(len(_SIZES))]
    at = sum(records >= step for step in steps)
    if at == 0:
        return f"n<{_SIZES[0]}"
    return f"{_SIZES[at - 1]}<n<{_SIZES[at]}" if at < len(_SIZES) else f"n>{_SIZES[-1]}"


def _quoted(text: str) -> Any:
    """`text` as a quoted scalar of YAML."""
    from markupsafe import Markup

    quoted = json.dumps(visible(text), ensure_ascii=False)
    # Names of files may hold markup and links, which viewers of Markdown make of the head, too.
    quoted = re.sub(r"[<*\]/]|(?<=www)\.", lambda sign: f"\\u{ord(sign[0]):04x}", quoted)
    return Markup(quoted)  # noqa: S704 (YAML, not HTML)
