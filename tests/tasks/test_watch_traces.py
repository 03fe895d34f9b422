"""Traces of a served model in a real MLflow store become a window of traffic."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks import records
from tasks.collect import count_labelled
from tasks.core.errors import BadInput
from tasks.registry import database_uri, read_traces
from tasks.settings import Settings

START = 1_700_000_000_000
"""When the first trace of an experiment began, in milliseconds; each later one a second later."""
APPLICATION = """
import sys
import mlflow
from mlflow.entities import AssessmentSource, Expectation, Feedback
from mlflow.tracing.trace_manager import InMemoryTraceManager

client, start, counts = mlflow.MlflowClient(), int(sys.argv[1]), {}


def answer(name, asked, said, session=None):
    mlflow.set_experiment(name)
    experiment = client.get_experiment_by_name(name).experiment_id
    counts[name] = counts.get(name, -1) + 1
    begun = 10**6 * (start + 1000 * counts[name])
    root = client.start_trace(
        "answer", inputs=asked, experiment_id=experiment, start_time_ns=begun,
        tags={"channel": "chat" if session else "batch"},
    )
    if session:
        with InMemoryTraceManager.get_instance().get_trace(root.trace_id) as trace:
            trace.info.trace_metadata["mlflow.trace.session"] = session
    client.end_trace(root.trace_id, outputs=said, end_time_ns=begun + 250 * 10**6)
    return root.trace_id


def judge(trace, assessment):
    mlflow.log_assessment(trace, assessment)


asked = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]}
said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}}]}
parts = [{"type": "output_text", "text": "4"}]
answer("formats", asked, said, "s1")
answer("formats", {"input": "2 + 2?", "instructions": "Count."},
       {"output": [{"role": "assistant", "content": parts}]}, "s1")
answer("formats", {"question": "Why?"}, {"answer": "Because."})
answer("formats", "Plain text?", "Plain answer.")
answer("formats", {"vector": [1, 2]}, {"label": 3})

human = AssessmentSource(source_type="HUMAN", source_id="ada")
plain, liked, judged, corrected = (answer("judged", asked, said) for _ in range(4))
judge(liked, Feedback(name="thumb", value=True, source=human))
judge(judged, Feedback(name="judge", value=0.5))
judge(corrected, Expectation(name="expected", value="Good day.", source=human))

for number in range(5):
    answer("channels", asked, said, "s" if number % 2 else None)
"""
"""What serves the model, in a process of its own."""


@pytest.fixture(scope="module")
def store(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in whose MLflow database an application has traced."""
    state = tmp_path_factory.mktemp("state")
    shutil.copy(mlflow_database, state / "mlflow.db")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": database_uri(state / "mlflow.db"),
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-c", APPLICATION, str(START)]
    done = subprocess.run(command, env=environment, cwd=state, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return state


def watching(state: Path, experiment: str, query: str = "") -> Settings:
    return Settings.model_validate(
        {
            "project": {"name": "tiny", "state_dir": str(state)},
            "watch": {
                "traffic": str(state / "traffic"),
                "traces": {"experiment": experiment, "filter": query},
            },
        }
    )


def rows(settings: Settings, since: int = 0) -> list[dict]:
    return list(read_traces(settings, since, int(1000 * time.time())))


def window_of(settings: Settings, folder: Path) -> Path:
    window = folder / "window.jsonl"
    window.write_text("".join(json.dumps(row) + "\n" for row in rows(settings)))
    return window


def test_traces_become_lines_of_traffic(store: Path, tmp_path: Path) -> None:
    settings = watching(store, "formats")
    found = rows(settings)
    assert [row.get("group") for row in found] == ["s1", "s1", None, None, None]
    assert found[0]["latency"] == 0.25
    assert found[0]["timestamp"].startswith("2023-11-14T22:13:20")
    window = window_of(settings, tmp_path)
    read = list(records.read(window, labelled=False))
    good = [item for item in read if isinstance(item, records.Record)]
    assert [(item.system, item.prompt, item.target) for item in good] == [
        ("Be kind.", "Hi", "Hello!"),
        ("Count.", "2 + 2?", "4"),
        ("", "Why?", "Because."),
        ("", "Plain text?", "Plain answer."),
    ]
    assert [item.line for item in read if isinstance(item, records.BadLine)] == [5]
    # The model's own answers are compared; nobody learns from them.
    assert count_labelled(window, settings) == 0


def test_an_answer_is_a_label_once_a_person_says_so(store: Path, tmp_path: Path) -> None:
    settings = watching(store, "judged")
    plain, liked, judged, corrected = rows(settings)
    whose = [row.get("answered_by") for row in (plain, liked, judged, corrected)]
    assert whose == ["model", None, "model", None]
    assert (liked["feedback"], judged["feedback"]) == (1.0, 0.5)
    assert corrected["messages"][-1] == {"role": "assistant", "content": "Good day."}
    assert count_labelled(window_of(settings, tmp_path), settings) == 2


def test_traces_are_read_by_time_and_filter(store: Path) -> None:
    ids = [row["id"] for row in rows(watching(store, "channels"))]
    assert len(ids) == 5
    settings = watching(store, "channels")
    later = [row["id"] for row in read_traces(settings, START + 1000, START + 4000)]
    assert later == ids[1:4]
    chat = watching(store, "channels", "tag.channel = 'chat'")
    assert [row["id"] for row in rows(chat)] == ids[1::2]


def test_what_is_wrong_with_the_settings_is_said(store: Path) -> None:
    with pytest.raises(BadInput, match="no experiment 'nowhere'"):
        rows(watching(store, "nowhere"))
    with pytest.raises(BadInput, match=r"watch\.traces\.filter"):
        rows(watching(store, "channels", "channel is chat"))
