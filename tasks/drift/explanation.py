"""What explains an alarm to a person: terms, rows and descriptors that shifted."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.drift.descriptors import DESCRIPTORS, descriptors
from tasks.drift.results import DescriptorShift, ShiftedExample, ShiftedTerm
from tasks.drift.rows import Row

_WORD = re.compile(r"\w+")
_LONGEST_TERM = 60
_EXCERPT = 200
# Weight of the prior, in rows: a term seen in one or two rows cannot lead the list.
_PRIOR_ROWS = 10.0


def shifted_terms(
    reference: Sequence[str], current: Sequence[str], count: int = 20, group: str = "wording"
) -> tuple[ShiftedTerm, ...]:
    """The words whose share of rows changed most significantly, largest |z| first.

    Ranked by the z-score of the log-odds ratio under an informative Dirichlet prior, the pooled
    frequencies (Monroe, Colaresi & Quinn 2008, eq. 15 to 22), here on rows that hold the term.
    """
    before, now = _rows_with_term(reference), _rows_with_term(current)
    rows = len(reference) + len(current)
    shifts = []
    for term in before.keys() | now.keys():
        share = (before[term] + now[term]) / rows
        odds, variance = 0.0, 0.0
        for sign, seen, size in ((1, now[term], len(current)), (-1, before[term], len(reference))):
            inside = seen + _PRIOR_ROWS * share
            outside = size - seen + _PRIOR_ROWS * (1 - share)
            # A term in every row of both sides has no odds: it did not move.
            odds += sign * float(np.log(inside / outside)) if outside > 0 else 0.0
            variance += 1 / inside
        shifts.append((odds / variance**0.5, term))
    shifts.sort(key=lambda shift: (-abs(shift[0]), shift[1]))
    return tuple(
        ShiftedTerm(
            group=group,
            term=term,
            reference_share=round(before[term] / len(reference), 4),
            current_share=round(now[term] / len(current), 4),
            z=round(z, 2),
        )
        for z, term in shifts[:count]
    )


def most_shifted_examples(
    rows: Sequence[Row],
    texts: Sequence[str],
    witness: NDArray[np.float64],
    group: str,
    count: int = 5,
) -> tuple[ShiftedExample, ...]:
    """The rows of the window that show the difference best; of equal texts the first alone.

    Args:
        rows: of the window.
        texts: what of each is shown.
        witness: how typical each is of what changed (`tasks.drift.comparison.Comparison.witness`).
        group: name of the feature group.
        count: number of rows to return.
    """
    ids = np.array([row.record.id for row in rows])
    order = np.lexsort((ids, -np.round(witness, 6)))
    places: dict[str, int] = {}
    for place in order:
        places.setdefault(texts[place], int(place))
    return tuple(
        ShiftedExample(
            group=group,
            id=rows[place].record.id,
            source=rows[place].record.source,
            line=rows[place].record.line,
            text=texts[place][:_EXCERPT],
            witness=round(float(witness[place]), 6),
        )
        for place in list(places.values())[:count]
    )


def compare_descriptors(
    reference: Sequence[str], current: Sequence[str]
) -> tuple[DescriptorShift, ...]:
    """Medians of each descriptor, and its two-sample Kolmogorov–Smirnov test."""
    from scipy.stats import ks_2samp

    before, now = descriptors(reference), descriptors(current)
    compared = []
    for column, name in enumerate(DESCRIPTORS):
        test = ks_2samp(before[:, column], now[:, column], method="asymp")
        compared.append(
            DescriptorShift(
                name=name,
                reference_median=float(np.median(before[:, column])),
                current_median=float(np.median(now[:, column])),
                statistic=float(test.statistic),
                p_value=float(test.pvalue),
            )
        )
    return tuple(compared)


def _rows_with_term(texts: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word[:_LONGEST_TERM] for word in _WORD.findall(text.casefold())})
    return counts
