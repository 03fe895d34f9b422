"""What a comparison is made of: the systems, and what the round knows beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Systems:
    """What training made, as folders: plain PEFT adapters or whole models.

    The base model, alone and with examples in its prompt, is compared in any case.
    """

    candidate: Path
    champion: Path | None = None
    """The version in use; None: the base model is."""
    first: Path | None = None
    """The first champion, where that is not the present one: small losses that each round's gate
    accepts would add up unseen against a champion that changes."""
    others: Mapping[str, Path] = field(default_factory=dict)
    """Other adapters to show beside these, by name; no gate looks at them."""


@dataclass(frozen=True)
class Evidence:
    """What a round knows beside its models; a gate that needs what is missing cannot decide."""

    train: Path | None = None
    """The file that the candidate was trained on."""
    validation: Path | None = None
    """The file that the trials were chosen on."""
    trial: Path | None = None
    """Folder of the trial that won: `curve.jsonl` is its course."""
    trials: int = 1
    """Number of trials among which the candidate was chosen."""
    optimism: float | None = None
    """By how much that choice makes the winner's validation loss look better than it is, in nats a
    token, as the sweep estimates it."""
    looks: int = 0
    """Earlier rounds whose candidates were judged on the same benchmarks."""
    window: Path | None = None
    """The newest window of labelled traffic."""
