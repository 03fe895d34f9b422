"""Names and texts of data and people are shown, not obeyed: on screen and in logs."""

import importlib
import logging
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpetune.platform.results import CheckResult, Diagnosis, ProjectStatus, RunningPlatform
from perpetune.render.console import console, escape
from perpetune.render.curate import show_collected, show_curated
from perpetune.render.drift import show_drift
from perpetune.render.evaluate import show_review, show_verdict
from perpetune.render.platform import show_platform
from perpetune.render.registry import (
    show_audit,
    show_decision,
    show_diagnosis,
    show_history,
    show_status,
)
from tasks.collect import Collected
from tasks.curate import CurationReport
from tasks.decisions import Aliases, Decision, Entry, Problem
from tasks.drift import DriftResult
from tasks.evaluate import BenchmarkResult, Evaluation, Finding, Score, Verdict
from tasks.registry import Audit
from tasks.rendering.log_records import VisibleRecord

HOSTILE = "a\x1b[31m\x07\u202eb\x9b2J\rc\nd\udc80[bold]:heart:"
SHOWN = "a⟨U+001B⟩[31m⟨U+0007⟩⟨U+202E⟩b⟨U+009B⟩2J⟨U+000D⟩c⟨U+000A⟩d⟨U+DC80⟩[bold]:heart:"

EVALUATED = {
    name: Evaluation(
        model=HOSTILE,
        benchmarks={
            HOSTILE: BenchmarkResult(
                **{"examples": 1, "generated": 0},
                scores={"loss": Score(value=1.0, low=None, high=None, n=1)},
            )
        },
        seconds=1,
    )
    for name in ("base", HOSTILE, "candidate")
}


def audit() -> Audit:
    entry = Entry(
        **{"action": "approve", "version": 1, "by": HOSTILE, "comment": HOSTILE, "at": HOSTILE},
        **{"override": HOSTILE, "before": Aliases(), "after": Aliases(champion=1)},
        **{"model": HOSTILE, "number": 1, "previous": HOSTILE, "hash": HOSTILE},
    )
    return Audit(
        **{"model": HOSTILE, "holds": False, "log": HOSTILE, "head": HOSTILE, "entries": (entry,)},
        problems=(Problem(what=HOSTILE, remedy=HOSTILE),),
        notes=(HOSTILE,),
    )


def drift() -> DriftResult:
    """A comparison whose kinds quote hostile rows."""
    worth = {"groups": 9, "rows": 9.0}
    return DriftResult.from_json(
        {
            "drift": True,
            "p_value": 1e-6,
            "alpha": 0.01,
            "tests": [{"name": HOSTILE, "statistic": 1, "p_value": 1e-6, "threshold": 0.01}],
            "rows": {"reference": 9, "current": 9},
            "read": {"reference": 9, "current": 9},
            "effective": {"reference": worth, "current": worth},
            "not_compared": [{"name": "label", "reason": HOSTILE}],
            "permutations": 9,
            "regime": "reference",
            "regimes": [],
            "descriptors": [],
            "shifted_terms": [],
            "examples": [],
            "kinds": [{"name": "new topic", "sentence": HOSTILE, "remedy": HOSTILE}],
        }
    )


def harmless(text: str) -> bool:
    return all(sign in "\n\u200c\u200d" or unicodedata.category(sign)[0] != "C" for sign in text)


@pytest.mark.parametrize(
    "show",
    [
        lambda: show_collected(
            Collected(folder=HOSTILE, version=None, recorded=False, files={HOSTILE: ""})
        ),
        lambda: show_curated(
            CurationReport.model_construct(
                before=1, kept={HOSTILE: 1}, dropped={}, alarms=(HOSTILE,), remarks=(HOSTILE,)
            )
        ),
        lambda: show_verdict(
            Verdict(
                **{"reference": "base", "gates": (), "models": EVALUATED, "review": ""},
                **{"seconds": 1, "notes": (HOSTILE,)},
                diagnosis=(Finding(name=HOSTILE, sentence=HOSTILE, remedy=HOSTILE),),
            )
        ),
        lambda: show_drift(drift()),
        lambda: show_review(
            {"sentence": HOSTILE, "by": HOSTILE, "version": 1, "reference": HOSTILE, "unmarked": 1}
            | {"by_benchmark": {HOSTILE: (1, 2, 3)}}
        ),
        lambda: show_decision(
            Decision(
                **{"action": "approve", "version": 1, "by": HOSTILE, "comment": "", "at": ""},
                **{"before": Aliases(), "after": Aliases(champion=1)},
            )
        ),
        lambda: show_audit(audit()),
        lambda: show_history(list(audit().entries)),
        lambda: show_diagnosis(
            Diagnosis(
                healthy=False,
                checks=(
                    CheckResult(
                        **{"name": HOSTILE, "label": HOSTILE, "done": (HOSTILE,)},
                        problems=(Problem(what=HOSTILE, remedy=HOSTILE),),
                    ),
                ),
            )
        ),
        lambda: show_status(
            ProjectStatus(model=HOSTILE, champion=1, warnings=(HOSTILE,), platform=None)
        ),
        lambda: show_platform(
            RunningPlatform(
                **{"prefect_url": "x", "prefect_api_url": "x", "sign_in_url": HOSTILE},
                **{"mlflow_url": "x", "credential": HOSTILE, "processes": {}},
            )
        ),
    ],
)
def test_the_screen_shows_control_characters(show, capsys: pytest.CaptureFixture[str]) -> None:
    show()
    out = capsys.readouterr().out
    assert harmless(out), repr(out)
    assert "⟨U+001B⟩" in out
    assert ":heart:" in out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text())
def test_any_text_is_printed_on_one_line_as_it_is_or_written_out(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console.print(f"[bold]{escape(text)}[/]", soft_wrap=True)
    out = capsys.readouterr().out
    assert harmless(out)
    assert out.count("\n") == 1


def message(text: str, *arguments: object) -> str:
    return VisibleRecord("flows", logging.INFO, __file__, 1, text, arguments, None).getMessage()


def test_logs_show_control_characters_and_keep_names_on_one_line() -> None:
    assert message("%s: %d kept", HOSTILE, 3) == f"{SHOWN}: 3 kept"
    assert message("%s", Path("x\ny")) == "x⟨U+000A⟩y"
    assert message("%(name)s", {"name": "x\ny"}) == "x⟨U+000A⟩y"
    assert message("100 %") == "100 %"
    assert message("no name:\n\x1b[0m") == "no name:\n⟨U+001B⟩[0m"
    assert message("%s", ValueError("two\nlines\x1b")) == "two\nlines⟨U+001B⟩"


def test_every_logger_of_a_process_that_runs_flows_does_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    importlib.import_module("flows")
    with caplog.at_level(logging.INFO):
        logging.getLogger("tasks.somewhere").warning("read %s", HOSTILE)
    assert caplog.messages == [f"read {SHOWN}"]
