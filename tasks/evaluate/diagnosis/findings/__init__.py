"""The diagnostics, a file each."""
