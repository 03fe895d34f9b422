"""Curation measured: corpora with planted truth, and what the command makes of them."""
