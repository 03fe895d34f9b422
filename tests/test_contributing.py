"""The examples of CONTRIBUTING.md, run as a newcomer would: files of their own, real commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.core import files
from tests.conftest import PROJECT
from tests.examples import EXAMPLES, TEXT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A newcomer's folder: the examples, settings for the tiny base, some data."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name, code in EXAMPLES.items():
        (folder / name).write_text(code, encoding="utf-8")
    settings = {
        "project": {"name": "tiny"},
        "base": {"model": str(tiny_base), "dtype": "float32"},
        "curate": {"splits": {"validation_share": 0.3, "test_share": 0}},
        "tune": {"max_steps": 2, "evaluations": 1, "batch_size": 4, "learning_rate": 0.01},
    }
    (folder / "params.yaml").write_text(json.dumps(settings))
    held = [{"prompt": f"Sort {i} rows", "completion": f"Sorted {i}."} for i in range(12)]
    files.write_jsonl(folder / "held-out.jsonl", held)
    return folder


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def perpetune(folder: Path, command: str, **settings: Any) -> dict[str, Any]:
    """`perpetune COMMAND --set KEY=VALUE … --json`, as CONTRIBUTING.md writes it."""
    chosen = [f"--set={key.replace('__', '.')}={value}" for key, value in settings.items()]
    return json.loads(run(folder, "-m", "perpetune", *command.split(), *chosen, "--json"))


def test_a_filter_and_a_format(folder: Path) -> None:
    links = "See http://a.example and http://b.example for all of the details."
    rows = [
        {"ticket": f"The {thing} is broken, what now?", "reply": f"Turn the {thing} off and on."}
        for thing in ("printer", "screen", "router", "keyboard", "scanner", "telephone")
    ]
    files.write_jsonl(folder / "tickets.jsonl", [*rows, {"ticket": "Where?", "reply": links}])
    report = perpetune(
        folder,
        "curate tickets.jsonl --out out",
        project__plugins="[tickets.py, too_many_links.py]",
        curate__quality__max_links=1,
    )
    assert report["in"] == 7
    assert report["dropped"] == {"too_many_links": 1}
    (dropped,) = files.read_jsonl(folder / "out" / "dropped.jsonl")
    assert (dropped["reason"], dropped["line"]) == ("too_many_links", 7)
    assert dropped["evidence"] == {"links": 2, "maximum": 1}
    for name in ("report.html", "data_card.md"):
        assert "too many links" in (folder / "out" / name).read_text()
    kept = files.read_jsonl(folder / "out" / "train.jsonl")
    assert kept[0]["messages"][1]["content"].startswith("Turn the ")


def test_a_method(folder: Path) -> None:
    data = folder / "curated"
    data.mkdir()
    rows = files.read_jsonl(folder / "held-out.jsonl")
    files.write_jsonl(data / "train.jsonl", rows[:8])
    files.write_jsonl(data / "validation.jsonl", rows[8:])
    metrics = perpetune(
        folder,
        "train --data curated --out trained",
        project__plugins="[rslora.py]",
        tune__method="{name: rslora, rank: 4}",
    )
    assert (metrics["method"], metrics["steps"]) == ("rslora", 2)
    config = files.read_json(folder / "trained" / "best" / "adapter_config.json")
    assert (config["r"], config["use_rslora"]) == (4, True)


def test_an_objective(folder: Path) -> None:
    data = folder / "preferences"
    data.mkdir()
    rows = [
        {"prompt": f"Sort {i} rows", "chosen": f"Sorted {i}.", "rejected": f"Kept {i}."}
        for i in range(12)
    ]
    files.write_jsonl(data / "train.jsonl", rows[:8])
    files.write_jsonl(data / "validation.jsonl", rows[8:])
    metrics = perpetune(
        folder,
        "train --data preferences --out preferring",
        project__plugins="[pairwise.py]",
        tune__objective="pairwise",
    )
    assert (metrics["params"]["objective"], metrics["steps"]) == ("pairwise", 2)
    assert metrics["validation_loss"] > 0
    curve = files.read_jsonl(folder / "preferring" / "curve.jsonl")
    assert 0 <= curve[-1]["validation_metrics"]["accuracy"] <= 1


def test_an_entry_point(folder: Path) -> None:
    """What an installer makes of the example's pyproject.toml."""
    import tomllib

    groups = tomllib.loads(EXAMPLES["pyproject.toml"])["project"]["entry-points"]
    info = folder / "my_metrics-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1\n")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {module}" for name, module in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    code = "from tasks.evaluate import METRICS; print(METRICS.get('word_count').label)"
    assert run(folder, "-c", code) == "words\n"


def test_paths_and_commands_exist() -> None:
    named = set(re.findall(r"\b(?:tasks|tests|docs|benchmarks)/[\w./-]*\w", TEXT))
    assert {name for name in named if not (PROJECT / name).exists()} == set()
    for name in re.findall(r"project\.plugins=\[([\w.]+)\]", TEXT):
        assert name in EXAMPLES or name.startswith("my_")
