"""The policy on its own: any sequence of candidates and decisions, with crashes at any step."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import BadInput, Refused
from tasks.decisions import (
    Aliases,
    Decision,
    State,
    Version,
    approve,
    effective,
    reject,
    rollback,
)

AT = "2026-01-01T00:00:00+00:00"


def version(number: int, verdict: str = "passed") -> Version:
    return Version(
        name="m",
        number=number,
        round=f"k{number}",
        verdict=verdict,
        decision=None,
        created=AT,
        run_id="r",
        model_id="x",
        aliases=(),
        tags={},
    )


class Store:
    """Versions and a log as a registry keeps them, which may crash between any two writes."""

    def __init__(self) -> None:
        self.versions: dict[int, Version] = {}
        self.history: list[Decision] = []
        self.begun: list[Decision] = []

    def state(self) -> State:
        return effective(State("m", self.versions, tuple(self.history)), self.begun)

    def register(self, verdict: str) -> None:
        number = len(self.versions) + 1
        self.versions[number] = version(number, verdict)

    def decide(self, action: Callable[[State], Decision], crash: bool) -> None:
        # Whoever writes first finishes what is begun.
        self.versions = dict(self.state().versions)
        self.begun = []
        try:
            decision = action(self.state())
        except (Refused, BadInput):
            return
        self.history.insert(0, decision)
        self.begun = [decision]
        if not crash:
            self.versions = dict(self.state().versions)
            self.begun = []


VERSION = st.integers(1, 4)
ACTION = st.one_of(
    st.tuples(st.just("register"), st.sampled_from(["passed", "failed"]), st.just(False)),
    st.tuples(st.sampled_from(["approve", "reject", "rollback"]), VERSION, st.booleans()),
)


@given(st.lists(ACTION, max_size=30))
def test_the_champion_is_always_one_that_passed_and_was_approved(actions: list) -> None:
    store = Store()
    for name, argument, crash in actions:
        if name == "register":
            store.register(argument)
        elif name == "rollback":
            store.decide(lambda state: rollback(state, "ann", "", AT), crash)
        else:
            decide = {"approve": approve, "reject": reject}[name]
            store.decide(lambda state, n=argument, act=decide: act(state, n, "ann", "", AT), crash)
        state = store.state()
        aliases = state.aliases
        assert state == effective(state, ()), "what holds, holds"
        assert state.unrecorded == []
        if aliases.champion is not None:
            champion = state.versions[aliases.champion]
            assert champion.verdict == "passed"
            assert champion.number != aliases.previous
            assert any(
                d.action == "approve" and d.version == champion.number for d in store.history
            )
        waiting = [v.number for v in state.versions.values() if v.waiting]
        assert waiting == ([aliases.challenger] if aliases.challenger else [])
        for later, earlier in zip(store.history, store.history[1:], strict=False):
            assert later.before.champion == earlier.after.champion


def test_the_way_back_is_set_before_the_champion_moves() -> None:
    before = Aliases(champion=1, challenger=2)
    store = Store()
    store.register("passed")
    store.decide(lambda state: approve(state, 1, "ann", "", AT), False)
    store.register("passed")
    assert store.state().aliases == before
    decision = approve(store.state(), 2, "ann", "good", AT)
    assert list(decision.moves()) == [("previous", 1), ("champion", 2), ("challenger", None)]
    assert decision.version_tags()["decision"] == "approved"


def test_an_alias_without_a_decision_is_reported() -> None:
    moved = version(1).model_copy(update={"aliases": ("champion", "mine")})
    state = effective(State("m", {1: moved}), ())
    assert state.unrecorded == [1]
    assert "mine" in state.versions[1].aliases


@pytest.mark.parametrize("by", ["", "  ", "x" * 201, "a\x00b"])
def test_a_decision_names_a_person(by: str) -> None:
    with pytest.raises(BadInput, match="--by"):
        approve(State("m", {1: version(1)}), 1, by, "", AT)
