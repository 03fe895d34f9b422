"""What many gates, many rounds and many trials do to a verdict, in sentences."""

from collections.abc import Iterator

from tasks.evaluate import statistics
from tasks.evaluate.gates import Measured
from tasks.evaluate.inputs import Evidence


def notes(measured: Measured) -> tuple[str, ...]:
    """Sentences for the verdict on the rounds so far, and on how the candidate was chosen."""
    return (*_rounds(measured), *_choice(measured.evidence))


def _rounds(measured: Measured) -> Iterator[str]:
    options = measured.settings.evaluate
    alpha, earlier = options.alpha, measured.evidence.looks
    this = 100 * measured.level
    so_far = 100 * statistics.lucky(alpha, earlier, options.rounds)
    yield (
        f"This is round {earlier + 1} on these benchmarks. A candidate that is no better passes by "
        f"luck with a probability of at most {this:.2g} % in this round, {so_far:.2g} % in the "
        + (
            f"rounds so far, and {100 * alpha:g} % in all rounds together, however many follow."
            if options.rounds == "spending"
            else "rounds so far, and more with each round (`evaluate.rounds: fixed`)."
        )
    )
    if earlier and this < _STRICT * 100 * alpha:
        yield (
            "The benchmarks are worn by so many rounds: name new held-out data in "
            "`evaluate.benchmarks`, and the count begins anew."
        )


def _choice(evidence: Evidence) -> Iterator[str]:
    if evidence.trials < 2:
        return
    size = ""
    if evidence.optimism is not None:
        size = f", by {evidence.optimism:.3f} nats a token or so"
    yield (
        f"The candidate is the best of {evidence.trials} trials on validation data: its validation "
        f"loss looks better than it is{size}. Its figures here do not, because no benchmark took "
        "part in that choice; the gate `contamination` searches both files for benchmark records."
    )


_STRICT = 0.01
"""Share of `alpha` that is left for a round, below which the benchmarks are called worn."""
