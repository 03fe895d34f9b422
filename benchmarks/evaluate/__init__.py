"""Evaluation measured: how often the gates are wrong."""
