"""How much of the accepted chance of a false alarm each look at the traffic may spend.

An alpha-spending function (Lan & DeMets 1983) says how much has been released after `n` windows;
each scale of pooling has a fixed share of it (Bonferroni), and spends at a look what its share has
released since its last look. The sum of all thresholds then never exceeds what was released, and by
the union bound neither does the chance of any false alarm, **however the looks depend on each
other**. They do depend: all windows are compared with the same reference, so that a reference that
is unusual by chance makes every window look unusual. Methods that multiply evidence over windows
(test martingales, e-processes) need a p-value that is valid given the past; given the reference
these are not.
"""

from tasks.drift.settings import Drift


def released(windows: int, options: Drift) -> float:
    """The chance of a false alarm that the first `windows` windows may spend together.

    `early_share` of `yearly_alpha` goes to the first windows, as n / (n + 1): what changed with a
    promotion shows at once, and is found with few permutations. The rest is spread evenly. Over a
    year of windows that is at most `yearly_alpha`; it goes on for as long as there are windows.
    """
    early = options.early_share * windows / (windows + 1)
    even = (1 - options.early_share) * windows / options.yearly_windows
    return options.yearly_alpha * (early + even)


def scale_shares(longest: int) -> tuple[float, ...]:
    """The share of each scale 1, 2, 4, … windows up to `longest`; they sum to 1.

    Scale k has a share in proportion to 1 / ((k + 1)(k + 2)). It looks 2^k times more rarely than
    scale 0, so each of its looks may spend more: long pools find what is slow and small.
    """
    raw = [1 / ((k + 1) * (k + 2)) for k in range(longest.bit_length())]
    return tuple(share / sum(raw) for share in raw)
