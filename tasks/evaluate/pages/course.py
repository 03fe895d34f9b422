"""The course of the training as a picture: SVG, inline on the page and as a file beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.evaluate.diagnosis import Course

_WIDTH, _HEIGHT = 720, 215
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 112, 22, 34
_STYLE = """
svg { background: #fff; font-family: system-ui, sans-serif; color: #1c1e22; }
text { fill: #5c626c; font-size: 10px; }
.grid { stroke: #e3dfd7; } .train { stroke: #9aa0aa; fill: none; stroke-width: 1.5; }
.validation { stroke: #c14f00; fill: none; stroke-width: 2.5; } .spread { stroke: #c14f00; }
.point { fill: #c14f00; } .before { stroke: #6b6b6b; stroke-dasharray: 5 4; }
.validation-name { fill: #c14f00; } .train-name, .before-name { fill: #5c626c; }
"""


@dataclass(frozen=True, slots=True)
class _Scale:
    steps: int
    low: float
    high: float

    def x(self, step: float) -> float:
        share = step / max(1, self.steps)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, loss: float) -> float:
        share = (loss - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def draw(course: Course, *, alone: bool = False) -> str:
    """Training loss, validation loss with its standard error, and the base's, by step.

    Args:
        course: of a trial; with at least one step.
        alone: for a file of its own, with its styles; a page brings them.
    """
    finite = [step.train_loss for step in course.steps if math.isfinite(step.train_loss)]
    levels = [course.level(i) for i in range(len(course.evaluations))]
    reached = [course.validation_loss(i) for i in range(len(course.evaluations))]
    ends = [e.value + sign * e.error for e in levels if e for sign in (-1, 1)]
    start = [] if course.initial_loss is None else [course.initial_loss]
    scale = _scale(course.steps[-1].number, [*finite, *reached, *ends, *start])
    parts = [*_grid(scale, [step.number for step in course.evaluations])]
    names: list[tuple[float, str, str]] = []
    if course.initial_loss is not None:
        y = scale.y(course.initial_loss)
        parts.append(
            f'<line class="before" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        )
        names.append((y, "before-name", f"base {course.initial_loss:.2f}"))
    line = [(scale.x(s.number), scale.y(s.train_loss)) for s in course.steps]
    parts.append(f'<polyline class="train" points="{_points(line)}"/>')
    names.append((line[-1][1], "train-name", "training, by batch"))
    places = [
        (scale.x(step.number), scale.y(loss))
        for step, loss in zip(course.evaluations, reached, strict=True)
    ]
    for (x, _), level in zip(places, levels, strict=True):
        if level:
            ends_y = scale.y(level.value - level.error), scale.y(level.value + level.error)
            parts.append(
                f'<line class="spread" x1="{x}" x2="{x}" y1="{ends_y[0]}" y2="{ends_y[1]}"/>'
            )
    if places:
        parts.append(f'<polyline class="validation" points="{_points(places)}"/>')
        parts += [f'<circle class="point" cx="{x}" cy="{y}" r="4"/>' for x, y in places]
        names.append((places[-1][1], "validation-name", f"validation {reached[-1]:.2f}"))
    parts += _names(names)
    label = "Training and validation loss in nats a token, by optimiser step"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    style = f"<style>{_STYLE}</style>" if alone else ""
    return f'{head} aria-label="{label}">{style}{"".join(parts)}</svg>'


def _scale(steps: int, losses: Sequence[float]) -> _Scale:
    low, high = min(losses), max(losses)
    margin = 0.06 * (high - low) or 0.1
    return _Scale(steps, low - margin, high + margin)


def _grid(scale: _Scale, evaluated: Iterable[int]) -> Iterable[str]:
    for loss in _ticks(scale.low, scale.high):
        y = scale.y(loss)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 3.5}" text-anchor="end">{loss:g}</text>'
    bottom = _HEIGHT - _BOTTOM
    for step in dict.fromkeys([0, *evaluated, scale.steps]):
        yield f'<text x="{scale.x(step)}" y="{bottom + 16}" text-anchor="middle">{step}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">optimiser step</text>'
    yield '<text x="0" y="10">nats a token</text>'


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 6) for i in range(first, math.floor(high / step) + 1)]


def _names(names: Iterable[tuple[float, str, str]]) -> list[str]:
    """Names at the right end, at least a line apart."""
    found, above = [], -math.inf
    for y, kind, text in sorted(names):
        place = max(y + 3.5, above + 13)
        above = place
        found.append(
            f'<text class="{kind}" x="{_WIDTH - _RIGHT + 10}" y="{place:.1f}">{text}</text>'
        )
    return found


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
