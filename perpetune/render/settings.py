"""Settings in a terminal."""

import sys
from typing import Any

from perpetune.render.console import console, escape
from tasks.settings import Settings
from tasks.settings.writing import commented_yaml, flow


def show_settings(settings: Settings) -> None:
    """The settings as `params.yaml` would have them."""
    # As it is: what is printed can be redirected into a file.
    sys.stdout.write(commented_yaml(settings))


def show_explanations(value: dict[str, Any]) -> None:
    """What a key is for; each of its meanings, where methods differ."""
    for found in value["explanations"]:
        console.print(f"[bold]{escape(found['key'])}[/]")
        console.print(escape(found["description"]))
        facts = {
            "value": None if found["value"] is None or found["keys"] else flow(found["value"]),
            "default": None if found["keys"] else flow(found["default"]),
            "allowed": found["allowed"],
            "unit": found["unit"],
            "of": ", ".join(found["members"]),
            "keys": ", ".join(found["keys"]),
            "read by": ", ".join(found["read_by"]),
        }
        for name, fact in facts.items():
            if fact:
                console.print(f"  {name:8} {escape(fact)}")


def show_written(value: dict[str, Any]) -> None:
    """Where the file is."""
    console.print(f"written: {escape(value['written'])}")
