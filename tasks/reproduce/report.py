"""What making a version again has shown, as sentences and as files."""

from pathlib import Path

from tasks.core import files
from tasks.rendering.templates import render
from tasks.reproduce.results import Losses, Reproduction, Weights

REPORT = "reproduction.json"
PAGE = "reproduction.md"
_SHOWN = 3


def write_report(result: Reproduction, out: Path) -> None:
    """Write `reproduction.md` and, last of all, `reproduction.json`."""
    page = render(
        __package__,
        "report.md.j2",
        result=result,
        verdict=verdict_sentence(result),
        losses=losses_sentence(result.losses),
        weights=weights_sentence(result.weights),
    )
    files.write_text(out / PAGE, page)
    files.write_json(out / REPORT, result)


def verdict_sentence(result: Reproduction) -> str:
    """Whether it is the same, and whether it had to be."""
    if result.identical:
        return (
            "Identical: data, losses of all steps and all files of the weights are equal in bits."
        )
    decisive = [difference.what for difference in result.environment if difference.decisive]
    if decisive:
        more = f" and {len(decisive) - _SHOWN} more" if len(decisive) > _SHOWN else ""
        return (
            "Not identical, and it did not have to be: "
            f"{', '.join(decisive[:_SHOWN])}{more} can change a result in bits."
        )
    return "Not identical, although nothing is known to differ that could change a result in bits."


def losses_sentence(losses: Losses) -> str:
    """The largest difference of a loss, and where it is."""
    kinds = {"train_loss": "training loss", "validation_loss": "validation loss", None: "loss"}
    missing = f" {losses.missing} losses are only in one of the two runs." if losses.missing else ""
    if losses.first is None:
        return f"All {losses.compared} losses are equal in bits.{missing}"
    return (
        f"The largest difference of {losses.compared} losses is {losses.largest:.3g} nats a token, "
        f"of the {kinds[losses.name]} at step {losses.step}; the first is at step "
        f"{losses.first}.{missing}"
    )


def weights_sentence(weights: Weights | None) -> str:
    """The largest difference of a weight, and where it is; nothing where none was looked for."""
    if weights is None:
        return ""
    unmatched = (
        f" {len(weights.unmatched)} tensors are only in one of the two, or of another shape."
        if weights.unmatched
        else ""
    )
    if weights.tensor is None:
        return f"All weights that both have are equal.{unmatched}"
    largest = "not finite" if weights.largest is None else f"{weights.largest:.3g}"
    return (
        f"The largest difference of a weight is {largest}, in {weights.tensor}; the "
        f"largest registered weight is {weights.scale:.3g}.{unmatched}"
    )
