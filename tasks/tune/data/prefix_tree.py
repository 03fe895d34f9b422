"""Equal beginnings of sequences, stored once: what many chats share, as a system prompt.

In a causal model a token's activations depend on the tokens before it only, so that sequences which
begin alike need that beginning computed once, and its gradient is the sum of theirs. Nothing is
approximated. (Known from serving as prefix caching: Zheng et al. 2024,
https://arxiv.org/abs/2312.07104.)
"""

from collections.abc import Sequence
from itertools import pairwise

Segments = tuple[range, ...]
"""The positions in a row that a sequence consists of, in its order. Two sequences share a segment
as a whole, or no token of it."""

# A shorter beginning is not worth its bookkeeping.
_WORTH = 8


def lay_out(sequences: Sequence[Sequence[int]], *, shared: bool = True) -> list[Segments]:
    """The segments of each sequence in a row that holds all of them.

    The last token of a sequence is never shared, so that each has a segment of its own.

    Args:
        sequences: of one token at least.
        shared: store equal beginnings once.
    """
    if not shared:
        order, equal = list(range(len(sequences))), [0] * (len(sequences) - 1)
    else:
        order = sorted(range(len(sequences)), key=lambda number: tuple(sequences[number]))
        equal = [
            common_prefix(sequences[left], sequences[right]) for left, right in pairwise(order)
        ]
    segments: list[Segments] = [()] * len(sequences)
    end = 0

    def append(members: Sequence[int], tokens: int) -> None:
        nonlocal end
        for number in members:
            segments[number] += (range(end, end + tokens),)
        end += tokens

    def grow(first: int, last: int, depth: int) -> None:
        """Sequences from `first` to before `last` in order, whose first `depth` tokens are done."""
        if last - first == 1:
            append([order[first]], len(sequences[order[first]]) - depth)
            return
        reach = min(equal[first : last - 1])
        if reach - depth >= _WORTH:
            append(order[first:last], reach - depth)
            depth = reach
        cuts = [i + 1 for i in range(first, last - 1) if equal[i] == reach]
        for begin, stop in pairwise([first, *cuts, last]):
            grow(begin, stop, depth)

    if sequences:
        grow(0, len(sequences), 0)
    return segments


def common(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens with which all sequences begin and which `lay_out` stores once."""
    reach = common_prefix(min(map(tuple, sequences)), max(map(tuple, sequences)))
    return reach if reach >= _WORTH and len(sequences) > 1 else 0


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """The number of equal tokens with which both begin, the last of each left out."""
    pairs = zip(left[:-1], right[:-1], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)) - 1)
