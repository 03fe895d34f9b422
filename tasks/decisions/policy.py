"""The policy: a state and what somebody asks for give a decision, or a refusal with its reason.

Nothing here reads or writes anything, so all of it can be tested without a registry. The log is
checked by the same functions: an entry holds if the policy allows it at its place.
"""

import re

from tasks.core.errors import BadInput, Refused
from tasks.decisions.state import State
from tasks.decisions.values import Aliases, Decision, Request, Standing, normalised
from tasks.rendering.markdown import one_line

_NAME_CHARACTERS = 200
_COMMENT_CHARACTERS = 2000


def decide(state: State, request: Request) -> Decision:
    """What becomes of a request.

    - `register`: a candidate whose gates passed becomes challenger, in place of one on which nobody
      has decided; another one gets no alias.
    - `review`: the marks of a person are recorded; no alias moves.
    - `approve`: the challenger becomes champion, and the champion of until now `previous`. So does
      a version that people have made champion once, and, with `override`, one whose gates did not
      pass. While other people still have to approve, no alias moves.
    - `reject`: the challenger is turned down; it stays registered, without an alias.
    - `rollback`: `previous` is the champion again, or the version that is named, which was champion
      once and was not rolled back from. Afterwards there is no `previous`: a rollback that is typed
      twice, or by two people, must not bring the bad version back.

    Raises:
        BadInput: no such version, nobody asks (`by` is empty), or a text cannot be kept.
        Refused: the rules or the state forbid it; the message says why and what is possible.
    """
    check_person(request)
    return _POLICIES[request.action](state, request)


def check_person(request: Request) -> None:
    """See that a request has somebody behind it, and that its texts can be stored as they are.

    Raises:
        BadInput: no name, or a text that is too long or no valid text.
    """
    if not normalised(request.by):
        raise BadInput("a decision needs a person: give a name with --by NAME")
    for option, text, limit in (
        ("--by", request.by, _NAME_CHARACTERS),
        ("--comment", request.comment, _COMMENT_CHARACTERS),
        ("--override", request.override, _COMMENT_CHARACTERS),
    ):
        if len(text) > limit:
            raise BadInput(f"{option}: {len(text)} characters; at most {limit} are kept")
        # No NUL, which Postgres refuses, and no half of a surrogate pair, which no database takes.
        if re.search(r"[\x00\ud800-\udfff]", text):
            raise BadInput(f"{option}: holds a character that cannot be stored")


def what_exists(state: State) -> str:
    """The latest versions and the aliases, for a message."""
    if not state.versions:
        return "nothing is registered under this name yet"
    named = [f"{alias} = {number}" for alias, number in state.aliases if number is not None]
    numbers = ", ".join(str(number) for number in list(state.versions)[-10:])
    return f"the latest are {numbers}" + (f" ({', '.join(named)})" if named else "")


def _register(state: State, request: Request) -> Decision:
    registration, number = request.registration, request.version
    if registration is None or number is None or number < 1:
        raise BadInput("a registration names a version and what it is made of")
    if number in state.versions:
        raise Refused(f"version {number} of {state.model} is in the log already")
    if registration.round is not None:
        for standing in state.versions.values():
            if standing.registration.round == registration.round:
                raise Refused(
                    f"the round {registration.round} has brought version {standing.number} already"
                )
    if registration.found and registration.outcome != "unknown":
        raise Refused(f"version {number} was entered as found: its gates are unknown")
    after = state.aliases
    if registration.outcome == "passed":
        after = _moved(after, challenger=number)
    return _allowed(state, request, number, after)


def _review(state: State, request: Request) -> Decision:
    standing = _known(state, request)
    if request.review is None or normalised(request.review.by) != normalised(request.by):
        raise BadInput("a review has the marks of the person who hands it in")
    return _allowed(state, request, standing.number, state.aliases)


def _approve(state: State, request: Request) -> Decision:
    before, chosen = state.aliases, _known(state, request)
    version = chosen.number
    _check_identity(request)
    if version == before.champion:
        raise Refused(f"version {version} is the champion already; nothing was changed")
    if chosen.outcome is not None and not chosen.was_champion:
        raise Refused(_not_pending(chosen))
    _check_gates(chosen, request)
    rules = request.rules
    if rules.review == "required" and not chosen.reviews:
        raise Refused(
            f"version {version} has no review, which decisions.review demands: mark its review "
            f"sheet, then `perpetune review {version} --marks FILE`"
        )
    authors = {normalised(name) for name in chosen.registration.authors}
    if rules.own_rounds == "refuse" and normalised(request.by) in authors:
        raise Refused(
            f"version {version} is of a round that {one_line(request.by)} started: somebody else "
            "has to approve it (decisions.own_rounds)"
        )
    given = {normalised(name) for name in chosen.approvals}
    if normalised(request.by) in given:
        raise Refused(
            f"{one_line(request.by)} has approved version {version} already; somebody else has to "
            f"approve it, too (decisions.approvals is {rules.approvals})"
        )
    missing = max(0, rules.approvals - len(given) - 1)
    if missing:
        return _allowed(state, request, version, before, missing=missing)
    after = _moved(before, champion=version, previous=before.champion)
    if version == before.challenger:
        after = _moved(after, challenger=None)
    return _allowed(state, request, version, after)


def _check_gates(chosen: Standing, request: Request) -> None:
    """A candidate that is not shown to be good needs a reason in words, and no other does.

    Raises:
        Refused: the reason is missing, or there is nothing to override.
    """
    what = {
        "passed": "",
        "failed": "did not pass its verdict: a gate failed",
        "cannot decide": "did not pass its verdict: a gate cannot decide",
        "unknown": "was entered into the log as it was found: its verdict is unknown",
    }[chosen.gates]
    looked_at = request.rules.review == "required" and bool(chosen.reviews)
    if not what and looked_at and chosen.reviews[-1].worse:
        what = "was found worse by its reviewer"
    if what and not request.override.strip():
        raise Refused(
            f"version {chosen.number} {what}; to make it champion all the same, say why: "
            f"`perpetune approve {chosen.number} --by NAME --override REASON`"
        )
    if request.override and not what:
        raise Refused(
            f"version {chosen.number} passed its gates: there is nothing to override; approve it "
            "without --override (a remark goes into --comment)"
        )


def _reject(state: State, request: Request) -> Decision:
    chosen = _known(state, request)
    _check_identity(request)
    if chosen.number != state.aliases.challenger:
        raise Refused(_not_pending(chosen))
    return _allowed(state, request, chosen.number, _moved(state.aliases, challenger=None))


def _rollback(state: State, request: Request) -> Decision:
    _check_identity(request)
    before = state.aliases
    if request.version is None:
        if before.previous is None or before.champion is None:
            raise Refused(_no_previous(state))
        return _back(state, request, before.previous)
    chosen = _known(state, request)
    number = chosen.number
    if number == before.champion:
        raise Refused(f"version {number} is the champion; nothing was changed")
    if not chosen.was_champion or before.champion is None:
        raise Refused(
            f"version {number} was never champion: a rollback goes back to one that was"
            + _earlier(state)
        )
    if chosen.outcome == "rolled_back":
        raise Refused(
            f"version {number} was rolled back from: to make it champion again, approve it "
            f"(`perpetune approve {number} --by NAME`){_earlier(state)}"
        )
    return _back(state, request, number)


def _back(state: State, request: Request, number: int) -> Decision:
    after = _moved(state.aliases, champion=number, previous=None)
    return _allowed(state, request, number, after)


def _check_identity(request: Request) -> None:
    if request.rules.authentication == "required" and request.identity != "authenticated":
        raise Refused(
            "only users that MLflow's server has authenticated decide "
            "(decisions.authentication): set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD for a server with accounts"
        )


def _known(state: State, request: Request) -> Standing:
    number = request.version
    if number is None or number not in state.versions:
        raise BadInput(f"{state.model} has no version {number}; {what_exists(state)}")
    return state.versions[number]


def _allowed(
    state: State, request: Request, version: int, after: Aliases, missing: int = 0
) -> Decision:
    asked = {name: getattr(request, name) for name in Request.model_fields}
    asked |= {"version": version, "before": state.aliases, "after": after, "missing": missing}
    return Decision(**asked)


def _moved(aliases: Aliases, **changes: int | None) -> Aliases:
    return aliases.model_copy(update=changes)


def _not_pending(standing: Standing) -> str:
    if standing.outcome is None:
        return f"version {standing.number} did not pass its verdict: it is not pending"
    entry = standing.decided
    who = f" by {one_line(entry.by)} at {entry.at}" if entry else ""
    outcome = standing.outcome.replace("_", " ")
    return f"version {standing.number} was {outcome}{who}: it is not pending"


def _no_previous(state: State) -> str:
    moves = (entry for entry in state.decisions if entry.after.champion != entry.before.champion)
    last = next(moves, None)
    if last and last.action == "rollback":
        by = one_line(last.by)
        why = f"{by} rolled back to version {last.version} at {last.at} already"
    else:
        why = "there is no previous champion"
    return f"{why}; nothing was changed{_earlier(state)}"


def _earlier(state: State) -> str:
    back: list[str] = []
    again: list[str] = []
    for standing in state.versions.values():
        if standing.was_champion and standing.number != state.aliases.champion:
            (again if standing.outcome == "rolled_back" else back).append(str(standing.number))
    words = ""
    if back:
        words += (
            f"; versions that `perpetune rollback --to VERSION` goes back to: {', '.join(back)}"
        )
    if again:
        words += f"; rolled back from, to approve again: {', '.join(again)}"
    return words


_POLICIES = {
    "register": _register,
    "review": _review,
    "approve": _approve,
    "reject": _reject,
    "rollback": _rollback,
}
