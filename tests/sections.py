"""Settings for tests, with the keys of sub-sections beside the others.

`settings_from(tune={"method": "dora", "rank": 4}, sweep={"rank": [4, 8]})`: what an old
`params.yaml` could say, read as one is.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from tasks.curate.settings import Curate
from tasks.settings import Settings, read_settings
from tasks.tune.settings import Tune


def settings_from(**sections: dict[str, Any]) -> Settings:
    """All sections, those that are not given with their defaults."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.json"
        path.write_text(json.dumps(sections, default=str))
        return read_settings(path)[0]


def tune_from(**values: Any) -> Tune:
    """The section `tune`: `tune_from(method="ia3", max_steps=2)`."""
    return settings_from(tune=values).tune


def curate_from(**values: Any) -> Curate:
    """The section `curate`: `curate_from(min_tokens=1)`."""
    return settings_from(curate=values).curate
