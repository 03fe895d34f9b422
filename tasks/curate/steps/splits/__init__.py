"""The split that a record's group goes to, and records that leak one of another split."""
