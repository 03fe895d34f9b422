"""Which deployments `perpetune up` makes known: those of prefect.yaml, for every model.

prefect.yaml is native Prefect and written by hand, for the default model. Here it is read, repeated
for each `models/NAME.yaml`, and given the parameters with which `up` was called.
"""

import copy
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.deployed import POOL, are_deployed, limit_rounds, retire
from flows.forms import Request
from flows.recovery import recover
from flows.server import no_answer
from perpetune.platform.prefect_command import run_prefect
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, first_line
from tasks.settings import Settings, load_settings, models

log = logging.getLogger(__name__)

TAG = "perpetune"
SOURCE = Path("prefect.yaml")
_OURS = (
    "flows/retrain.py:retrain",
    "flows/watch.py:watch",
    "flows/promote.py:promote",
    "flows/promote.py:forms",
    "flows/housekeeping.py:housekeeping",
)
"""Entry points of flows that take `params`, `overrides` and `model`."""
_ALL_MODELS = "perpetune.model.*"


def deployments_file(settings: Settings) -> Path:
    """Where the deployments are that Prefect knows, as a file for `prefect deploy`."""
    return settings.project.state_dir / "deployments.yaml"


def deploy(request: Request) -> None:
    """Tell the platform's server of every deployment, where it does not know all of them yet.

    Rounds take turns, and runs whose process died are ended. The environment is that of
    `perpetune.platform.environment.prepare`.

    Raises:
        BadInput: prefect.yaml or the file of a model cannot be used.
        PerpetuneError: Prefect refuses a deployment, or does not answer.
    """
    changed = write_deployments(request)
    names = deployment_names(request.settings)
    try:
        if changed or not are_deployed(names):
            run_prefect(
                "--no-prompt",
                "deploy",
                "--all",
                "--prefect-file",
                str(deployments_file(request.settings)),
            )
            for name in retire(names, TAG):
                log.info("the deployment %s is gone: its model has no file any more", name)
        limit_rounds()
        recover(request.settings)
    except no_answer() as error:
        raise PerpetuneError(f"Prefect does not answer: {first_line(error)}") from error


def make_pool() -> None:
    """Make the work pool that the deployments name, of processes, unless there is one.

    Raises:
        PerpetuneError: Prefect refuses it, or does not answer.
    """
    run_prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")


def deployment_names(settings: Settings) -> tuple[str, ...]:
    """The names of what `write_deployments` wrote, as `FLOW/DEPLOYMENT`."""
    from ruamel.yaml import YAML

    plain = YAML(typ="safe").load(deployments_file(settings).read_text(encoding="utf-8"))
    return tuple(
        f"{found['entrypoint'].rpartition(':')[2]}/{found['name']}"
        for found in plain["deployments"]
    )


def write_deployments(request: Request) -> bool:
    """Write that file anew.

    Returns:
        Whether it differs from the one before, so that Prefect has to be told.

    Raises:
        BadInput: prefect.yaml or the file of a model cannot be used.
    """
    path, text = deployments_file(request.settings), derived(request)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    files.write_text(path, text)
    return True


def derived(request: Request) -> str:
    """The text of a prefect.yaml with the deployments of every model.

    Raises:
        BadInput: prefect.yaml or the file of a model cannot be used.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe")
    try:
        plain = yaml.load(SOURCE.read_text(encoding="utf-8"))
        written = list(plain["deployments"])
        plain["deployments"] = list(_for_models(written, request))
    except OSError as error:
        raise BadInput(f"{SOURCE}: {error.strerror}; it says what `perpetune up` deploys") from None
    except (YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{SOURCE} is no list of Prefect's deployments: {error}") from None
    yaml.default_flow_style = False
    text = io.StringIO()
    text.write(f"# Derived from {SOURCE} by `perpetune up`, which writes it anew.\n")
    yaml.dump(plain, text)
    return text.getvalue()


def _for_models(written: list[dict[str, Any]], request: Request) -> Iterator[dict[str, Any]]:
    names: list[str | None] = [None, *models(Path(request.params))]
    for deployment in written:
        if deployment["entrypoint"] not in _OURS:
            yield deployment
            continue
        for model in names:
            yield _for_model(copy.deepcopy(deployment), model, request)


def _for_model(deployment: dict[str, Any], model: str | None, request: Request) -> dict[str, Any]:
    registered = load_settings(Path(request.params), request.overrides, model).project.name
    given = {"params": request.params, "overrides": list(request.overrides), "model": model}
    # What prefect.yaml says goes before what `up` was given.
    deployment["parameters"] = given | (deployment.get("parameters") or {})
    deployment["tags"] = [*(deployment.get("tags") or ()), f"model {registered}"]
    if model is not None:
        deployment["name"] = f"{deployment['name']}-{model}"
    for trigger in deployment.get("triggers") or ():
        match = trigger.get("match") or {}
        if match.get("prefect.resource.id") == _ALL_MODELS:
            match["prefect.resource.id"] = f"perpetune.model.{registered}"
    return deployment
