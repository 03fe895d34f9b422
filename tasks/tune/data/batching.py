"""Which groups a step sees, in which order, and how they are cut into packs without padding."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from tasks.tune.data import prefix_tree
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.settings import Tune


class Drawable(Protocol):
    """What is drawn into batches: a group, or anything else with an id and a source."""

    @property
    def id(self) -> str:
        """By which the order is drawn."""
        ...

    @property
    def source(self) -> str:
        """By which sources are mixed."""
        ...


D = TypeVar("D", bound=Drawable)


def batches(groups: Sequence[D], tune: Tune, seed: int) -> list[list[D]]:
    """The batches of a whole run: `tune.epochs` passes, cut off after `tune.max_steps` batches.

    Only the last batch can be smaller than `tune.batch_size`.
    """
    total = min(tune.max_steps * tune.batch_size, math.ceil(tune.epochs * len(groups)))
    drawn = draw(groups, total, tune.source_weights, seed)
    return [drawn[i : i + tune.batch_size] for i in range(0, total, tune.batch_size)]


def draw(groups: Sequence[D], count: int, weights: Mapping[str, float], seed: int) -> list[D]:
    """Draw `count` groups such that every beginning of the result keeps to the weights.

    Among the groups of one source path, none comes again before all have come; each pass over them
    has its own order, which depends on the ids and the seed only. A path without groups leaves its
    share to the rest, and a missing rest leaves its share to the paths.

    Args:
        groups: at least one.
        count: how many to draw.
        weights: path → share of the groups whose source is under it (the longest such path counts).
        seed: another seed, another order.
    """
    by_path: dict[str | None, list[D]] = {}
    for group in groups:
        by_path.setdefault(_path(group.source, weights), []).append(group)
    shares: dict[str | None, float] = {path: weights[path] for path in by_path if path is not None}
    if None in by_path:
        shares[None] = max(0.0, 1 - sum(shares.values()))
    total = sum(shares.values())
    if total == 0:  # every group is under a path of weight 0
        shares, total = dict.fromkeys(by_path, 1.0), float(len(by_path))
    paths = sorted(shares, key=lambda path: (path is None, path or ""))
    passes = {path: _passes(by_path[path], seed) for path in paths}
    taken = dict.fromkeys(paths, 0)
    drawn = []
    for i in range(1, count + 1):
        path = max(paths, key=lambda path: shares[path] / total * i - taken[path])
        taken[path] += 1
        drawn.append(next(passes[path]))
    return drawn


def packs(
    groups: Sequence[Group], tokens: int, side_by_side: int = 1, *, shared: bool = False
) -> list[list[Group]]:
    """Cut groups into packs of at most `tokens` tokens and of about equal size.

    A group is never cut; one that is longer than `tokens` is a pack of its own.

    Args:
        groups: at least one.
        tokens: bound of a pack.
        side_by_side: packs that are computed at once: their number is a multiple of it, if there
            are enough groups.
        shared: what all examples begin with is stored, and counts, once a pack.
    """
    once = _common(groups) if shared else 0
    lengths = {group.id: group.row_length(shared=shared) for group in groups}
    by_length = sorted(groups, key=lambda group: (-lengths[group.id], group.id))
    alone = [[group] for group in by_length if lengths[group.id] > tokens]
    rest = by_length[len(alone) :]
    own = [lengths[group.id] - once for group in rest]
    count = len(alone) + math.ceil(sum(own) / (tokens - once)) if rest else len(alone)
    while True:
        count = min(math.ceil(count / side_by_side) * side_by_side, len(by_length))
        cut: list[list[Group]] = [[] for _ in range(count - len(alone))]
        sizes = [once] * len(cut)
        # Longest first, each into the emptiest pack (Graham 1969).
        for group, size in zip(rest, own, strict=True):
            emptiest = sizes.index(min(sizes))
            cut[emptiest].append(group)
            sizes[emptiest] += size
        if not rest or max(sizes) <= tokens:
            return [pack for pack in alone + cut if pack]
        count += 1


def rows(groups: Sequence[Group], tokens: int) -> list[list[Group]]:
    """Cut groups into parts of similar length that take at most `tokens` tokens if each example is
    filled up to the longest; a group that takes more is a part of its own."""
    by_length = sorted(groups, key=lambda group: (-group.longest, group.id))
    cut: list[list[Group]] = [[]]
    for group in by_length:
        count = len(group.examples) + sum(len(other.examples) for other in cut[-1])
        if cut[-1] and count * cut[-1][0].longest > tokens:
            cut.append([])
        cut[-1].append(group)
    return cut


def pack_length(groups: Sequence[Group], *, shared: bool) -> int:
    """Tokens of a pack of these groups, as `packs` counts them."""
    once = _common(groups) if shared else 0
    return once + sum(group.row_length(shared=shared) - once for group in groups)


def _common(groups: Sequence[Group]) -> int:
    return prefix_tree.common([example.input_ids for example in examples_of(groups)])


def first_by_hash(groups: Sequence[D], count: int) -> list[D]:
    """The `count` groups whose ids hash lowest: a sample that stays when others come and go."""
    return sorted(groups, key=lambda group: _hash(group.id))[:count]


def _passes(groups: Sequence[D], seed: int) -> Iterator[D]:
    for i in itertools.count():
        yield from sorted(groups, key=lambda group: _hash(seed, i, group.id))


def _hash(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _path(source: str, weights: Mapping[str, float]) -> str | None:
    """The longest path of `weights` that a source is under."""
    absolute = Path(source).absolute()
    under = [path for path in weights if absolute.is_relative_to(Path(path).absolute())]
    return max(under, key=lambda path: len(Path(path).absolute().parts), default=None)
