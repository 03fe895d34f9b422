"""Promises of the repository's own files."""

import re
import subprocess
import sys
from pathlib import Path

from tasks.settings import Settings, load_settings

PROJECT = Path(__file__).parent.parent


def test_params_yaml_shows_every_setting_with_its_default() -> None:
    from ruamel.yaml import YAML

    written = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    assert load_settings(PROJECT / "params.yaml") == Settings()
    for section, values in Settings().plain().items():
        assert list(written[section]) == list(values), section


def test_the_lock_names_no_host_and_pins_everything() -> None:
    for name in ("requirements.lock", "requirements-nodeps.lock"):
        for line in (PROJECT / name).read_text().splitlines():
            requirement = line.partition(";")[0].strip()
            if requirement and not requirement.startswith("#"):
                assert re.fullmatch(
                    r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[A-Za-z0-9.+]+", requirement
                )


def test_the_tools_that_we_build_on_import_together() -> None:
    code = (
        "import prefect, mlflow, dvc.api, torch, transformers, peft, evidently, optuna, datasets\n"
        "import accelerate, bitsandbytes, pandas, fastapi, sqlalchemy\n"
        "assert pandas.__version__.startswith('3.0.')\n"
        "assert sqlalchemy.__version__.startswith('2.0.')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_readme_names_only_commands_that_exist() -> None:
    from perpetune.cli.main import main

    readme = (PROJECT / "README.md").read_text()
    named = set(re.findall(r"perpetune ([a-z]+)", readme)) - {"has"}
    assert named <= set(main.commands), named - set(main.commands)
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", readme)) <= targets
