"""The registry under SIGKILL at every write, under two people at once, and under any sequence."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.decisions import subject
from tasks.registry import Candidate, DatasetRef, Registry
from tasks.registry.shadow import own_tags
from tasks.registry.versions import Versions
from tasks.settings import Settings
from tasks.tune.sweep import Trial

WRITES = ("create_", "set_", "delete_", "log_", "update_", "finalize_")
TRIAL = Trial(number=0, params={"rank": 8}, state="complete", steps=2, seconds=1.0)
DATA = DatasetRef("train", "train.jsonl", "0" * 32 + ".dir", "training")

# Processes of their own, forked from one that has imported MLflow already.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "mlflow.pyfunc",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
        __name__,
    ]
)


class Killed(BaseException):
    """The end of a process, for tests that need no process of their own."""


def end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_here() -> None:
    raise Killed


class MortalClient:
    """An MLflow client that ends whoever uses it instead of making its n-th write."""

    def __init__(self, client: Any, lives: int, end: Callable[[], None]) -> None:
        self._client = client
        self._lives = lives
        self._end = end

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if not name.startswith(WRITES):
            return call

        def mortal(*args: Any, **kwargs: Any) -> Any:
            if self._lives == 0:
                self._end()
            self._lives -= 1
            return call(*args, **kwargs)

        return mortal


def die(
    lives: int, given: dict, end: Callable[[], None], work: Callable[..., Any], *args: Any
) -> None:
    registry = Registry(Settings.model_validate(given))
    connect = registry._connection._connect
    registry._connection._connect = lambda: MortalClient(connect(), lives, end)
    work(registry, *args)


def each_end(copy: Callable[[], Settings], work: Callable[..., Any]) -> Iterator[Registry]:
    """As `each_death`, in this process: what MLflow has is the same after either."""
    for lives in range(100):
        project = copy()
        try:
            die(lives, project.plain(), end_here, work)
        except Killed:
            yield Registry(project)
        else:
            assert lives >= 5, "the writes were not counted"
            return
    raise AssertionError("never came to an end")


def each_death(
    copy: Callable[[], Settings], work: Callable[..., Any], *args: Any
) -> Iterator[Registry]:
    """Kill `work` before its first write, its second…; yield the registry that each leaves."""
    for lives in range(100):
        project = copy()
        child = processes.Process(
            target=die, args=(lives, project.plain(), end_process, work, *args)
        )
        child.start()
        child.join()
        if child.exitcode == 0:
            assert lives >= 5, "the writes were not counted"
            return
        assert child.exitcode == -signal.SIGKILL
        yield Registry(project)
    raise AssertionError("never came to an end")


class ShelfVersions(Versions):
    """Versions without adapters."""

    def _model(self, client: Any, run_id: str, key: str, adapter: Path) -> Any:
        experiment = client.get_run(run_id).info.experiment_id
        return client.create_logged_model(experiment, source_run_id=run_id)


class Shelf(Registry):
    """A registry that stores no adapters, to try many decisions in a short time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.project = settings
        self.versions = ShelfVersions(self._connection, settings)
        self._empty = settings.project.state_dir / "empty"
        self._empty.mkdir(exist_ok=True)

    def add(self, key: str, passed: bool) -> None:
        run = self.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
        self.register(run, key, Candidate(self._empty, passed, {"passed": passed}, "card"))


def add(registry: Registry, key: str, adapter: Path) -> None:
    run = registry.tracking.open_round(
        key, name=key, params={"seed": 0}, tags={"git": "a"}, datasets=[DATA]
    )
    registry.tracking.log_trial(run, TRIAL, adapter, [DATA])
    evidence = (adapter / "curve.jsonl",)
    passed = {"passed": True}
    registry.register(
        run, key, Candidate(adapter, True, passed, "card", evidence, metrics={"loss": 2.0})
    )


def add_again(registry: Registry, key: str, adapter: Path) -> None:
    """What the round does when it is run again: nothing but its end, if it has its version."""
    known = registry.versions.find(key)
    if known:
        registry.complete(known)
    else:
        add(registry, key, adapter)


def approve(registry: Registry) -> None:
    registry.approve(3, "ann", "good")


def rollback(registry: Registry) -> None:
    registry.rollback("ann", "worse")


def aliases(registry: Registry) -> dict:
    status = registry.status()
    return {name: getattr(status, name) for name in ("champion", "challenger", "previous")}


@pytest.fixture
def adapter(plain_adapter: Path) -> Path:
    files.write_jsonl(plain_adapter / "curve.jsonl", [{"step": 1, "loss": 2.0}])
    return plain_adapter


@pytest.fixture
def copies(new_project: Callable[..., Settings]) -> Callable[[Registry], Callable[[], Settings]]:
    """Copies of a registry as it stands: `copies(registry)()` gives one more."""

    def of(registry: Registry) -> Callable[[], Settings]:
        state = registry.versions._settings.project.state_dir

        def copy() -> Settings:
            project = new_project()
            shutil.copytree(state, project.project.state_dir, dirs_exist_ok=True)
            return project

        return copy

    return of


@pytest.fixture
def three(new_project: Callable[..., Settings]) -> Shelf:
    """Version 1 is previous, 2 is champion, 3 is challenger."""
    registry = Shelf(new_project())
    for number in (1, 2, 3):
        registry.add(f"k{number}", passed=True)
        if number < 3:
            registry.approve(number, "ann")
    return registry


@pytest.mark.parametrize(
    ("work", "after"),
    [
        (approve, {"champion": 3, "challenger": None, "previous": 2}),
        (rollback, {"champion": 1, "challenger": 3, "previous": None}),
    ],
)
def test_a_decision_happens_once_or_not_at_all(
    three: Registry, copies: Callable, work: Callable, after: dict
) -> None:
    before = {"champion": 2, "challenger": 3, "previous": 1}
    seen = []
    for registry in each_end(copies(three), work):
        with registry._connection.client() as client:
            raw = client.get_registered_model(registry.name).aliases
        assert int(raw["champion"]) in (before["champion"], after["champion"])
        found = aliases(registry)
        seen.append(found)
        if found == before:
            assert len(registry.history()) == 2
            work(registry)
        assert aliases(registry) == after
        registry.reconcile()
        with registry._connection.client() as client:
            now = client.get_registered_model(registry.name).aliases
        assert {alias: int(number) for alias, number in now.items()} == {
            alias: number for alias, number in after.items() if number
        }
        newest, *older = registry.history()
        assert (newest.action, newest.by) == (work.__name__, "ann")
        assert len(older) == 2
        assert registry.audit().holds
        number = subject(newest)
        tags = registry.versions.recorded()[number].tags
        assert own_tags(registry.versions.state().versions[number]).items() <= tags.items()
    assert seen[0] == before
    assert seen[-1] == after


@pytest.mark.slow
def test_a_round_is_logged_and_registered_once_wherever_it_was_killed(
    new_project: Callable[..., Settings], copies: Callable, adapter: Path
) -> None:
    start = Registry(new_project())
    add(start, "k1", adapter)
    given = files.file_hashes(adapter)
    for registry in each_death(copies(start), add, "k2", adapter):
        assert aliases(registry)["challenger"] in (1, 2), "somebody waits at any time"
        known = registry.versions.find("k2")
        if known:
            with registry._connection.client() as client:
                kept = {entry.path for entry in client.list_artifacts(known.run_id)}
                assert kept == {"card.md", "verdict.json", "curve.jsonl"}
                assert client.get_run(known.run_id).data.metrics == {"loss": 2.0}
        add_again(registry, "k2", adapter)
        versions = registry.versions.recorded()
        with registry._connection.client() as client:
            known = registry.versions.all().values()
            assert [version.round for version in known] == ["k1", "k2"]
            assert [version.decision for version in known] == ["superseded", None]
            runs = client.search_runs(["1"], "tags.`perpetune.round` = 'k2'")
            (model,) = client.search_logged_models(["1"], "tags.`perpetune.round` = 'k2'")
        parent, child = sorted(runs, key=lambda run: "perpetune.trial" in run.data.tags)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
        assert parent.data.metrics == {"loss": 2.0}
        assert child.data.metrics["curve/loss"] == 2.0
        for run in (parent, child):
            assert len(run.inputs.dataset_inputs) == 1
        assert [output.model_id for output in parent.outputs.model_outputs] == [model.model_id]
        assert (model.model_id, model.status) == (versions[2].model_id, "READY")
        assert aliases(registry) == {"champion": None, "challenger": 2, "previous": None}
        assert (
            files.file_hashes(registry.versions.adapter("models:/tiny.model@challenger")) == given
        )


def decide_together(given: dict, start: Barrier, answers: Any, action: str) -> None:
    registry = Registry(Settings.model_validate(given))
    registry.status()
    start.wait()
    try:
        getattr(registry, action)(3, action)
        answers.put("decided")
    except Refused as refused:
        answers.put(str(refused))


@pytest.mark.parametrize("actions", [("approve", "approve"), ("approve", "reject")])
def test_of_two_people_at_once_one_decides(three: Shelf, actions: tuple[str, str]) -> None:
    start, answers = processes.Barrier(2), processes.Queue()
    given = three.project.plain()
    children = [
        processes.Process(target=decide_together, args=(given, start, answers, action))
        for action in actions
    ]
    for child in children:
        child.start()
    told = sorted(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert told[0] == "decided"
    assert told[1].startswith("version 3")
    newest, *older = three.history()
    assert len(older) == 2
    assert aliases(three) == newest.after.to_json()
    assert three.audit().holds


def register_together(given: dict, start: Barrier, key: str, adapter: Path) -> None:
    registry = Registry(Settings.model_validate(given))
    start.wait()
    run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
    registry.register(run, key, Candidate(adapter, True, {"passed": True}, "card"))


def test_two_rounds_at_once_do_not_disturb_each_other(
    new_project: Callable[..., Settings], adapter: Path
) -> None:
    project = new_project()
    start = processes.Barrier(3)
    # The first two are the same round, which two processes happen to work on.
    children = [
        processes.Process(target=register_together, args=(project.plain(), start, key, adapter))
        for key in ("same", "same", "other")
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    registry = Registry(project)
    versions = registry.versions.all()
    assert sorted(str(version.round) for version in versions.values()) == ["other", "same"]
    assert aliases(registry)["challenger"] == 2


class Decisions(RuleBasedStateMachine):
    """Any sequence of candidates and decisions, against a model in plain Python."""

    new_project: Callable[..., Settings]

    @initialize()
    def start(self) -> None:
        self.registry = Shelf(self.new_project())
        self.passed: dict[int, bool] = {}
        self.approved: set[int] = set()
        self.aliases: dict[str, int | None] = dict.fromkeys(("champion", "challenger", "previous"))
        self.decided = 0

    @rule(passed=st.booleans())
    def register(self, passed: bool) -> None:
        number = len(self.passed) + 1
        self.registry.add(f"k{number}", passed)
        self.passed[number] = passed
        if passed:
            self.aliases["challenger"] = number

    @rule(version=st.integers(1, 4))
    def approve(self, version: int) -> None:
        champion, challenger, _ = self.aliases.values()
        pending = version == challenger or (version in self.approved and version != champion)
        self._decide(version, pending, lambda: self.registry.approve(version, "ann"))
        if pending:
            self.approved.add(version)
            left = None if version == challenger else challenger
            self.aliases = {"champion": version, "challenger": left, "previous": champion}

    @rule(version=st.integers(1, 4))
    def reject(self, version: int) -> None:
        pending = version == self.aliases["challenger"]
        self._decide(version, pending, lambda: self.registry.reject(version, "ann"))
        if pending:
            self.aliases["challenger"] = None

    @rule()
    def rollback(self) -> None:
        previous = self.aliases["previous"]
        self._decide(1, previous is not None, lambda: self.registry.rollback("ann"))
        if previous is not None:
            self.aliases |= {"champion": previous, "previous": None}

    def _decide(self, version: int, allowed: bool, decide: Callable[[], Any]) -> None:
        if allowed:
            assert decide().after == self.registry.history()[0].after
            self.decided += 1
        else:
            refusal = Refused if version in self.passed or version == 1 else BadInput
            with pytest.raises((refusal, BadInput)):
                decide()

    @invariant()
    def as_the_model_says(self) -> None:
        status = self.registry.status()
        assert {name: getattr(status, name) for name in self.aliases} == self.aliases
        assert status.warnings == ()
        assert [entry.version for entry in status.pending] == [
            number for number in [self.aliases["challenger"]] if number
        ]

    @invariant()
    def nothing_is_champion_without_a_decision(self) -> None:
        champion, _, previous = self.aliases.values()
        history = self.registry.history()
        assert len(history) == self.decided
        assert champion is None or champion != previous
        if champion:
            assert self.passed[champion]
            moves = [decision for decision in history if decision.action != "reject"]
            assert moves[0].after.champion == champion
        for later, earlier in pairwise(history):
            assert later.before.champion == earlier.after.champion


def test_any_sequence_of_decisions_keeps_the_aliases_right(
    new_project: Callable[..., Settings],
) -> None:
    Decisions.new_project = staticmethod(new_project)
    run_state_machine_as_test(
        Decisions,
        settings=settings(
            max_examples=4,
            stateful_step_count=8,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
