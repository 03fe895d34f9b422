"""Personal data and secrets: found, and masked or dropped."""
