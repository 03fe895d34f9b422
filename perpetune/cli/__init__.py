"""The commands, a module for each group, and how a command ends."""
