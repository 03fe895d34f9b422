"""The entry of the `perpetune` command: quiet when it is interrupted while modules are loaded."""

import os
import sys


def main() -> None:
    """Run the command line."""
    try:
        from flows.cli import main as commands
    except KeyboardInterrupt:
        sys.stderr.write("perpetune: interrupted\n")
        sys.stderr.flush()
        os._exit(130)
    commands()


if __name__ == "__main__":
    main()
