"""Read: lines of the inputs become records."""
