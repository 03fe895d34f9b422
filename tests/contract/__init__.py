"""One suite for each registry, run over all of its members."""
