"""Whether the base needs tuning at all, in words."""

from tasks.evaluate.gates import Measured


def prompting_notes(measured: Measured) -> tuple[str, ...]:
    """How the candidate compares with the base that is asked with examples in its prompt."""
    found = None
    if "few_shot" in measured.items:
        found = measured.difference("loss", "few_shot", measured.benchmarks)
    if found is None:
        return ()
    place = f"on {found.estimate.examples} held-out examples"
    interval = found.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return (
            f"Examples in the prompt may be enough, without tuning: {place} the candidate is not "
            f"shown to be better than {found.name}: {found.sentence()}.",
        )
    if interval.low > 0:
        return (
            f"Examples in the prompt are enough, and better than this tuning: {place} "
            f"{found.sentence()}.",
        )
    return (f"Examples in the prompt are not enough: {place} {found.sentence()}.",)
