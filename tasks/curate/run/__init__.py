"""How the steps are run: workers, shards on disk, and the files that are written."""
