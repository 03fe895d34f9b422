"""What `perpetune metrics` says of a watch, of several models, and of what cannot be read."""

import re
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from perpetune.platform.metrics import FAMILIES, Exporter, as_text, serve, write
from tasks.core.errors import BadInput
from tasks.drift import Look, ScaleLook
from tasks.settings import load_settings
from tasks.watch import Alarm, History, Looked, answer, pending
from tasks.watch.windows import Fingerprint
from tests.platform import free_port


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a second model, in which nothing has happened."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/second.yaml").write_text("drift:\n  alpha: 0.05\n")
    path = tmp_path / "params.yaml"
    path.write_text(f"project:\n  name: first\n  state_dir: {tmp_path / 'state'}\n")
    return path


def figures(params: Path) -> dict[str, float]:
    """By name and labels as they are printed."""
    lines = as_text(Exporter(params, [], None)).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def look(params: Path, number: int, status: str, p_value: float) -> None:
    drift = status == "drift"
    scale = ScaleLook(scale=0, windows=1, first=number, p_value=p_value, alpha=0.001, drift=drift)
    found = Look(
        number=number,
        window=f"w{number}.jsonl",
        rows=200,
        status=status,
        why="A sentence.",
        scales=() if status == "undecidable" else (scale,),
        alpha_spent=0.001 * number,
        alpha_released=0.002 * number,
        result=None,
    )
    History(load_settings(params)).add(
        Looked(
            at="2026-11-27T06:00:00+00:00",
            champion=1,
            window=found.window,
            fingerprint=Fingerprint(digest=str(number), size=1, modified=1),
            path=found.window,
            labelled=0,
            bad=0,
            first_bad=None,
            look=found,
            folder="folder",
        )
    )


def alarm(params: Path) -> None:
    History(load_settings(params)).add(
        Alarm(
            id="a1",
            champion=1,
            reason="drift",
            window="w3.jsonl",
            windows=("w3.jsonl",),
            looks=(3,),
            p_value=0.0005,
            alpha=0.001,
            rows=200,
            labelled=80,
            reports=(),
        )
    )


def test_models_of_a_project_have_figures_of_their_own(params: Path) -> None:
    found = figures(params)
    assert found['perpetune_up{model="first"}'] == found['perpetune_up{model="second"}'] == 1
    assert found["perpetune_prefect_up"] == 0
    assert not [name for name in found if name.startswith("perpetune_flow_runs")]


def test_reading_writes_nothing(params: Path) -> None:
    before = sorted(params.parent.rglob("*"))
    figures(params)
    assert sorted(params.parent.rglob("*")) == before


def test_a_model_that_cannot_be_read_is_down_and_the_others_are_not(params: Path) -> None:
    (params.parent / "models/broken.yaml").write_text("nonsense: 1\n")
    found = figures(params)
    assert found['perpetune_up{model="broken"}'] == 0
    assert found['perpetune_up{model="first"}'] == 1


def test_evidence_and_alarms_of_the_watch(params: Path) -> None:
    look(params, 1, "quiet", 0.4)
    look(params, 2, "undecidable", 1)
    look(params, 3, "drift", 0.0005)
    alarm(params)
    found = figures(params)
    looks = {
        status: found[f'perpetune_watch_looks_total{{model="first",status="{status}"}}']
        for status in ("quiet", "drift", "undecidable")
    }
    assert looks == {"quiet": 1, "drift": 1, "undecidable": 1}
    assert found['perpetune_watch_last_look_timestamp_seconds{model="first"}'] == 1795759200
    assert found['perpetune_drift_p_value{model="first",scale="0"}'] == 0.0005
    assert found['perpetune_drift_threshold{model="first",scale="0"}'] == 0.001
    assert found['perpetune_drift_alpha_spent{model="first"}'] == pytest.approx(0.003)
    assert found['perpetune_drift_alarms_total{model="first"}'] == 1
    assert found['perpetune_drift_alarms_open{model="first"}'] == 1

    settings = load_settings(params)
    answer(settings, pending(settings), 2, "A sentence.")
    assert figures(params)['perpetune_drift_alarms_open{model="first"}'] == 0


def test_every_family_is_described(params: Path) -> None:
    described = re.findall(r"^# TYPE (\S+) ", as_text(Exporter(params, [], None)), re.MULTILINE)
    assert described == list(FAMILIES)


def test_figures_are_served_and_written(params: Path, tmp_path: Path) -> None:
    port = free_port()
    exporter = Exporter(params, [], None)
    threading.Thread(target=serve, args=(exporter, "127.0.0.1", port), daemon=True).start()
    url = f"http://127.0.0.1:{port}/metrics"
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=30) as answered:
                text = answered.read().decode()
            break
        except OSError:
            time.sleep(0.1)
    write(exporter, tmp_path / "perpetune.prom")
    assert text == (tmp_path / "perpetune.prom").read_text()
    assert 'perpetune_up{model="first"} 1.0' in text
    with pytest.raises(BadInput, match=f"--port {port}"):
        serve(exporter, "127.0.0.1", port)
