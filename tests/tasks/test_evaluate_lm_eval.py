"""Tasks of lm-evaluation-harness: local files, offline, beside the benchmarks."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.evaluate import Evidence, check_benchmarks, compare, comparison_table, lm_eval
from tasks.settings import Settings
from tests.tasks.test_evaluate_few_shot import adapter_on, row

pytest.importorskip("lm_eval")

TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture
def harness(
    make_settings: Callable[..., Settings],
    write_lines: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Settings]:
    """Settings with a local task of sixteen questions."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    questions = [
        {"question": f"{i}?", "choices": [" a", " a very long answer"], "answer": i % 2}
        for i in range(16)
    ]
    data = write_lines("questions.jsonl", *questions)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "colours.yaml").write_text(TASK.format(data=json.dumps(str(data))))
    held = write_lines("held.jsonl", *(row(i) for i in range(12)))

    def make(**more: Any) -> Settings:
        asked = {"tasks": ["colours"], "include_path": str(tmp_path / "tasks")} | more
        return make_settings(
            evaluate={
                "benchmarks": [str(held)],
                "general_probe": None,
                "max_generations": 0,
                "lm_eval": asked,
            }
        )

    return make


def test_its_figures_are_beside_the_others_and_computed_once(
    harness: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = harness()
    check_benchmarks(settings)
    systems = adapter_on(settings, tmp_path)
    verdict = compare(systems, Evidence(), tmp_path / "out", settings)
    found = verdict.candidate.benchmarks["lm-eval colours"]
    assert (found.examples, found.generated) == (16, 0)
    assert set(found.scores) == {"acc", "acc_norm"}
    assert found == verdict.models["base"].benchmarks["lm-eval colours"], "an adapter of zeros"
    score = found.scores["acc"]
    assert score is not None
    assert score.low < score.value < score.high
    assert score.n == 16
    rows = [(row.benchmark, row.metric) for row in comparison_table(verdict)]
    assert rows[-2:] == [("lm-eval colours", "acc"), ("lm-eval colours", "acc_norm")]
    page = (tmp_path / "out" / "review.html").read_text()
    assert "lm-eval colours" in page
    assert "acc norm" in page

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(lm_eval, "_run", refuse)
    again = compare(systems, Evidence(), tmp_path / "again", settings)
    assert again.candidate.benchmarks == verdict.candidate.benchmarks
    data = tmp_path / "questions.jsonl"
    data.write_text(data.read_text() + "\n")
    with pytest.raises(AssertionError, match="computed again"):
        compare(systems, Evidence(), tmp_path / "changed", settings)


def test_what_cannot_be_run_is_said_before_anything_is_trained(
    harness: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"include_path: .*none: no such folder"):
        check_benchmarks(harness(include_path=str(tmp_path / "none")))
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"pip install 'perpetune\[lm-eval\]'"):
        lm_eval.check(harness())
