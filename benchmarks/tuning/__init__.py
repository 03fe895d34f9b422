"""Tuning measured: speed and memory of training, the sweep and generation, beside their peers."""
