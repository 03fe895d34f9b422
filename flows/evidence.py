"""The files that are registered with a version, beside its adapter, card and verdict."""

import shutil
from pathlib import Path

from flows.round import DVC_LOCK, RoundInputs
from tasks.core import files
from tasks.core.secrets import without_passwords
from tasks.drift import write_reference
from tasks.registry import write_sbom
from tasks.watch import keep_evidence


def evidence_files(inputs: RoundInputs) -> tuple[Path, ...]:
    """Files and folders of a round that was evaluated, each to be kept under its own name.

    They are what a reviewer looks at, and what the version can be made again from:

        evaluate/            the verdict, the review sheet with its key, every answer
        report.html, data_card.md, dropped.jsonl    what curation kept and dropped
        sweep.json, curves.png, heatmap.png         the search
        reference.jsonl      what drift is measured against
        params.json          all settings, as they were resolved
        dvc.lock             hashes of the data and of every stage
        sbom.json            the software, in CycloneDX
        drift/               the alarms that the round answers, their reports, the time line

    Raises:
        BadInput: the data cannot be read.
    """
    sweep, data = inputs.folder / "sweep", inputs.data.folder
    kept = inputs.folder / "evidence"
    settings = inputs.settings
    reference = write_reference(data, inputs.folder / "reference.jsonl", settings)
    files.write_json(kept / "params.json", without_passwords(settings.plain()), sort_keys=False)
    commit = inputs.code.commit or "unknown"
    write_sbom(kept / "sbom.json", settings.project.name, commit, inputs.base)
    found = [
        *(sweep / name for name in ("curves.png", "heatmap.png", "sweep.json")),
        inputs.folder / "evaluate",
        *(data / name for name in ("report.html", "data_card.md", "dropped.jsonl")),
        reference,
        kept / "params.json",
        kept / "sbom.json",
    ]
    if DVC_LOCK.is_file():
        found.append(Path(shutil.copyfile(DVC_LOCK, kept / DVC_LOCK.name)))
    drift = keep_evidence(settings, inputs.alarms, inputs.folder / "drift")
    if drift:
        found.append(drift)
    return tuple(path for path in found if path.exists())
