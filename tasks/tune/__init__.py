"""Adapt the base model to the curated records.

`plan` says what that would take, `train` fits one configuration, `sweep` searches configurations
and keeps the best: each is a function in the package of its name. Both write plain folders that
vanilla PEFT or transformers loads, chosen by validation loss. No token is padding, logits are
computed only where something is learned, and equal input gives equal weights on one machine.

    data        encoded examples, batches, packs
    methods     how the base is adapted
    objectives  what is learned from a record
    train       one training run
    sweep       the search
    plan        memory, time and advice before training
"""

__all__ = ["methods", "plan", "sweep", "train"]
