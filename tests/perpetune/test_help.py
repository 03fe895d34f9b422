"""`perpetune --help`: every command in the order of its use, each with a whole line."""

import os
import subprocess
import sys

from perpetune.cli.main import main


def test_no_command_is_cut_short_at_80_columns() -> None:
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "perpetune", "--help"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(main.commands)
    for line in lines:
        assert len(line) <= 80
        assert line.endswith(".")
        assert not line.endswith("...")
