"""The list of packages is valid by the format's own schema, and whole."""

import importlib.metadata
import json
import re
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tasks.model import base_source
from tasks.registry.sbom import write_sbom
from tasks.settings import Settings


def test_the_list_of_packages_is_valid_and_whole(settings: Settings, tmp_path: Path) -> None:
    base = base_source.record(settings)
    path = write_sbom(tmp_path / "sbom.json", "tiny <script>", "abc", base)
    text = path.read_text(encoding="utf-8")
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, str(fault)[:500]
    listed = json.loads(text)
    assert listed["metadata"]["component"]["name"] == "tiny <script>"
    by_name = {component["name"]: component for component in listed["components"]}
    installed = {
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        for distribution in importlib.metadata.distributions()
        if distribution.metadata["Name"]
    }
    libraries = [part for part in listed["components"] if part["type"] == "library"]
    assert {re.sub(r"[-_.]+", "-", part["name"]).lower() for part in libraries} == installed
    assert by_name["torch"]["version"] == importlib.metadata.version("torch")
    assert sum("licenses" in part for part in libraries) > 0.9 * len(libraries)
    (model,) = [part for part in listed["components"] if part["type"] == "machine-learning-model"]
    hashes = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert hashes == base.files
    assert str(tmp_path) not in text, "paths of this machine stay here"
    serial = listed["serialNumber"]
    again = json.loads(write_sbom(path, "tiny <script>", "abc", base).read_text())
    assert again["serialNumber"] == serial
