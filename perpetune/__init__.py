"""The `perpetune` command: it parses, makes one call, and shows what comes back."""
