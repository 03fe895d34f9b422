"""The software that made a version, as a list of packages in the CycloneDX format (ECMA-424)."""

import importlib.metadata
import platform
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core import files
from tasks.model.base_source import BaseRecord

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

# Names of licences that are no SPDX identifiers are shortened: some packages give the whole text.
_LICENCE_CHARACTERS = 200


def write_sbom(path: Path, project: str, version: str, base: BaseRecord) -> Path:
    """Write every installed distribution, Python and the base model as CycloneDX 1.6 JSON.

    Args:
        path: the file.
        project: name of the project, which is the component that the list is of.
        version: its version: the commit.
        base: the base model, listed with the SHA-256 of its files.

    Returns:
        `path`.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.dependency import Dependency
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    root = Component(
        type=ComponentType.APPLICATION, name=project, version=version, bom_ref="project"
    )
    components = [_python(), _base_model(base), *_distributions()]
    listed = "\n".join(f"{component.name} {component.version}" for component in components)
    bom = Bom(
        components=components,
        dependencies=[Dependency(root.bom_ref, [Dependency(each.bom_ref) for each in components])],
        # Equal lists have equal numbers.
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{project} {version}\n{listed}"),
    )
    bom.metadata.component = root
    output = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    files.write_text(path, output.output_as_string(indent=2) + "\n")
    return path


def _python() -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.PLATFORM,
        name=platform.python_implementation(),
        version=platform.python_version(),
        bom_ref="python",
    )


def _base_model(base: BaseRecord) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        # Where a folder is on this machine is nobody's business.
        name=Path(base.name).name if base.source == "folder" else base.name,
        version=base.version or base.digest,
        bom_ref="base-model",
        components=[
            Component(
                type=ComponentType.FILE,
                name=name,
                bom_ref=f"base-model/{name}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )
            for name, digest in base.files.items()
        ],
    )


def _distributions() -> "Iterator[Component]":
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    licences = LicenseFactory()
    seen: set[str] = set()
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        # A folder that an interrupted installation left has no name; the first of a name is what
        # an import finds.
        normal = re.sub(r"[-_.]+", "-", name or "").lower()
        if normal and normal not in seen:
            seen.add(normal)
            found[normal] = distribution
    for name, distribution in sorted(found.items()):
        url = PackageURL("pypi", name=name, version=distribution.version)
        licence = _licence(distribution)
        yield Component(
            type=ComponentType.LIBRARY,
            name=distribution.metadata["Name"],
            version=distribution.version,
            purl=url,
            bom_ref=str(url),
            licenses=[licences.make_from_string(licence)] if licence else [],
        )


def _licence(distribution: importlib.metadata.Distribution) -> str:
    """The licence as the package names it: an expression, else what it says in words."""
    metadata = distribution.metadata
    expressions = metadata.get_all("License-Expression") or []
    if expressions:
        return str(expressions[0])
    names = [
        value.rpartition("::")[2].strip()
        for value in metadata.get_all("Classifier") or []
        if value.startswith("License ::")
    ]
    words = "".join(metadata.get_all("License") or []).strip().partition("\n")[0]
    return (words or " / ".join(names))[:_LICENCE_CHARACTERS]
