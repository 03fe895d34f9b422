"""What an alarm rests on, as files that stay with the round that answers it."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.core import files
from tasks.drift import Promotion, write_timeline
from tasks.settings import Settings
from tasks.watch.history import Alarm, History, Looked
from tasks.watch.state import replay

_REPORTS = 10


def draw_history(settings: Settings, path: Path) -> Path | None:
    """The time line of all looks, as `.png`, `.svg` or `.html`; None: there was none yet."""
    looks = replay(History(settings).entries()).looks
    if not looks:
        return None
    found = [looked.look for looked in looks]
    return write_timeline(path, found, _promotions(looks), settings.project.name)


def keep_evidence(settings: Settings, alarms: Iterable[Alarm], folder: Path) -> Path | None:
    """Copy what alarms rest on to `folder`, which MLflow shows with the round.

        timeline.html    every look so far: evidence, alpha spent, alarms, promotions
        ID.json          the alarm: windows, p-value, rows
        ID-1.html, …     the reports of the looks that raised it, the newest last

    Returns:
        The folder; None: there is no alarm.
    """
    alarms = list(alarms)
    if not alarms:
        return None
    for alarm in alarms:
        files.write_json(folder / f"{alarm.id}.json", alarm.to_json())
        reports = [Path(path) for path in alarm.reports if Path(path).is_file()]
        for number, report in enumerate(reports[-_REPORTS:], start=1):
            shutil.copyfile(report, folder / f"{alarm.id}-{number}.html")
    draw_history(settings, folder / "timeline.html")
    return folder


def _promotions(looks: Sequence[Looked]) -> list[Promotion]:
    return [
        Promotion(before=place, version=looked.champion)
        for place, looked in enumerate(looks)
        if place and looked.champion != looks[place - 1].champion
    ]
