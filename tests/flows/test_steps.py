"""Which failures of a step are tried again, and whether DVC has to be asked."""

from pathlib import Path

import pytest
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed, State

from flows import dvc_stages
from flows.retrain import curate_step
from flows.steps import may_pass
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused, Unavailable


def failed(error: Exception) -> State:
    return Failed(data=error)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Unavailable("MLflow does not answer"), True),
        (BadInput("no such file"), False),
        (Refused("a gate says no"), False),
        (PerpetuneError("disk full"), False),
        (ValueError("a bug"), False),
        (TimeoutError("it took too long"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:
    assert may_pass(curate_step, TaskRun.model_construct(), failed(error)) is again


LOCK = """
schema: '2.0'
stages:
  curate:
    cmd: perpetune  curate
    deps:
    - {{path: a.txt, hash: md5, md5: {a}, size: 1}}
    params:
      params.yaml:
        curate: {{x: 0.00001}}
        base.model: m
    outs:
    - {{path: out/b.txt, hash: md5, md5: {b}, size: 1}}
"""
PIPELINE = """
stages:
  curate:
    desc: words
    cmd: >-
      perpetune
      curate
    deps: [a.txt]
    params: [curate, base.model]
    outs:
    - out/b.txt: {cache: false}
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "out/b.txt").write_text("b")
    (tmp_path / "params.yaml").write_text("curate: {x: 1.0e-5}\nbase: {model: m}\ntune: {y: 1}\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    hashes = {
        name: files.md5(path)
        for name, path in (("a", "a.txt"), ("b", "out/b.txt"))
        for path in [tmp_path / path]
    }
    (tmp_path / "dvc.lock").write_text(LOCK.format(**hashes))
    return tmp_path


def test_a_stage_that_is_as_its_lock_says_needs_no_dvc(stage: Path) -> None:
    assert dvc_stages.up_to_date("curate")
    (stage / "params.yaml").write_text("curate: {x: 1.0e-5}\nbase: {model: m}\ntune: {y: 2}\n")
    assert dvc_stages.up_to_date("curate"), "no stage of ours reads that"
    assert not dvc_stages.up_to_date("curate", "train")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "c"),
        ("out/b.txt", "c"),
        ("out/b.txt", None),
        ("params.yaml", "curate: {x: 2.0e-5}\nbase: {model: m}\n"),
        ("params.yaml", "curate: {x: 1.0e-5}\n"),
        ("params.yaml", "curate: ["),
        ("dvc.yaml", PIPELINE.replace("      curate\n", "      curate --fast\n")),
        ("dvc.yaml", PIPELINE.replace("[a.txt]", "[a.txt, params.yaml]")),
        ("dvc.yaml", PIPELINE.replace("desc: words", "always_changed: true")),
        ("dvc.lock", None),
        ("dvc.lock", "stages: {}\n"),
    ],
)
def test_any_change_needs_dvc(stage: Path, name: str, text: str | None) -> None:
    if text is None:
        (stage / name).unlink()
    else:
        (stage / name).write_text(text)
    assert not dvc_stages.up_to_date("curate")
