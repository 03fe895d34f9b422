"""What concerns a record, and what concerns all records: one package for each kind of step."""
