"""Which examples a step sees, in which order, and how they are cut into packs without padding."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.model.encoding import Example
from tasks.tune.data import prefix_tree
from tasks.tune.settings import Tune


def batches(examples: Sequence[Example], tune: Tune, seed: int) -> list[list[Example]]:
    """The batches of a whole run: `tune.epochs` passes, cut off after `tune.max_steps` batches.

    Only the last batch can be smaller than `tune.batch_size`.
    """
    total = min(tune.max_steps * tune.batch_size, math.ceil(tune.epochs * len(examples)))
    drawn = draw(examples, total, tune.source_weights, seed)
    return [drawn[at : at + tune.batch_size] for at in range(0, total, tune.batch_size)]


def draw(
    examples: Sequence[Example], count: int, mix: Mapping[str, float], seed: int
) -> list[Example]:
    """Draw `count` examples such that every beginning of the result keeps to the shares of `mix`.

    Within each part of the mix, no example comes again before all have come; each pass has its own
    order, which depends on the ids and the seed only. A part without examples leaves its share to
    the rest, and a missing rest leaves its share to the parts.

    Args:
        examples: at least one.
        count: how many to draw.
        mix: path → share of the examples whose source lies under it (the longest such path counts).
        seed: another seed, another order.
    """
    parts: dict[str | None, list[Example]] = {}
    for example in examples:
        parts.setdefault(_part(example.source, mix), []).append(example)
    shares: dict[str | None, float] = {part: mix[part] for part in parts if part is not None}
    if None in parts:
        shares[None] = max(0.0, 1 - sum(shares.values()))
    whole = sum(shares.values())
    if whole == 0:  # every example lies under a path of share 0
        shares, whole = dict.fromkeys(parts, 1.0), float(len(parts))
    names = sorted(shares, key=lambda part: (part is None, part or ""))
    sources = {part: _passes(parts[part], seed) for part in names}
    taken = dict.fromkeys(names, 0)
    drawn = []
    for number in range(1, count + 1):
        part = max(names, key=lambda part: shares[part] / whole * number - taken[part])
        taken[part] += 1
        drawn.append(next(sources[part]))
    return drawn


def packs(
    examples: Sequence[Example], tokens: int, side_by_side: int = 1, *, shared: bool = False
) -> list[list[Example]]:
    """Cut examples into packs of at most `tokens` tokens and of about equal size.

    An example that is longer than `tokens` is a pack of its own.

    Args:
        examples: at least one.
        tokens: bound of a pack.
        side_by_side: packs that are computed at once: their number is a multiple of it, as far as
            there are examples.
        shared: what all examples begin with is laid down, and counts, once a pack.
    """
    once = _beginning(examples) if shared else 0
    by_length = sorted(examples, key=lambda each: (-len(each.input_ids), each.id))
    alone = [[each] for each in by_length if len(each.input_ids) > tokens]
    rest = by_length[len(alone) :]
    own = [len(each.input_ids) - once for each in rest]
    count = len(alone) + math.ceil(sum(own) / (tokens - once)) if rest else len(alone)
    while True:
        count = min(math.ceil(count / side_by_side) * side_by_side, len(by_length))
        cut: list[list[Example]] = [[] for _ in range(count - len(alone))]
        sizes = [once] * len(cut)
        # Longest first, each into the emptiest pack (Graham 1969).
        for example, size in zip(rest, own, strict=True):
            emptiest = sizes.index(min(sizes))
            cut[emptiest].append(example)
            sizes[emptiest] += size
        if not rest or max(sizes) <= tokens:
            return [pack for pack in alone + cut if pack]
        count += 1


def rows(examples: Sequence[Example], tokens: int) -> list[list[Example]]:
    """Cut examples into parts of similar length that take at most `tokens` tokens if each is filled
    up to its longest; an example that is longer is a part of its own."""
    by_length = sorted(examples, key=lambda each: (-len(each.input_ids), each.id))
    cut: list[list[Example]] = [[]]
    for example in by_length:
        if cut[-1] and (len(cut[-1]) + 1) * len(cut[-1][0].input_ids) > tokens:
            cut.append([])
        cut[-1].append(example)
    return cut


def row_length(examples: Sequence[Example], *, shared: bool) -> int:
    """Tokens of a pack of these examples, as `packs` counts them."""
    once = _beginning(examples) if shared else 0
    return once + sum(len(each.input_ids) - once for each in examples)


def _beginning(examples: Sequence[Example]) -> int:
    return prefix_tree.common([each.input_ids for each in examples])


def first_by_hash(examples: Sequence[Example], count: int) -> list[Example]:
    """The `count` examples whose ids hash lowest: a sample that stays when others come and go."""
    return sorted(examples, key=lambda example: _hash(example.id))[:count]


def _passes(examples: Sequence[Example], seed: int) -> Iterator[Example]:
    number = 0
    while True:
        yield from sorted(examples, key=lambda example: _hash(seed, number, example.id))
        number += 1


def _hash(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _part(source: str, mix: Mapping[str, float]) -> str | None:
    place = Path(source).absolute()
    under = [path for path in mix if place.is_relative_to(Path(path).absolute())]
    return max(under, key=lambda path: len(Path(path).absolute().parts), default=None)
