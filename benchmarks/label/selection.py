"""Labels by choice beside as many at random, on real texts with a true label.

    python -m benchmarks.label.selection [--seeds 20]

A linear model knows some labelled texts. N rows of a pool are labelled besides, by each strategy
(a fifth of them at random, as `perpetune label` hands them out) or all at random, the model learns
them, too, and is judged on texts of other groups. *Same*: the pool is like the known texts.
*Drifted*: half of the labels are new, and three in ten rows of the pool have them. Each seed splits
groups anew. Shown are differences to `random`: their mean over seeds and its 95 % interval
(Student's; splits overlap, which it does not know). `random again` is another draw: what it shows
is chance.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from benchmarks.label.corpora import Text, descriptions, docstrings
from tasks.core.order import order_key
from tasks.label import STRATEGIES, Pool, features, linear

KNOWN, POOL, JUDGED = 200, 800, 1000
NEW_SHARE = 0.3
RANDOM_SHARE = 0.2
ARMS = ("random again", "novelty", "uncertainty", "diversity", "combined")


@dataclass(frozen=True)
class Split:
    """Texts whose label is known, those that may be labelled, and those that judge."""

    known: list[Text]
    pool: list[Text]
    judged: list[Text]
    new: frozenset[str]
    """Labels that no known text has."""

    @property
    def choices(self) -> list[str]:
        """All labels."""
        return sorted({text.label for text in (*self.known, *self.pool, *self.judged)})


def split(texts: Sequence[Text], seed: int, drifted: bool) -> Split:
    """Whole groups to one side, in an order drawn by `seed`."""
    rng = np.random.default_rng(seed)
    labels = sorted({text.label for text in texts})
    new = frozenset(rng.permutation(labels)[: len(labels) // 2]) if drifted else frozenset()
    order = sorted(texts, key=lambda text: order_key(f"{seed} {text.group}"))
    sides: tuple[list[Text], ...] = ([], [], [])
    for text in order:
        place = order_key(f"side {seed} {text.group}")[0] / 256
        sides[0 if place < 0.15 else 1 if place < 0.5 else 2].append(text)
    known = [text for text in sides[0] if text.label not in new][:KNOWN]
    pool, judged = (
        _mixed(side, new, count) for side, count in zip(sides[1:], (POOL, JUDGED), strict=True)
    )
    return Split(known, pool, judged, new)


def _mixed(texts: Sequence[Text], new: frozenset[str], count: int) -> list[Text]:
    others = [text for text in texts if text.label not in new]
    if not new:
        return others[:count]
    of_new = [text for text in texts if text.label in new][: round(count * NEW_SHARE)]
    return others[: round(len(of_new) * (1 - NEW_SHARE) / NEW_SHARE)] + of_new


def pool_of(parts: Split, seed: int) -> Pool:
    """What `perpetune label` knows of the pool."""
    texts, reference = ([t.text for t in side] for side in (parts.pool, parts.known))
    vectors, known = features.places(texts, reference, seed)
    return Pool(
        groups=tuple(text.group for text in parts.pool),
        vectors=vectors,
        novelty=features.novelty(vectors, known),
        probabilities=linear.probabilities(
            reference, [t.label for t in parts.known], texts, parts.choices
        ),
    )


def chosen(arm: str, pool: Pool, budget: int, seed: int) -> list[int]:
    """Rows by a strategy and a share at random, or all at random."""
    if arm.startswith("random"):
        return STRATEGIES.get("random").choose(pool, budget, seed + (arm != "random") * 1000)
    drawn = STRATEGIES.get("random").choose(pool, round(RANDOM_SHARE * budget), seed + 2000)
    left = [row for row in range(len(pool)) if row not in set(drawn)]
    rest = Pool(
        groups=tuple(pool.groups[row] for row in left),
        vectors=pool.vectors[left],
        novelty=None if pool.novelty is None else pool.novelty[left],
        probabilities=None if pool.probabilities is None else pool.probabilities[left],
    )
    picked = STRATEGIES.get(arm).choose(rest, budget - len(drawn), seed)
    return [*drawn, *(left[row] for row in picked)]


def judged(parts: Split, rows: Sequence[int]) -> tuple[float, float]:
    """Accuracy of the model that learned these rows, and its mean −log p of the true label."""
    learned = [*parts.known, *(parts.pool[row] for row in rows)]
    found = linear.probabilities(
        [t.text for t in learned], [t.label for t in learned], [t.text for t in parts.judged],
        parts.choices,
    )  # fmt: skip
    true = [parts.choices.index(text.label) for text in parts.judged]
    right = found.argmax(axis=1) == true
    return float(right.mean()), float(-np.log(found[np.arange(len(true)), true]).mean())


def interval(values: Sequence[float], form: str) -> str:
    """Mean and 95 % interval."""
    found = np.asarray(values)
    reach = stdtrit(len(found) - 1, 0.975) * found.std(ddof=1) / np.sqrt(len(found))
    low, mean, high = (
        format(v, form) for v in (found.mean() - reach, found.mean(), found.mean() + reach)
    )
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Print a table for each set of texts and each kind of pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budgets", type=int, nargs="+", default=[100])
    options = parser.parse_args()
    started = time.perf_counter()
    for name, texts in (("descriptions", descriptions()), ("docstrings", docstrings())):
        if not texts:
            print(f"\n{name}: none on this machine")
            continue
        for drifted in (False, True):
            _table(name, texts, drifted, options.budgets, options.seeds)
    print(f"\n{time.perf_counter() - started:.0f} s")


def _table(
    name: str, texts: Sequence[Text], drifted: bool, budgets: Sequence[int], seeds: int
) -> None:
    results: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for seed in range(seeds):
        parts = split(texts, seed, drifted)
        pool = pool_of(parts, seed)
        for budget in budgets:
            for arm in ("random", *ARMS):
                rows = chosen(arm, pool, budget, seed)
                results.setdefault((budget, arm), []).append(judged(parts, rows))
    kind = "drifted" if drifted else "same"
    for budget in budgets:
        base = np.array(results[budget, "random"])
        accuracy, loss = base.mean(axis=0)
        print(
            f"\n### {name}, {kind} pool, {budget} labels; random: {accuracy:.1%}, {loss:.3f} nats\n"
        )
        print("| strategy | accuracy, points | −log p, nats |\n|---|---|---|")
        for arm in ARMS:
            points, nats = (np.array(results[budget, arm]) - base).T
            print(f"| {arm} | {interval(100 * points, '+.1f')} | {interval(nats, '+.3f')} |")


if __name__ == "__main__":
    main()
