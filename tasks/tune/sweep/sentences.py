"""Results of a sweep in words."""

from tasks.tune.sweep.results import Selection, Trial

# Where trials are equal, the estimate is two thirds of the truth: benchmarks/tuning/selection.py.
_UNDERESTIMATE = 1.5


def trial_sentence(trial: Trial) -> str:
    """A trial's configuration, and how it ended."""
    configuration = ", ".join(
        f"{name.replace('_', ' ')} {value:g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in trial.used_params.items()
    )
    loss = "none" if trial.validation_loss is None else f"{trial.validation_loss:.4f}"
    return (
        f"trial {trial.number} ({configuration}): {trial.state} after {trial.steps} steps and "
        f"{trial.seconds:.0f} s, validation loss {loss}"
    )


def selection_sentence(selection: Selection, loss: float) -> str:
    """What `selection` means for the best trial's validation loss, to no more digits than it has.

    Args:
        selection: of `assess`.
        loss: the validation loss of the best trial.
    """
    examples = selection.examples
    text = (
        f"Its validation loss of {loss:.3f} on {examples} example{'s' * (examples != 1)} is the "
        f"lowest of {selection.choices} evaluations in {selection.trials} trials"
    )
    if selection.optimism is None:
        text += f"; its selection bias is not known: {selection.reason}."
    else:
        bias = _UNDERESTIMATE * selection.optimism
        amount = "less than 0.01" if bias < 0.01 else f"about {selection.optimism:.2f}"
        text += f", which makes it {amount} too low (selection bias)."
    error = selection.standard_error
    if error is None:
        return f"{text} One example does not tell how it is on others."
    expected = loss if selection.corrected_loss is None else selection.corrected_loss
    digits = 3 if error < 0.005 else 2
    return (
        f"{text} On other examples of this kind expect {expected:.{digits}f} ± "
        f"{error:.{digits}f} (one standard deviation of a loss on {examples} examples)."
    )
