"""A metric and a gate of one's own, as a newcomer adds them: a file each and a line in params.yaml.

The files are the examples of CONTRIBUTING.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks.core import files
from tests.conftest import PROJECT
from tests.examples import EXAMPLES

COMPARE = """
from pathlib import Path
from tasks.evaluate import Evidence, Systems, compare, model_card
from tasks.settings import load_settings

settings = load_settings(Path("params.yaml"), [])
verdict = compare(Systems(Path("adapter")), Evidence(), Path("out"), settings)
Path("out/card.md").write_text(model_card(verdict, settings, {}))
print(sorted(verdict.candidate.figures()))
"""


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Path:
    """A folder with a metric, a gate, settings, held-out data and an adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for name in ("word_count.py", "enough_answers.py"):
        (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "params.yaml").write_text(
        "project: {name: tiny, plugins: [word_count.py, enough_answers.py]}\n"
        f"base: {{model: {json.dumps(str(tiny_base))}, dtype: float32}}\n"
        "evaluate: {benchmarks: [held.jsonl], general_probe: null, max_generations: 12,\n"
        "  max_new_tokens: 3}\n"
    )
    rows = [{"prompt": f"Sort {i} rows", "completion": f"Sorted {i}."} for i in range(16)]
    files.write_jsonl(tmp_path / "held.jsonl", rows)
    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32),
        LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_they_appear_wherever_metrics_and_gates_do(project: Path) -> None:
    command = ["-m", "perpetune", "evaluate", "base", "--data", "held.jsonl"]
    plain = json.loads(run(project, *command, "--json").stdout)["benchmarks"]["held"]
    lengths = plain["word_count"]
    assert 0 <= lengths["low"] <= lengths["value"] <= lengths["high"] <= 3
    assert lengths["n"] == 12
    assert "word_count" in run(project, *command).stdout

    figures = run(project, "-c", COMPARE).stdout
    assert "'held.word_count'" in figures  # these go to MLflow
    verdict = files.read_json(project / "out" / "verdict.json")
    assert "word_count" in verdict["models"]["candidate"]["benchmarks"]["held"]
    found = {gate["name"]: gate for gate in verdict["gates"]}
    assert found["enough_answers"]["outcome"] == "passed"
    assert found["enough_answers"]["reason"] == "12 examples were answered."
    for page in ("review.html", "review.md", "card.md"):
        text = (project / "out" / page).read_text()
        assert "words (words, lower is better)" in text or "words<br>" in text
        assert "12 examples were answered" in text
    row = files.read_jsonl(project / "out" / "candidate" / "examples.jsonl")[0]
    assert row["word_count"] == len(row["answer"].split())
