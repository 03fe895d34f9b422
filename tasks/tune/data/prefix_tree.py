"""Equal beginnings of sequences, laid down once: what many chats share, as a system prompt.

In a causal model a token's activations depend on the tokens before it only, so that sequences which
begin alike need that beginning computed once, and its gradient is the sum of theirs. Nothing is
approximated. (Known from serving as prefix caching: Zheng et al. 2024,
https://arxiv.org/abs/2312.07104.)
"""

from collections.abc import Sequence
from itertools import pairwise

Path = tuple[range, ...]
"""The stretches of a row that a sequence consists of, in its order. Two sequences have a stretch in
common or no token of it."""

# A shorter beginning is not worth its bookkeeping.
_WORTH = 8


def lay_out(sequences: Sequence[Sequence[int]], *, shared: bool = True) -> list[Path]:
    """Where each sequence stands in a row that holds all of them.

    The last token of a sequence is never shared, so that each has a stretch of its own.

    Args:
        sequences: of one token at least.
        shared: lay beginnings that are equal down once.
    """
    if not shared:
        order, alike = list(range(len(sequences))), [0] * (len(sequences) - 1)
    else:
        order = sorted(range(len(sequences)), key=lambda number: tuple(sequences[number]))
        alike = [_alike(sequences[one], sequences[other]) for one, other in pairwise(order)]
    paths: list[Path] = [()] * len(sequences)
    end = 0

    def lay(members: Sequence[int], tokens: int) -> None:
        nonlocal end
        for number in members:
            paths[number] += (range(end, end + tokens),)
        end += tokens

    def grow(first: int, last: int, depth: int) -> None:
        """Sequences from `first` to before `last` in order, of which `depth` tokens are laid."""
        if last - first == 1:
            lay([order[first]], len(sequences[order[first]]) - depth)
            return
        reach = min(alike[first : last - 1])
        if reach - depth >= _WORTH:
            lay(order[first:last], reach - depth)
            depth = reach
        cuts = [at + 1 for at in range(first, last - 1) if alike[at] == reach]
        for begin, stop in pairwise([first, *cuts, last]):
            grow(begin, stop, depth)

    if sequences:
        grow(0, len(sequences), 0)
    return paths


def common(sequences: Sequence[Sequence[int]]) -> int:
    """With how many tokens all sequences begin, as far as `lay_out` shares them."""
    reach = _alike(min(map(tuple, sequences)), max(map(tuple, sequences)))
    return reach if reach >= _WORTH and len(sequences) > 1 else 0


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """With how many equal tokens both begin, the last of each left out."""
    pairs = zip(one[:-1], other[:-1], strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)) - 1)
