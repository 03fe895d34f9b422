"""The policy and the chain on their own: any sequence of events, crashes and tampering included."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks.core.errors import BadInput, Refused
from tasks.decisions import (
    AUTO_APPROVER,
    Aliases,
    Entry,
    FileLog,
    Registration,
    Request,
    Review,
    Rules,
    State,
    Stored,
    advance,
    decide,
    replay,
    restorable,
    seal,
)

AT = "2026-01-01T00:00:00+00:00"


def registration(round_key: str = "k1", outcome: str = "passed", **more: object) -> Registration:
    given = {"round": round_key, "outcome": outcome, "authors": ("Ann",), "run_id": "r"}
    given |= {"model_id": "m", "model": {"MLmodel": "00"}, "evidence": {"card.md": "11"}}
    return Registration.model_validate(given | more)


def request(action: str, version: int | None = None, by: str = "Bob", **more: object) -> Request:
    return Request.model_validate({"action": action, "version": version, "by": by, "at": AT} | more)


def after(state: State, *requests: Request) -> State:
    for item in requests:
        state = advance(state, seal(state, decide(state, item)))
    return state


def registered(*outcomes: str) -> State:
    return after(
        State("m"),
        *(
            request("register", number, registration=registration(f"k{number}", outcome))
            for number, outcome in enumerate(outcomes, 1)
        ),
    )


def review(by: str = "Cem", wins: int = 9, losses: int = 1) -> dict[str, object]:
    marks = Review(wins=wins, ties=2, losses=losses, p_value=0.02, by=by, at=AT, marks="22")
    return {"by": by, "review": marks}


def stored(state: State) -> list[Stored]:
    return [
        Stored(text=entry.canonical(), place=f"line {entry.number}", finished=True)
        for entry in state.entries
    ]


# Rules


@pytest.mark.parametrize(
    ("outcome", "says"),
    [("failed", "a gate failed"), ("cannot decide", "cannot decide"), ("unknown", "unknown")],
)
def test_what_did_not_pass_needs_a_reason_in_words(outcome: str, says: str) -> None:
    state = registered(outcome)
    assert state.aliases == Aliases()
    for override in ("", "   "):
        with pytest.raises(Refused, match=f"(?s){says}.*--override REASON"):
            decide(state, request("approve", 1, override=override))
    forced = after(state, request("approve", 1, override="the old one insults people"))
    assert forced.aliases.champion == 1
    assert forced.versions[1].override == "the old one insults people"


def test_there_is_nothing_to_override_where_the_gates_passed() -> None:
    with pytest.raises(Refused, match="nothing to override"):
        decide(registered("passed"), request("approve", 1, override="just so"))


def test_two_approvals_are_of_two_people() -> None:
    rules = Rules(approvals=2)
    state = after(registered("passed"), request("approve", 1, "Ada Lee", rules=rules))
    assert state.aliases == Aliases(challenger=1)
    assert (state.entries[-1].missing, state.versions[1].approvals) == (1, ("Ada Lee",))
    for same in ("Ada Lee", " ada  LEE ", "Ａda Lee", "Ada\u200b Lee"):
        with pytest.raises(Refused, match="somebody else"):
            decide(state, request("approve", 1, same, rules=rules))
    state = after(state, request("approve", 1, "Bob", rules=rules))
    assert state.aliases == Aliases(champion=1)


@pytest.mark.parametrize("by", ["ann", AUTO_APPROVER])
def test_nobody_approves_their_own_round_where_the_rules_say_so(by: str) -> None:
    found = registration(authors=("Ann", AUTO_APPROVER))
    state = after(State("m"), request("register", 1, registration=found))
    with pytest.raises(Refused, match="somebody else has to approve"):
        decide(state, request("approve", 1, by, rules=Rules(own_rounds="refuse")))
    assert after(state, request("approve", 1, by)).aliases.champion == 1


def test_a_review_can_be_demanded_and_speaks_against_a_candidate() -> None:
    rules = Rules(review="required")
    state = registered("passed")
    with pytest.raises(Refused, match="perpetune review 1 --marks"):
        decide(state, request("approve", 1, rules=rules))
    good = after(state, request("review", 1, **review()))
    assert after(good, request("approve", 1, rules=rules)).aliases.champion == 1
    bad = after(good, request("review", 1, **review(wins=1, losses=9)))
    assert bad.versions[1].digest != good.versions[1].digest
    with pytest.raises(Refused, match="worse by its reviewer"):
        decide(bad, request("approve", 1, rules=rules))
    with pytest.raises(BadInput, match="marks of the person"):
        decide(state, request("review", 1, by="Eve", review=review()["review"]))


def test_only_authenticated_users_decide_where_the_rules_say_so() -> None:
    rules = Rules(authentication="required")
    state = registered("passed")
    with pytest.raises(Refused, match="authenticated"):
        decide(state, request("approve", 1, rules=rules))
    with pytest.raises(Refused, match="authenticated"):
        decide(state, request("reject", 1, rules=rules))
    decided = decide(state, request("approve", 1, rules=rules, identity="authenticated"))
    assert decided.after.champion == 1


def test_a_rollback_goes_back_to_a_champion_that_nobody_rolled_back_from() -> None:
    state = State("m")
    for number in (1, 2, 3):
        state = after(state, *approvals(number))
    assert state.aliases == Aliases(champion=3, previous=2)
    with pytest.raises(Refused, match="is the champion"):
        decide(state, request("rollback", 3))
    older = after(state, request("rollback", 1))
    assert older.aliases == Aliases(champion=1)
    with pytest.raises(Refused, match=r"rolled back to version 1 .*to: 2; .*again: 3"):
        decide(older, request("rollback"))
    with pytest.raises(Refused, match="was rolled back from"):
        decide(older, request("rollback", 3))
    assert after(older, request("rollback", 2)).aliases == Aliases(champion=2)
    assert after(older, request("approve", 3)).aliases == Aliases(champion=3, previous=1)


def approvals(number: int) -> tuple[Request, Request]:
    return (
        request("register", number, registration=registration(f"k{number}")),
        request("approve", number),
    )


@pytest.mark.parametrize("by", ["", "  ", "\u200b", "x" * 201, "a\x00b"])
def test_a_decision_names_a_person(by: str) -> None:
    with pytest.raises(BadInput, match="--by"):
        decide(registered("passed"), request("approve", 1, by))


# The chain


def changed(text: str, **fields: object) -> str:
    return json.dumps(json.loads(text) | fields, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda lines: lines[:1] + lines[2:], "entry 2 is missing before entry 3"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "entry 1 is missing before entry 2"),
        (lambda lines: [lines[0], lines[1], lines[1], lines[2]], "there twice.*a fork"),
        (lambda lines: [lines[0], changed(lines[1], comment="good"), lines[2]], "was changed"),
        (lambda lines: ["no JSON", *lines[1:]], "was changed.*2 later entries do not count"),
        (lambda lines: [*lines, "[1]"], "entry 4 .*was changed"),
    ],
)
def test_a_chain_that_was_tampered_with_ends_where_it_was(tamper: Callable, says: str) -> None:
    whole = after(registered("passed", "passed"), request("approve", 2, "Ann"))
    lines = tamper([item.text for item in stored(whole)])
    found = replay(
        "m", [Stored(text=text, place=f"line {n}", finished=True) for n, text in enumerate(lines)]
    )
    assert found.problems
    assert re.search(says, found.problems[0].what)
    assert found.entries == whole.entries[: len(found.entries)]
    if len(found.entries) < 3:
        assert found.aliases.champion is None


def test_a_forged_entry_with_a_right_hash_is_not_allowed_at_its_place() -> None:
    state = registered("failed")
    allowed = decide(registered("passed"), request("approve", 1))
    forged = seal(state, allowed)
    found = replay("m", [*stored(state), Stored(text=forged.canonical(), place="x", finished=True)])
    assert "not allowed at its place" in found.problems[0].what
    assert found.aliases.champion is None

    moved = decide(state, request("review", 1, **review())).model_copy(
        update={"after": Aliases(champion=1)}
    )
    forged = seal(state, moved)
    found = replay("m", [*stored(state), Stored(text=forged.canonical(), place="x", finished=True)])
    assert "does not say what the policy decides" in found.problems[0].what


def test_an_entry_of_another_model_is_none_of_this() -> None:
    other = after(State("other"), *approvals(1))
    assert "of another model" in replay("m", stored(other)).problems[0].what


# Any sequence, on the log in a file


VERSION = st.integers(1, 5)
PEOPLE = st.sampled_from(["Ann", "Bob", "Cem"])
OUTCOMES = st.sampled_from(["passed", "passed", "failed", "cannot decide"])


class Decisions(RuleBasedStateMachine):
    """A log that is written to, cut off and tampered with, against a model in plain Python."""

    folder: Path

    @initialize(
        approvals=st.integers(1, 2),
        own=st.sampled_from(["allow", "refuse"]),
        needs=st.sampled_from(["optional", "required"]),
    )
    def start(self, approvals: int, own: str, needs: str) -> None:
        self.path = self.folder / f"{len(list(self.folder.iterdir()))}.jsonl"
        self.log = FileLog(self.path, "m")
        self.rules = Rules(approvals=approvals, own_rounds=own, review=needs)
        self.outcomes: dict[int, str] = {}
        self.champions: list[int] = []
        self.copy: list[Entry] = []

    def state(self) -> State:
        return replay("m", self.log.stored())

    def write(self, asked: Request, crash: bool = False) -> bool:
        state = self.state()
        for entry in state.unfinished:
            self.log.finish(entry)
        try:
            entry = seal(state, decide(state, asked))
        except (Refused, BadInput):
            return False
        self.log.begin(entry)
        self.copy.append(entry)
        if not crash:
            self.log.finish(entry)
        return True

    @rule(outcome=OUTCOMES, author=PEOPLE)
    def register(self, outcome: str, author: str) -> None:
        number = len(self.outcomes) + 1
        made = registration(f"k{number}", outcome, authors=(author,))
        assert self.write(request("register", number, author, registration=made))
        self.outcomes[number] = outcome

    @rule(version=VERSION, by=PEOPLE, reason=st.sampled_from(["", "we must"]), crash=st.booleans())
    def approve(self, version: int, by: str, reason: str, crash: bool) -> None:
        before = self.state()
        asked = request("approve", version, by, override=reason, rules=self.rules)
        if self.write(asked, crash):
            standing = before.versions[version]
            assert bool(reason) == (
                self.outcomes[version] != "passed"
                or (self.rules.review == "required" and standing.reviews[-1].worse)
            )
            if self.rules.own_rounds == "refuse":
                assert by not in standing.registration.authors
            if self.rules.review == "required":
                assert standing.reviews
            assert by not in standing.approvals
            done = len(standing.approvals) + 1 >= self.rules.approvals
            assert (self.state().aliases.champion == version) == done
            if done:
                self.champions.append(version)

    @rule(version=VERSION, by=PEOPLE, crash=st.booleans())
    def reject(self, version: int, by: str, crash: bool) -> None:
        challenger = self.state().aliases.challenger
        allowed = self.write(request("reject", version, by), crash)
        assert allowed == (version == challenger)

    @rule(version=st.none() | VERSION, by=PEOPLE, crash=st.booleans())
    def rollback(self, version: int | None, by: str, crash: bool) -> None:
        if self.write(request("rollback", version, by), crash):
            assert self.state().aliases.champion in self.champions[:-1]
            self.champions.append(self.state().aliases.champion)

    @rule(version=VERSION, by=PEOPLE, wins=st.integers(0, 9))
    def mark(self, version: int, by: str, wins: int) -> None:
        self.write(request("review", version, **review(by, wins, 9 - wins)))

    @rule(share=st.floats(0, 1, exclude_max=True))
    def crash_in_a_write(self, share: float) -> None:
        line = self.log._path.read_bytes().splitlines()[-1:] if self.path.exists() else []
        if line:
            with self.path.open("ab") as file:
                file.write(line[0][: int(share * len(line[0]))])

    @precondition(lambda self: self.copy)
    @rule(place=st.integers(0, 50), how=st.sampled_from(["edit", "delete"]))
    def tamper(self, place: int, how: str) -> None:
        """Whatever is changed is seen, takes nobody further, and comes back from the copy."""
        whole, before = self.path.read_bytes(), self.state()
        entry = self.copy[place % len(self.copy)]
        lines = whole.split(b"\n")
        hit = next(n for n, line in enumerate(lines) if line == entry.canonical().encode())
        lines[hit : hit + 1] = [lines[hit].replace(b'"by":"', b'"by":"x')] if how == "edit" else []
        self.path.write_bytes(b"\n".join(lines))
        found = self.state()
        assert found.entries == before.entries[: entry.number - 1]
        assert found.problems or (how == "delete" and entry == self.copy[-1])
        lacking = restorable(self.log.stored(), self.copy)
        assert lacking == [entry]
        self.log.restore(entry)
        assert self.state() == before or not self.path.read_bytes().endswith(b"\n")

    @invariant()
    def the_champion_was_made_by_people(self) -> None:
        if not hasattr(self, "log"):
            return
        state = self.state()
        assert state.problems == ()
        aliases = state.aliases
        assert aliases.champion == (self.champions[-1] if self.champions else None)
        assert aliases.previous is None or aliases.previous in self.champions
        assert aliases.champion is None or aliases.champion != aliases.previous
        waiting = [number for number, item in state.versions.items() if item.waiting]
        assert waiting == ([aliases.challenger] if aliases.challenger else [])
        assert [entry.number for entry in state.entries] == list(range(1, len(state.entries) + 1))
        assert list(state.entries) == self.copy


def test_whatever_happens_only_people_make_a_champion(tmp_path: Path) -> None:
    Decisions.folder = tmp_path
    run_state_machine_as_test(
        Decisions, settings=settings(max_examples=40, stateful_step_count=20, deadline=None)
    )
