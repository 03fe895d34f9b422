"""What a person looks at when the alarm goes: the terms and the rows that moved."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.drift.measures import DESCRIPTORS, descriptors
from tasks.records import Record

_WORD = re.compile(r"\w+")
_LONGEST_TERM = 60
_EXCERPT = 200
# The prior weighs as much as so many rows: a term seen in one or two rows cannot lead the list.
_PRIOR_ROWS = 10.0


def shifted_terms(
    reference: Sequence[str], current: Sequence[str], count: int = 20
) -> list[dict[str, Any]]:
    """The words whose share of rows changed most surely, the surest first.

    Ranked by the z-score of the log-odds ratio under an informative Dirichlet prior, the pooled
    frequencies (Monroe, Colaresi & Quinn 2008, eq. 15 to 22), here on rows that hold the term.

    Returns:
        `{"term", "reference_share", "current_share", "z"}`; z above 0: more frequent now.
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
    return [
        {
            "term": term,
            "reference_share": round(before[term] / len(reference), 4),
            "current_share": round(now[term] / len(current), 4),
            "z": round(z, 2),
        }
        for z, term in shifts[:count]
    ]


def telling_rows(
    current: Sequence[Record],
    texts: Sequence[str],
    kernel: NDArray[np.float64],
    is_current: NDArray[np.bool_],
    count: int = 5,
) -> list[dict[str, Any]]:
    """The current rows that show the difference of the samples best, by the witness function.

    The witness (Gretton et al. 2012, section 2.3) of a row is its mean similarity to the current
    rows less that to the reference rows.

    Args:
        current: the current records, in the order of their rows in the kernel matrix.
        texts: their compared texts.
        kernel: kernel matrix over the pooled rows.
        is_current: the side of every row of the matrix.
        count: how many rows to name.
    """
    ours = kernel[is_current]
    witness = ours[:, is_current].mean(axis=1) - ours[:, ~is_current].mean(axis=1)
    order = np.lexsort((np.arange(len(current)), -np.round(witness, 9)))[:count]
    return [
        {
            "id": current[row].id,
            "source": current[row].source,
            "line": current[row].line,
            "text": texts[row][:_EXCERPT],
            "witness": round(float(witness[row]), 6),
        }
        for row in order
    ]


def compare_descriptors(reference: Sequence[str], current: Sequence[str]) -> list[dict[str, Any]]:
    """Each descriptor's medians and its two-sample Kolmogorov–Smirnov test; none of it decides."""
    from scipy.stats import ks_2samp

    before, now = descriptors(reference), descriptors(current)
    compared = []
    for column, name in enumerate(DESCRIPTORS):
        test = ks_2samp(before[:, column], now[:, column], method="asymp")
        compared.append(
            {
                "name": name,
                "reference_median": float(np.median(before[:, column])),
                "current_median": float(np.median(now[:, column])),
                "statistic": float(test.statistic),
                "p_value": float(test.pvalue),
            }
        )
    return compared


def _rows_with_term(texts: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word[:_LONGEST_TERM] for word in _WORD.findall(text.casefold())})
    return counts
