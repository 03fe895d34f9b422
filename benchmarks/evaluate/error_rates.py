"""How often gates are wrong, on real losses of the default, beside what they replace.

    python -m benchmarks.evaluate.error_rates [--simulations 4000]
    python -m benchmarks.evaluate.error_rates --measure FOLDER     (new losses; half an hour)

Candidates are simulated whose true difference is known: groups of real paired losses
(`losses.json`) are drawn with replacement, their mean difference moved to where the truth is to be.
The test is `tasks.evaluate.statistics`, called as the gates call it. Peers: the percentile
bootstrap over groups, as before, and signs flipped by group. `x t3` multiplies each group's
difference by an independent variable with heavy tails. Ends with 1 where a bar does not hold.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from benchmarks.evaluate import losses
from benchmarks.evaluate.losses import Losses
from tasks.evaluate import statistics
from tasks.evaluate.statistics import Floats

ALPHA = 0.025
FIRST = statistics.level(ALPHA, 0, "spending")  # of the default's first round
RESAMPLES = 400
MARGIN, GENERAL_MARGIN = 0.05, 0.3
PAIRS = (("trial 1", "base"), ("trial 3", "base"), ("trial 2", "trial 1"), ("trial 4", "trial 1"),
         ("trial 5", "trial 6"))  # fmt: skip
COUNTS = (6, 10, 15, 30, 60)


@dataclass
class Report:
    """What is printed, and the bars that do not hold."""

    simulations: int
    rng: np.random.Generator
    missed: list[str] = field(default_factory=list)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print Markdown."""
        print(f"\n### {title}\n")
        print(f"| {' | '.join(columns)} |")
        print(f"|{'---|' * len(columns)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")

    def bar(self, what: str, held: bool) -> None:
        """Print whether a bar holds."""
        print(f"\n{'holds' if held else 'DOES NOT HOLD'}: {what}")
        if not held:
            self.missed.append(what)


# Draws with a known truth, and tests


def draw(report: Report, clusters: Floats, count: int, truth: float, tails: bool = False) -> Floats:
    """Shape (simulations, count, 2): `count` groups drawn from `clusters`, true ratio `truth`."""
    mean = clusters[:, 0].sum() / clusters[:, 1].sum()
    residuals = clusters[:, 0] - mean * clusters[:, 1]
    chosen = report.rng.integers(0, len(clusters), (report.simulations, count))
    noise, tokens = residuals[chosen], clusters[:, 1][chosen]
    if tails:
        noise = noise * report.rng.standard_t(3, noise.shape)
    return np.stack([noise + truth * tokens, tokens], axis=-1)


def ends(sums: Floats, level: float) -> tuple[Floats, Floats]:
    """The ends of our interval, each wrong with probability `level`."""
    value, variance = statistics.jackknife([sums])
    count = sums.shape[-2]
    if count < statistics.FEWEST_CLUSTERS:
        endless = np.full_like(value, np.inf)
        return -endless, endless
    reach = np.sqrt(variance) * stdtrit(count - 1, 1 - level)
    return value - reach, value + reach


def bootstrap(report: Report, sums: Floats, level: float) -> tuple[Floats, Floats]:
    """The ends of the percentile bootstrap over groups."""
    count = sums.shape[-2]
    drawn = report.rng.integers(0, count, (RESAMPLES, count))
    counts = np.zeros((RESAMPLES, count))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], drawn), 1)
    ratios = (sums[..., 0] @ counts.T) / (sums[..., 1] @ counts.T)
    low, high = np.quantile(ratios, [level, 1 - level], axis=-1)
    return low, high


def flipped(report: Report, sums: Floats, level: float) -> Floats:
    """Whether signs flipped by group call the difference negative."""
    signs = report.rng.choice([-1.0, 1.0], (RESAMPLES, sums.shape[-2]))
    seen = sums[..., 0].sum(axis=-1)
    below = ((sums[..., 0] @ signs.T) <= seen[..., None] + 1e-9).mean(axis=-1)
    found: Floats = below <= level
    return found


def share(passed: Floats) -> str:
    """As percent."""
    return f"{100 * float(passed.mean()):.1f} %"


# What is asked


def better_by_luck(report: Report, held: Losses) -> None:
    """Candidates that are no better."""
    rows, worst = [], 0.0
    for candidate, other in PAIRS:
        clusters = held.difference(candidate, other)
        for tails in (False, True):
            for count in COUNTS:
                sums = draw(report, clusters, count, 0.0, tails)
                first = ends(sums, FIRST)[1] < 0
                fixed = ends(sums, ALPHA)[1] < 0
                worst = max(worst, float(first.mean()))
                rows.append(
                    [
                        f"{candidate} against {other}" + (", x t3" if tails else ""),
                        str(count),
                        share(first),
                        share(fixed),
                        share(bootstrap(report, sums, ALPHA)[1] < 0),
                        share(flipped(report, sums, ALPHA)),
                    ]
                )
    report.table(
        "Candidates that are no better and pass `better`",
        ["differences", "groups", f"ours, the default's first round ({100 * FIRST:.1f} %)",
         "ours, fixed (2.5 %)", "percentile bootstrap (2.5 %)", "flipped signs (2.5 %)"],
        rows,
    )  # fmt: skip
    report.bar("at most 5 % of them pass, at every number of groups", worst <= 0.05)


def few_groups(report: Report) -> None:
    """Five groups of 25 rows that share a part of their luck."""
    rows = []
    for correlation in (0.0, 0.1, 0.3):
        shape = (report.simulations, 5, 25)
        shared = report.rng.normal(size=(*shape[:2], 1)) * correlation**0.5
        values = shared + report.rng.normal(size=shape) * (1 - correlation) ** 0.5
        alone = values.reshape(report.simulations, -1)
        single = np.stack([alone, np.ones_like(alone)], axis=-1)
        grouped = np.stack([values.sum(axis=-1), np.full(shape[:2], 25.0)], axis=-1)
        rows.append(
            [
                f"{correlation:g}",
                share(ends(grouped, FIRST)[1] < 0),
                share(bootstrap(report, single, ALPHA)[1] < 0),
            ]
        )
    report.table(
        "Five groups of 25 rows, no better",
        ["correlation inside groups", "ours (cannot decide)", "before: rows as if independent"],
        rows,
    )


def worse_than_allowed(report: Report, held: Losses, probe: Losses) -> None:
    """Candidates worse by the margin and more."""
    cases: list[tuple[str, Floats, float, tuple[int, ...]]] = [
        (f"held-out, {a} against {b}", held.difference(a, b), MARGIN, (10, 15, 30, 60))
        for a, b in PAIRS[2:]
    ]
    cases += [
        (f"probe, {name} against base", probe.difference(name, "base"), GENERAL_MARGIN, (10, 24))
        for name in ("trial 1", "trial 5")
    ]
    rows, worst = [], 0.0
    for name, clusters, margin, counts in cases:
        for count in counts:
            row = [name, str(count)]
            for factor in (1.0, 1.5, 2.0):
                sums = draw(report, clusters, count, factor * margin)
                passed = ends(sums, FIRST)[1] <= margin
                before = bootstrap(report, sums, ALPHA)[0] <= margin
                row.append(f"{share(passed)} ({share(before)})")
                if factor == 2.0:
                    worst = max(worst, float(passed.mean()))
            rows.append(row)
    report.table(
        "Candidates worse than allowed that pass non-inferiority (in brackets: before, unless "
        "shown to be worse by a percentile bootstrap)",
        ["differences", "groups", "worse by the margin", "by 1.5 x", "by 2 x"],
        rows,
    )
    report.bar("at most 5 % pass that are worse by twice the margin", worst <= 0.05)


def power(report: Report, held: Losses, probe: Losses) -> None:
    """Candidates that are better, and such that are equal."""
    gain = -_ratio(held.difference("trial 1", "base"))
    print(f"\nThe default's measured gain: {gain:.3f} nats a token.")
    rows, full, tenth = [], 1.0, 1.0
    for candidate, other in PAIRS:
        row = [f"{candidate} against {other}"]
        for size in (128, 512, 834):
            clusters = held.first(size).difference(candidate, other)
            for truth in (-gain, -gain / 10):
                sums = draw(report, clusters, len(clusters), truth)
                found = float((ends(sums, FIRST)[1] < 0).mean())
                row.append(f"{100 * found:.1f} %")
                if size == 512 and truth == -gain:
                    full = min(full, found)
                if size == 512 and truth != -gain and other != "base":
                    tenth = min(tenth, found)
        rows.append(row)
    report.table(
        "Candidates that are better by the default's gain, and by a tenth of it, and pass `better`",
        ["differences", *(f"{size} examples, {part}" for size in (128, 512, 834)
                          for part in ("all", "a tenth"))],
        rows,
    )  # fmt: skip
    report.bar("at least 95 % pass with the default's gain, at 512 examples", full >= 0.95)
    report.bar(
        "at least 80 % pass with a tenth of it, at 512 examples, as variable as trials are among "
        "each other",
        tenth >= 0.80,
    )
    rows = []
    for candidate, other in PAIRS:
        clusters = held.difference(candidate, other)
        drawn = (draw(report, clusters, count, -gain) for count in COUNTS)
        rows.append(
            [f"{candidate} against {other}", *(share(ends(sums, FIRST)[1] < 0) for sums in drawn)]
        )
    report.table(
        "Candidates that are better by the default's gain, with few groups",
        ["differences", *(f"{count} groups" for count in COUNTS)],
        rows,
    )
    rows, least = [], 1.0
    for candidate, other in PAIRS[2:]:
        row = [f"{candidate} against {other}, held-out"]
        for size in (128, 512, 834):
            clusters = held.first(size).difference(candidate, other)
            sums = draw(report, clusters, len(clusters), 0.0)
            found = float((ends(sums, FIRST)[1] <= MARGIN).mean())
            row.append(f"{100 * found:.1f} %")
            least = min(least, found) if size == 512 else least
        rows.append(row)
    report.table(
        "Equal candidates that pass `no_regression`",
        ["differences", "128 examples", "512", "834"],
        rows,
    )
    report.bar("at least 80 % of equal candidates pass, at 512 examples", least >= 0.8)
    rows = []
    for name in ("trial 1", "trial 5"):
        clusters = probe.difference(name, "base")
        sums = draw(report, clusters, len(clusters), 0.0)
        rows.append([f"{name} against base", share(ends(sums, FIRST)[1] <= GENERAL_MARGIN)])
    report.table("Candidates that lost nothing and pass `general`, 24 kinds", ["", "pass"], rows)


def all_gates(report: Report, held: Losses) -> None:
    """Several gates that must all pass (Berger 1982)."""
    clusters = held.difference("trial 2", "trial 1")
    rows, worst = [], 0.0
    for benchmarks in (1, 2, 4, 8):
        row = [str(benchmarks)]
        for bad in (1, benchmarks):
            passed = np.ones(report.simulations, dtype=bool)
            for i in range(benchmarks):
                truth = MARGIN if i < bad else -0.1
                passed &= ends(draw(report, clusters, 60, truth), FIRST)[1] <= MARGIN
            worst = max(worst, float(passed.mean()))
            row.append(share(passed))
        rows.append(row)
    report.table(
        f"Candidates that pass all of several gates, each at {100 * FIRST:.1f} %",
        ["benchmarks", "worse by the margin on one", "on all"],
        rows,
    )
    report.bar("the number of gates adds nothing to the level", worst <= 0.025)


# Many rounds on the same benchmarks


def rounds(report: Report, held: Losses) -> None:
    """Fifty rounds without progress, and twenty of small losses."""
    noise = _noise(held)
    report.table(
        "Fifty rounds without progress on the same benchmark of 146 groups",
        ["rule", "promotions", "at least one promotion"],
        [[name, *no_progress(report, noise, rule)] for name, rule in RULES.items()],
    )
    rows = []
    for gain, loss in ((0.12, 0.06), (0.12, 0.04), (0.12, 0.02)):
        for name, first in (("ours: champion and first champion", True),
                            ("non-inferiority to the champion alone", False),
                            ("before: not shown to be worse than the champion", None)):  # fmt: skip
            promoted, lost, most = ratchet(report, noise, gain, loss, first)
            rows.append([f"-{gain} and +{loss}", name, promoted, lost, most])
    report.table(
        "Twenty rounds, each better on one benchmark and worse on another (margin 0.05)",
        ["true change a round", "rule", "promotions", "loss on the other, mean", "the most"],
        rows,
    )
    worst = max(float(row[-1]) for row in rows if row[1].startswith("ours"))
    report.bar(f"losses add up to the margin, not beyond (at most {worst})", worst <= 1.6 * MARGIN)


RULES: dict[str, Callable[[int], float]] = {
    "ours, spending (the default)": lambda earlier: statistics.level(ALPHA, earlier, "spending"),
    "ours, fixed": lambda earlier: statistics.level(ALPHA, earlier, "fixed"),
}


def no_progress(report: Report, noise: Floats, rule: Callable[[int], float]) -> tuple[str, str]:
    """Candidates as good as the champion, one a round."""
    champion = _models(report, noise)
    promotions = np.zeros(report.simulations)
    for earlier in range(50):
        candidate = _models(report, noise)
        passed = _upper(candidate - champion, noise, rule(earlier)) < 0
        promotions += passed
        champion = np.where(passed[:, None], candidate, champion)
    return f"{promotions.mean():.3f}", share(promotions > 0)


def ratchet(
    report: Report, noise: Floats, gain: float, loss: float, first: bool | None
) -> tuple[str, str, str]:
    """Candidates that are better on A by `gain` and worse on B by `loss` than their champion."""
    champion = [_models(report, noise), _models(report, noise)]
    beginning = champion[1]
    truth, promotions = np.zeros(report.simulations), np.zeros(report.simulations)
    tokens = noise[:, 1]
    for earlier in range(20):
        level = ALPHA if first is None else statistics.level(ALPHA, earlier, "spending")
        candidate = [
            _models(report, noise) - gain * tokens, _models(report, noise) + loss * tokens
        ]  # fmt: skip
        on_a = candidate[0] - champion[0]
        # Truth is measured from the first champion; so is what `champion` holds of B.
        candidate[1] = candidate[1] + truth[:, None] * tokens
        on_b = candidate[1] - champion[1]
        better = (
            _upper(np.concatenate([on_a, on_b], axis=1), np.concatenate([noise, noise]), level) < 0
        )
        if first is None:
            passed = better & (_lower(on_b, noise, level) <= MARGIN)
        else:
            passed = better & (_upper(on_b, noise, level) <= MARGIN)
        if first:
            passed &= _upper(candidate[1] - beginning, noise, level) <= MARGIN
        promotions += passed
        truth = truth + loss * passed
        champion[1] = np.where(passed[:, None], candidate[1], champion[1])
        champion[0] = np.where(passed[:, None], candidate[0] + gain * tokens, champion[0])
    most = np.quantile(truth, 0.975)
    return f"{promotions.mean():.2f}", f"{truth.mean():.3f}", f"{most:.3f}"


def _noise(held: Losses) -> Floats:
    """Shape (clusters, 2): how far a trial is from another, and tokens, at 512 examples."""
    clusters = held.first(512).difference("trial 2", "trial 1")
    return np.stack([clusters[:, 0] - _ratio(clusters) * clusters[:, 1], clusters[:, 1]], axis=1)


def _models(report: Report, noise: Floats) -> Floats:
    """Shape (simulations, clusters): a trial of its own for each, equally good in truth.

    Two of them differ as two real trials do: by the real residuals, their signs drawn by group.
    """
    signs = report.rng.choice([-1.0, 1.0], (report.simulations, len(noise)))
    found: Floats = noise[:, 0] * signs / 2**0.5
    return found


def _upper(differences: Floats, noise: Floats, level: float) -> Floats:
    return ends(_with_tokens(differences, noise), level)[1]


def _lower(differences: Floats, noise: Floats, level: float) -> Floats:
    return ends(_with_tokens(differences, noise), level)[0]


def _with_tokens(differences: Floats, noise: Floats) -> Floats:
    tokens = np.broadcast_to(noise[:, 1], differences.shape)
    return np.stack([differences, tokens], axis=-1)


def levels(report: Report, held: Losses) -> None:
    """Intervals of a loss itself."""
    rows = []
    for system in ("base", "trial 1"):
        clusters = held.level(system)
        truth = _ratio(clusters)
        for count in (10, 30, 81):
            sums = draw(report, clusters, count, truth)
            row = [system, str(count)]
            for low, high in (ends(sums, ALPHA), bootstrap(report, sums, ALPHA)):
                row.append(share((low <= truth) & (truth <= high)))
            rows.append(row)
    report.table(
        "Coverage of 95 % intervals of the loss",
        ["system", "groups", "ours", "percentile bootstrap"],
        rows,
    )


def _ratio(clusters: Floats) -> float:
    return float(clusters[:, 0].sum() / clusters[:, 1].sum())


def run(simulations: int, seed: int) -> list[str]:
    """Print all tables; returns the bars that do not hold."""
    report = Report(simulations, np.random.default_rng(seed))
    found = losses.read()
    held, probe = found["held-out"], found["probe"]
    better_by_luck(report, held)
    few_groups(report)
    worse_than_allowed(report, held, probe)
    power(report, held, probe)
    all_gates(report, held)
    rounds(report, held)
    levels(report, held)
    return report.missed


def main() -> int:
    """0 where every bar holds, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=20261127)
    losses.arguments(parser)
    options = parser.parse_args()
    if options.measure:
        losses.measure(options.measure)
    return 1 if run(options.simulations, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
