"""What every package stands on: errors, files and hashes, locks, plugins, typed values."""
