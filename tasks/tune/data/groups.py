"""Groups of examples that an objective compares with each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from tasks.model.encoding import Example
from tasks.tune.data import prefix_tree


@dataclass(frozen=True, slots=True)
class Group:
    """Examples that belong together: a batch counts them as one, and no pack cuts them apart.

    Supervised training has one example in each group, a pairwise objective two answers to one
    prompt.
    """

    id: str
    source: str
    """Where the record was read first, before any curation."""
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, *examples: Example) -> "Group":
        """These examples, under the id and source of the first."""
        return cls(examples[0].id, examples[0].source, examples)

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(example.input_ids) for example in self.examples)

    @property
    def targets(self) -> int:
        """Tokens that are learned, of all examples."""
        return sum(example.targets for example in self.examples)

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(len(example.input_ids) for example in self.examples)

    def row_length(self, *, shared: bool) -> int:
        """Tokens of a row that holds the examples, with their equal beginning once if `shared`."""
        return row_length([example.input_ids for example in self.examples], shared=shared)


def examples_of(groups: Iterable[Group]) -> list[Example]:
    """All examples, group after group."""
    return list(chain.from_iterable(group.examples for group in groups))


def row_length(sequences: Sequence[Sequence[int]], *, shared: bool) -> int:
    """Tokens of a row of these sequences, with what all of them begin with once if `shared`."""
    once = prefix_tree.common(sequences) if shared else 0
    return once + sum(len(sequence) - once for sequence in sequences)
