"""Encoded examples of the splits, and how they are cut into batches and packs."""
