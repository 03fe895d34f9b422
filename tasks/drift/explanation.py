"""What explains an alarm to a person: terms, rows and descriptors that shifted."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.drift.features import DESCRIPTORS, descriptors
from tasks.drift.results import DescriptorShift, ShiftedExample, ShiftedTerm
from tasks.records import Record

_WORD = re.compile(r"\w+")
_LONGEST_TERM = 60
_EXCERPT = 200
# Weight of the prior, in rows: a term seen in one or two rows cannot lead the list.
_PRIOR_ROWS = 10.0


def shifted_terms(
    reference: Sequence[str], current: Sequence[str], count: int = 20
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
            term=term,
            reference_share=round(before[term] / len(reference), 4),
            current_share=round(now[term] / len(current), 4),
            z=round(z, 2),
        )
        for z, term in shifts[:count]
    )


def most_shifted_examples(
    current: Sequence[Record],
    texts: Sequence[str],
    kernel: NDArray[np.float64],
    is_current: NDArray[np.bool_],
    count: int = 5,
) -> tuple[ShiftedExample, ...]:
    """The current rows that show the difference of the samples best, by the witness function.

    The witness (Gretton et al. 2012, section 2.3) of a row is its mean similarity to the current
    rows less that to the reference rows.

    Args:
        current: the current records, in the order of their rows in the kernel matrix.
        texts: their compared texts.
        kernel: kernel matrix over the pooled rows.
        is_current: the side of every row of the matrix.
        count: number of rows to return.
    """
    similarity = kernel[is_current]
    witness = similarity[:, is_current].mean(axis=1) - similarity[:, ~is_current].mean(axis=1)
    order = np.lexsort((np.arange(len(current)), -np.round(witness, 9)))[:count]
    return tuple(
        ShiftedExample(
            id=current[row].id,
            source=current[row].source,
            line=current[row].line,
            text=texts[row][:_EXCERPT],
            witness=round(float(witness[row]), 6),
        )
        for row in order
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
