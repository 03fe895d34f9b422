"""Which split a record's group goes to, and whether it leaks a record of another split."""
