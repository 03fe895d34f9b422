"""The stream of windows as one sequence of looks, with one accepted chance of a false alarm.

    history = []
    for number in range(1, len(paths) + 1):
        history.append(look(reference, paths[:number], history, settings))

Dyadic pooling, as in multiscale change detection: the newest 1, 2, 4, 8, … windows are compared
with the reference as one, a pool of 2^k only at every 2^k-th window. A drift that is too small for
one window is found by the pool that is long enough. `tasks.drift.spending` says what each of these
comparisons may spend.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from tasks import records
from tasks.core.errors import BadInput
from tasks.core.values import Value
from tasks.drift.detection import detect
from tasks.drift.results import DriftResult
from tasks.drift.sample import compared_text
from tasks.drift.spending import released, scale_shares
from tasks.settings import Settings

log = logging.getLogger(__name__)


class ScaleLook(Value):
    """A pool of the newest windows, compared with the reference."""

    scale: int
    """The pool holds 2^scale units: windows, or small windows taken together."""
    windows: int
    """Number of windows in the pool."""
    first: int
    """Number of the oldest of them."""
    p_value: float
    alpha: float
    """What this comparison spent of the accepted chance of a false alarm."""
    drift: bool
    """Whether the p-value is at or below `alpha`."""


class Look(Value):
    """What a look at the newest window found, alone and pooled with those before it."""

    number: int
    """1 for the first window since the comparison began."""
    window: str
    rows: int
    """Records of the window that can be compared; 0: it could not be read."""
    status: Literal["quiet", "drift", "undecidable"]
    why: str
    """The status in a sentence."""
    scales: tuple[ScaleLook, ...]
    """Shortest pool first; longer ones than the first that shows drift are not looked at."""
    alpha_spent: float
    """By this and all earlier looks."""
    alpha_released: float
    """What they were allowed to spend."""
    kinds: tuple[str, ...] = ()
    """Names of the kinds of shift; none without drift."""
    result: DriftResult | None
    """Of the pool that shows drift; without drift, of the shortest."""

    def brief(self) -> Self:
        """The look without its detailed result: all that later looks need of it."""
        return self.model_copy(update={"result": None})


class Promotion(Value):
    """A version that became champion before a window was looked at."""

    before: int
    """Place in the sequence of looks, 0 for the first; as many as there are: after the last."""
    version: int


def look(
    reference: Path,
    windows: Sequence[Path],
    history: Sequence[Look],
    settings: Settings,
    *,
    report: Path | None = None,
) -> Look:
    """Look at the newest of `windows`: alone, and pooled with those before it.

    In a year of `drift.yearly_windows` windows of unchanged traffic, the chance of any alarm is at
    most `drift.yearly_alpha`. That assumes that groups of traffic are exchangeable with those of
    the reference (`detect`), and that one sequence lasts the year. Each restart, as after a
    promotion, spends the early part again: a project with r restarts a year has at most
    `yearly_alpha` · (1 + r · `early_share`).

    Windows with fewer than `drift.min_rows` prompts are taken together with the next until there
    are enough. What cannot be read is left out, and is no reason to stop. Thresholds depend on
    the numbers of windows and rows only, never on what was found.

    The same input gives the same look.

    Args:
        reference: file of records: what is expected.
        windows: all windows since the comparison began, oldest first; the last is looked at.
            Files of earlier ones that are gone are left out of the pools.
        history: the looks at all windows but the last, in order; without results they will do.
        settings: `drift`, and the project's seed.
        report: where to write the page of `detect`; nothing is written if it is undecidable.

    Raises:
        ValueError: `history` and `windows` do not belong together.
    """
    if len(windows) != len(history) + 1:
        raise ValueError(
            f"{len(windows)} windows need {len(windows) - 1} looks, not {len(history)}"
        )
    try:
        rows = len(_prompts(windows[-1]))
    except BadInput as error:
        return _undecidable(windows, history, settings, 0, str(error))
    units, pending = _units(history)
    newest = [*pending, len(history)] if rows else pending
    try:
        count = sum(len(_prompts(windows[index])) for index in newest if windows[index].exists())
        if count < settings.drift.min_rows:
            why = (
                f"{count} prompts since the last decided window, of "
                f"{settings.drift.min_rows} that are needed: taken together with the next window"
            )
            return _undecidable(windows, history, settings, rows, why)
        return _decide(reference, windows, history, [*units, newest], rows, settings, report)
    except BadInput as error:
        return _undecidable(windows, history, settings, rows, str(error))


def _decide(
    reference: Path,
    windows: Sequence[Path],
    history: Sequence[Look],
    units: Sequence[Sequence[int]],
    rows: int,
    settings: Settings,
    report: Path | None,
) -> Look:
    """Compare the pools that are due, shortest first, up to the first that shows drift."""
    options, number = settings.drift, len(windows)
    counts = [*(past.rows for past in history), rows]
    scales: list[ScaleLook] = []
    deciding: DriftResult | None = None
    for scale, share in enumerate(scale_shares(options.longest_pool)):
        if len(units) % 2**scale:
            break
        pool = [index for unit in units[-(2**scale) :] for index in unit]
        if scale and sum(counts[index] for index in pool) > 2 * options.max_rows:
            break  # the pool before has all the rows that are compared
        last = max((one.number for one in history if _looked(one, scale)), default=0)
        alpha = share * (released(number, options) - released(last, options))
        paths = [windows[index] for index in pool if windows[index].exists()]
        page = report if deciding is None else None
        try:
            found = detect(reference, paths, settings, alpha=alpha, report=page)
        except BadInput as error:
            if not scales:
                raise
            log.warning("a pool of %d windows was not looked at: %s", len(paths), error)
            continue
        scales.append(
            ScaleLook(
                scale=scale,
                windows=len(paths),
                first=pool[0] + 1,
                p_value=found.p_value,
                alpha=alpha,
                drift=found.drift,
            )
        )
        if deciding is None or found.drift:
            deciding = found
        if found.drift:
            if report is not None and page is None:
                detect(reference, paths, settings, alpha=alpha, report=report)
            break
    spent = sum(one.alpha for one in scales)
    return Look(
        number=number,
        window=str(windows[-1]),
        rows=rows,
        status="drift" if scales[-1].drift else "quiet",
        why=_reason(scales),
        scales=tuple(scales),
        alpha_spent=spent + (history[-1].alpha_spent if history else 0.0),
        alpha_released=released(number, options),
        kinds=tuple(kind.name for kind in deciding.kinds) if deciding and scales[-1].drift else (),
        result=deciding,
    )


def _undecidable(
    windows: Sequence[Path], history: Sequence[Look], settings: Settings, rows: int, why: str
) -> Look:
    return Look(
        number=len(windows),
        window=str(windows[-1]),
        rows=rows,
        status="undecidable",
        why=why,
        scales=(),
        alpha_spent=history[-1].alpha_spent if history else 0.0,
        alpha_released=released(len(windows), settings.drift),
        result=None,
    )


def _units(history: Sequence[Look]) -> tuple[list[list[int]], list[int]]:
    """The windows of each decided look, as indices, and those that wait for more rows."""
    units: list[list[int]] = []
    pending: list[int] = []
    for index, past in enumerate(history):
        if past.rows:
            pending.append(index)
        if past.status != "undecidable":
            units.append(pending)
            pending = []
    return units, pending


def _looked(past: Look, scale: int) -> bool:
    return any(one.scale == scale for one in past.scales)


def _reason(scales: Sequence[ScaleLook]) -> str:
    last = scales[-1]
    if last.drift:
        pool = "this window" if last.windows == 1 else f"the newest {last.windows} windows together"
        return f"{pool}: p = {last.p_value:.3g}, at or below {last.alpha:.3g}"
    nearest = min(scales, key=lambda one: one.p_value / one.alpha)
    return f"nothing of {len(scales)} pools: p = {nearest.p_value:.3g}, above {nearest.alpha:.3g}"


def _prompts(window: Path) -> list[str]:
    texts = [compared_text(record) for record in records.load([window], labelled=False)]
    return [text for text in texts if text]
