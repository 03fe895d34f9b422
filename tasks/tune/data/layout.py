"""Where the sequences of a packed row are when attention is computed.

In a row, sequences follow one another, and beginnings that are equal are stored once. Attention
reads them as tables, each sequence whole in a line of its own, lines of similar length together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tasks.tune.data.prefix_tree import Segments

# Sequences of which the shortest has this share of the longest's tokens are computed together.
_SIMILAR = 0.6

# Rows and tables are as long as a multiple of it: processors like such products, and a library that
# builds a kernel for each shape that it meets meets few.
MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of a row, and the way back.

    A place is an index into all tables, read line after line, one table after another.

    Three sequences of 10, 9 and 3 tokens, of which the first two begin with 8 equal ones, are a row
    of 14 tokens:

        >>> from tasks.tune.data.prefix_tree import lay_out
        >>> beginning = [1, 2, 3, 4, 5, 6, 7, 8]
        >>> segments = lay_out([beginning + [9, 10], beginning + [11], [13, 14, 15]])
        >>> segments
        [(range(0, 8), range(8, 10)), (range(0, 8), range(10, 11)), (range(11, 14),)]
        >>> layout = Layout.of(segments, 1, torch.device("cpu"))

    Attributes:
        tables: positions in the row, a table [sequences, longest] for those of similar length. A
            sequence's last position fills up its line; a line is a multiple of 8 long.

            >>> for table in layout.tables:
            ...     print(table.numpy())
            [[ 0  1  2  3  4  5  6  7  8  9  9  9  9  9  9  9]
             [ 0  1  2  3  4  5  6  7 10 10 10 10 10 10 10 10]]
            [[11 12 13 13 13 13 13 13]]

        order: [N] the place of each position of the row; of a shared one, its first place. The
            second sequence's own token, position 10, is in the second line, which begins at 16.

            >>> print(layout.order.numpy())
            [ 0  1  2  3  4  5  6  7  8  9 24 32 33 34]

        back: [places] the inverse: the position whose output is taken from this place; 0 where
            `filler` says that none is.

            >>> print(layout.back.numpy())
            [ 0  1  2  3  4  5  6  7  8  9  0  0  0  0  0  0
              0  0  0  0  0  0  0  0 10  0  0  0  0  0  0  0
             11 12 13  0  0  0  0  0]

        filler: [places, 1, 1] places whose output nobody reads: those that fill up a line, and
            those of a shared position but its first.

            >>> print(layout.filler.flatten().int().numpy())
            [0 0 0 0 0 0 0 0 0 0 1 1 1 1 1 1
             1 1 1 1 1 1 1 1 0 1 1 1 1 1 1 1
             0 0 0 1 1 1 1 1]

        copies: the shared segments, each with its other places [others, lanes × length], whose
            gradients are added to those of the first.

            >>> for segment, places in layout.copies:
            ...     print(segment, places.numpy())
            range(0, 8) [[16 17 18 19 20 21 22 23]]

        lanes: how often the row is repeated, each time for another adapter.
    """

    tables: tuple[torch.Tensor, ...]
    order: torch.Tensor
    back: torch.Tensor
    filler: torch.Tensor
    copies: tuple[tuple[range, torch.Tensor], ...]
    lanes: int

    @classmethod
    def of(cls, segments: Sequence[Segments], lanes: int, device: torch.device) -> "Layout":
        """The layout of a row in which sequences have these segments, `lanes` times."""
        length = max(own[-1].stop for own in segments)
        starts = torch.arange(lanes)[:, None, None] * length
        order = torch.empty(lanes, length, dtype=torch.long)
        copies: dict[range, list[torch.Tensor]] = {}
        tables, size = [], 0
        for group in _of_similar_length(segments):
            table = starts + _lines([segments[number] for number in group])
            places = size + torch.arange(table.numel()).view_as(table)
            for number, line in zip(group, places.unbind(1), strict=True):
                widths = [len(segment) for segment in segments[number]]
                rest = line.shape[1] - sum(widths)
                own = line.split([*widths, rest], dim=1)
                for segment, found in zip(segments[number], own, strict=False):
                    if segment in copies:
                        copies[segment].append(found.flatten())
                    else:
                        copies[segment] = []
                        order[:, segment.start : segment.stop] = found
            tables.append(table.flatten(0, 1).to(device))
            size += table.numel()
        order = order.flatten()
        back, filler = torch.zeros(size, dtype=torch.long), torch.ones(size, dtype=torch.bool)
        back[order], filler[order] = torch.arange(len(order)), False
        return cls(
            tuple(tables),
            order.to(device),
            back.to(device),
            filler.view(-1, 1, 1).to(device),
            tuple(
                (segment, torch.stack(others).to(device))
                for segment, others in copies.items()
                if others
            ),
            lanes,
        )

    @property
    def longest(self) -> int:
        """The length of the longest line."""
        return max(table.shape[1] for table in self.tables)


def _of_similar_length(segments: Sequence[Segments]) -> list[list[int]]:
    """The numbers of the sequences whose lines make a table, for each table; longest first."""
    lengths = [sum(map(len, own)) for own in segments]
    groups: list[list[int]] = []
    for number in sorted(range(len(segments)), key=lambda number: -lengths[number]):
        if not groups or lengths[number] < _SIMILAR * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(number)
    return groups


def _lines(segments: Sequence[Segments]) -> torch.Tensor:
    """The positions of sequences, the longest first, one a line: [sequences, longest]."""
    wholes = [
        torch.cat([torch.arange(segment.start, segment.stop) for segment in own])
        for own in segments
    ]
    longest = len(wholes[0])
    steps = torch.arange(longest + -longest % MULTIPLE)
    return torch.stack([whole[steps.clamp(max=len(whole) - 1)] for whole in wholes])
