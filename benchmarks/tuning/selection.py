"""How close the stated optimism of the best of several trials is to the true one.

    python benchmarks/tuning/selection.py [--seed 11]

Simulated trials, whose true losses are known: nine of them with four evaluations each, whose losses
on the same validation examples share how hard each example is (deviation .8 nats a token) and
differ by noise of their own (.1). The true optimism is by how much the chosen evaluation looks
better than it is, on average over draws. The other columns are the optimism that
`tasks.tune.sweep.selection` states, its deviation, and in how many draws the sentence said "less
than 0.01" though the true mean was more. Seeds 1 and 7 were used while the estimator was chosen.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.tune.sweep import Selection, selection_sentence
from tasks.tune.sweep.selection import assess

TRIALS, EVALUATIONS = 9, 4
DIFFICULTY, NOISE, OWN = 0.8, 0.1, 0.7  # OWN: share of a trial's noise that its evaluations share


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of sweep."""

    examples: int
    spread: float
    """Deviation of the trials' true losses."""
    gain: float
    """What each evaluation is truly better than the one before."""


def draw(case: Case, rng: np.random.Generator) -> tuple[float, Selection, str]:
    """The optimism of one sweep, and what is stated of it."""
    targets = rng.integers(5, 40, case.examples).astype(float)
    hard = rng.normal(2.4, DIFFICULTY, case.examples)
    effects = rng.normal(0, case.spread, TRIALS)
    true = effects[:, None] + case.gain * np.arange(EVALUATIONS)[::-1]
    own = rng.normal(0, NOISE, (TRIALS, 1, case.examples)) * OWN**0.5
    noise = own + rng.normal(0, NOISE, (TRIALS, EVALUATIONS, case.examples)) * (1 - OWN) ** 0.5
    table = targets * (hard + true[..., None] + noise)
    seen = table.sum(axis=2) / targets.sum()
    best = np.unravel_index(seen.argmin(), seen.shape)
    # Compared with the mean of all: the difficulty of the examples, which all share, cancels.
    optimism = (true[best] - true.mean()) - (seen[best] - seen.mean())
    losses = dict(enumerate(table))
    found = assess(losses, targets, int(best[0]), seed=int(rng.integers(2**31)))
    return float(optimism), found, selection_sentence(found, float(seen[best]))


def cases() -> Iterator[Case]:
    """The simulated sweeps."""
    for examples in (10, 40, 160):
        for spread in (0.0, 0.01, 0.03, 0.1):
            for gain in (0.0, 0.01):
                yield Case(examples, spread, gain)


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--draws", type=int, default=60)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print("examples  spread  gain    true  stated  ± of it  stated/true  wrongly less than .01")
    for case in cases():
        found = [draw(case, rng) for _ in range(given.draws)]
        true = float(np.mean([optimism for optimism, _, _ in found]))
        stated = np.array([selection.optimism for _, selection, _ in found])
        wrongly = sum("less than 0.01" in said for _, _, said in found) if true >= 0.01 else 0
        print(
            f"{case.examples:8}  {case.spread:6.2f}  {case.gain:4.2f}  {true:6.4f}  "
            f"{stated.mean():6.4f}  {stated.std():7.4f}  {stated.mean() / true:11.2f}  "
            f"{wrongly:4} of {given.draws}"
        )


if __name__ == "__main__":
    main()
