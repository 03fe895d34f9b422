"""Replay: general data that is mixed into training."""
