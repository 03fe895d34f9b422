"""One example as one system did on it: what metrics are computed from."""

from collections.abc import Iterable

from tasks.core.values import Value

GENERAL = "general"
"""Name of the benchmark that the general probe is."""

TRAFFIC = "newest traffic"
"""Name of the benchmark that the newest labelled traffic is; no gate looks at it."""


class Item(Value):
    """The loss of one example and, where it was answered, the answer.

    A metric that needs answers sees answered items only.
    """

    benchmark: str
    id: str
    group: str | None = None
    """Items of one group are not independent."""
    nll: float
    """−log p(target | prompt): the sum over the target tokens, in nats."""
    tokens: int
    """Number of target tokens, at least 1."""
    not_finite: int = 0
    """Target tokens without a finite loss; each counts as `scoring.WORST_LOSS` in `nll`."""
    target_bytes: int = 0
    """UTF-8 bytes of the target's text, without control tokens."""
    prompt: str = ""
    """All turns before the answer, as a person reads them."""
    reference: str = ""
    """The answer that the example has, without reasoning before it."""
    answered: bool = False
    answer: str = ""
    """The system's answer, without reasoning before it."""
    new_tokens: int = 0
    """Generated tokens, the end token and reasoning included."""
    seconds: float | None = None
    """From the question to the answer of the batch that it was generated in; None: not timed."""
    at_once: int = 1
    """Prompts in that batch."""


def by_benchmark(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items of each benchmark, in their order."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.benchmark, []).append(item)
    return found
