"""The steps as they are declared: reasons, columns, statuses; shards never change."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.curate import curate
from tasks.curate.ledger import Reason
from tasks.curate.reasons import all_reasons, explain
from tasks.curate.report.reference import reasons_page
from tasks.curate.run import pipeline
from tasks.curate.run.statuses import RecordStatus, Statuses
from tasks.curate.run.steps import GLOBAL_STEPS, RECORD_STEPS, STEPS
from tasks.curate.step import GlobalRun
from tasks.curate.steps.splits import splits
from tasks.records import REASONS
from tasks.settings import Settings

PROJECT = Path(__file__).parents[2]


def test_every_reason_is_declared_once_by_its_step() -> None:
    for step in STEPS:
        names = [reason.name for reason in step.reasons]
        assert len(names) == len(set(names)), step.name
        assert all(reason.meaning.endswith(".") for reason in step.reasons)
    assert set(REASONS) <= {reason.name for reason in RECORD_STEPS[0].reasons}
    assert explain("duplicate").name == "duplicate"
    assert explain("my_own") == Reason("my_own", "my own")
    assert set(all_reasons()) == {reason.name for step in STEPS for reason in step.reasons}


def test_every_column_that_a_step_needs_is_given_once() -> None:
    given = [name for step in STEPS for name in step.gives]
    assert len(given) == len(set(given))
    assert {name for step in STEPS for name in step.needs} <= set(given)


def test_a_status_is_a_split_or_a_reason_of_a_step() -> None:
    assert [RecordStatus(i).split for i in range(len(splits.SPLITS))] == list(splits.SPLITS)
    assert RecordStatus.UNDECIDED.split is None and RecordStatus.UNDECIDED.reason is None
    reasons = [status.reason for status in RecordStatus if status.reason]
    assert sorted(reasons) == sorted(r.name for step in GLOBAL_STEPS for r in step.reasons)
    statuses = Statuses.undecided(4)
    statuses.set([1], RecordStatus.TEST)
    statuses.set([2, 3], RecordStatus.CONTAMINATED)
    assert statuses.remaining().tolist() == [0, 1] and statuses.dropped().tolist() == [2, 3]
    assert statuses.having(RecordStatus.TEST).tolist() == [1]
    statuses.enter_step("decontaminate", 4)
    assert statuses.funnel == [("decontaminate", 4, 2)]


def test_shards_do_not_change_after_the_workers(
    tmp_path: Path,
    settings: Settings,
    write_lines: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = "Write the report of day {} in the form that the office of the harbour expects of us"
    rows = [
        {"prompt": frame.format(n), "completion": f"On day {n} the gauge showed {n * 7} feet."}
        for n in range(60)
    ]
    source = write_lines("a.jsonl", *rows)
    hashes: list[dict[str, str]] = []
    given: set[str] = set()

    def snapshot(folder: Path) -> dict[str, str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        given.update(path.name.split(".")[0] for path in files)
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    real = pipeline._run_global_steps

    def run_steps(run: GlobalRun) -> None:
        folder = run.scratch.with_name("shards")
        hashes.append(snapshot(folder))
        real(run)
        hashes.append(snapshot(folder))

    monkeypatch.setattr(pipeline, "_run_global_steps", run_steps)
    curate([str(source)], [], tmp_path / "out", settings)
    before, after = hashes
    assert before and before == after
    assert {name for step in STEPS for name in step.gives} <= given


def test_the_page_of_reasons_is_up_to_date() -> None:
    page = PROJECT / "docs" / "reference" / "curation-reasons.md"
    assert page.read_text(encoding="utf-8") == reasons_page(), (
        "run python -m tasks.curate.report.reference docs/reference/curation-reasons.md"
    )
