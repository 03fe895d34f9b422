"""The rows of a window beside those of a reference: units, features and the test's outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.drift.features import FEATURES, Features, Pool, mean_difference
from tasks.drift.groups import copies_in_a_unit, units
from tasks.drift.permutation import Outcome, effective, permutation_test
from tasks.drift.results import Effective, NotCompared
from tasks.drift.rows import Row
from tasks.settings import Settings

Sides = NDArray[np.bool_]


@dataclass(frozen=True)
class Pooled:
    """The rows of both sides in an order that does not depend on their side, as features.

    Attributes:
        rows: the rows.
        is_current: the side of each row.
        units: the unit of each row.
        features: of all rows, by feature group.
        not_compared: feature groups that are left out.
    """

    rows: tuple[Row, ...]
    is_current: Sides
    units: NDArray[np.int64]
    features: Mapping[str, Features]
    not_compared: tuple[NotCompared, ...]


@dataclass(frozen=True)
class Comparison:
    """A window beside one regime of the reference.

    Attributes:
        regime: its name.
        pooled: all rows and their features; `chosen` says which of them are compared.
        chosen: the rows of this regime and of the window.
        outcome: of the test.
    """

    regime: str
    pooled: Pooled
    chosen: Sides
    outcome: Outcome

    @property
    def deciding(self) -> str:
        """The feature group that shows the difference best."""
        return max(self.outcome.scores, key=lambda name: self.outcome.scores[name])

    @cached_property
    def reference(self) -> tuple[Row, ...]:
        """The rows of this regime."""
        return self._rows(self.chosen & ~self.pooled.is_current)

    @cached_property
    def current(self) -> tuple[Row, ...]:
        """The rows of the window."""
        return self._rows(self.pooled.is_current)

    @property
    def effective(self) -> Effective:
        """How much evidence each side holds, by the correlation of the first features in a unit."""
        first = next(iter(self.pooled.features.values()))
        part = Features(first.matrix[self.chosen], first.present[self.chosen], first.statistic)
        return effective(part, self.pooled.units[self.chosen], self.pooled.is_current[self.chosen])

    def witness(self, name: str) -> NDArray[np.float64]:
        """How typical each row of the window is of what changed, in the order of `current`.

        The witness function of the test (Gretton et al. 2012, section 2.3): a row's mean product
        with the features of the window less that with the reference's. Rows without the feature
        have 0.
        """
        found = self.pooled.features[name]
        now = self.pooled.is_current & found.present
        before = self.chosen & ~self.pooled.is_current & found.present
        direction = found.matrix[now].mean(axis=0) - found.matrix[before].mean(axis=0)
        values = found.matrix.astype(np.float64) @ direction.astype(np.float64)
        return np.asarray(np.where(found.present, values, 0.0)[self.pooled.is_current])

    def _rows(self, chosen: Sides) -> tuple[Row, ...]:
        return tuple(self.pooled.rows[place] for place in np.flatnonzero(chosen))


def pool(reference: Sequence[Row], current: Sequence[Row], settings: Settings) -> Pooled:
    """Pool the rows of both sides and compute their features.

    A feature group is left out, with the reason, where a side has fewer than `drift.min_rows` rows
    with it, or where the reference holds prompts alone (as those of versions before answers were
    kept) and it is not in prompts.
    """
    options, seed = settings.drift, settings.project.seed
    sides = [(row.order(seed), row, False) for row in reference]
    sides += [(row.order(seed), row, True) for row in current]
    sides.sort(key=lambda side: side[0])
    rows = tuple(row for _, row, _ in sides)
    is_current = np.array([side for _, _, side in sides])
    prompts_only = _is_prompts_only(reference)
    seen = Pool(
        rows=rows,
        max_characters=options.max_characters,
        most_copies=copies_in_a_unit(len(reference), len(current)),
        repeats_are_known=not prompts_only,
        seed=seed,
    )
    features, left_out = {}, []
    for group in FEATURES:
        reason, found = None, None
        if prompts_only and not group.in_prompts:
            reason = "the reference holds prompts alone"
        else:
            found = group.features(seen)
            reason = _missing(found, is_current, options.min_rows)
        if reason is None and found is not None:
            features[group.name] = found
        elif reason is not None:
            left_out.append(NotCompared(name=group.name, reason=reason))
    return Pooled(rows, is_current, units(rows, is_current), features, tuple(left_out))


def compare(
    regime: str, rows: Sides, pooled: Pooled, settings: Settings, main: Sides | None = None
) -> Comparison:
    """Test the window against the rows of one regime.

    A small regime rejects little: it would excuse traffic that nobody has seen before. So where
    `main` is given, half of the window shows in which direction it differs from the main regime,
    and the other half is compared with this regime along that direction, in each feature group.
    A few rows are enough for that: those of a known kind lie as far out as the window does. Of the
    two p-values the smaller counts, doubled.

    Args:
        regime: its name.
        rows: its rows among the pooled ones.
        pooled: all rows.
        settings: `drift` and the project's seed.
        main: rows of the largest regime, where this is another one.
    """
    chosen = rows | pooled.is_current
    alpha = settings.drift.alpha if main is None else settings.drift.alpha / 2
    outcome = _test(pooled.features, chosen, pooled, settings, alpha)
    if main is not None:
        half = _half(pooled, settings.project.seed)
        directed = {
            name: _along(found, pooled.is_current & ~half, main)
            for name, found in pooled.features.items()
            if found.statistic is mean_difference
        }
        along = _test(directed, rows | half, pooled, settings, alpha)
        outcome = _either(outcome, along)
    return Comparison(regime, pooled, chosen, outcome)


def _test(
    features: Mapping[str, Features],
    chosen: Sides,
    pooled: Pooled,
    settings: Settings,
    alpha: float,
) -> Outcome:
    return permutation_test(
        {
            name: Features(found.matrix[chosen], found.present[chosen], found.statistic)
            for name, found in features.items()
        },
        pooled.units[chosen],
        pooled.is_current[chosen],
        alpha=alpha,
        permutations=settings.drift.permutations,
        seed=settings.project.seed,
    )


def _half(pooled: Pooled, seed: int) -> Sides:
    """Half of the window's units."""
    units = np.unique(pooled.units[pooled.is_current])
    drawn = np.random.default_rng(seed).permutation(units)[: len(units) // 2]
    return np.isin(pooled.units, drawn)


def _along(found: Features, now: Sides, before: Sides) -> Features:
    """The features along the line from the mean of `before` to the mean of `now`."""
    now, before = now & found.present, before & found.present
    if not now.any() or not before.any():
        return found
    direction = found.matrix[now].mean(axis=0) - found.matrix[before].mean(axis=0)
    return Features((found.matrix @ direction)[:, None], found.present, found.statistic)


def _either(one: Outcome, other: Outcome) -> Outcome:
    p_values = {
        name: min(1.0, 2 * min(p_value, other.p_values.get(name, 1.0)))
        for name, p_value in one.p_values.items()
    }
    return replace(one, p_values=p_values)


def _missing(found: Features | None, is_current: Sides, min_rows: int) -> str | None:
    if found is None:
        return "no row of either side has it"
    for side, name in ((False, "the reference"), (True, "the window")):
        rows = int((found.present & (is_current == side)).sum())
        if rows < min_rows:
            has = f"only {rows} rows of {name} have" if rows else f"no row of {name} has"
            return f"{has} it"
    return None


def _is_prompts_only(reference: Sequence[Row]) -> bool:
    """Whether it is a profile of a version from before anything but prompts was kept."""
    return all("drift_regime" in row.record.meta for row in reference) and not any(
        row.answer is not None or row.earlier or row.system for row in reference
    )
