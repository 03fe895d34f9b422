"""The engine: the same bytes whatever the number of workers, the partition or the machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.curation.planted import Planted, plant
from benchmarks.curation.scoring import score
from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.curate import curate
from tasks.curate.run import engine
from tasks.curate.steps.reading import inputs
from tasks.settings import Settings

DATA = ("train.jsonl", "validation.jsonl", "test.jsonl", "dropped.jsonl", "data_card.md")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"), records=2000, kind="prose", seed=21)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the input into many more pieces than its size asks for."""
    monkeypatch.setattr(inputs.records, "chunks", partial(records.chunks, target_bytes=150_000))


def outputs(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in DATA}


def run(planted: Planted, out: Path, settings: Settings, **options: object) -> dict[str, bytes]:
    curate([str(planted.corpus)], list(map(str, planted.benchmarks)), out, settings, **options)  # type: ignore[arg-type]
    return outputs(out)


def test_workers_and_partitions_change_no_byte(
    planted: Planted, tmp_path: Path, settings: Settings, small_chunks: None
) -> None:
    many = run(planted, tmp_path / "many", settings, workers=2)
    assert len(inputs.input_chunks([planted.corpus])) > 5
    inputs.records.chunks = records.chunks  # the fixture puts it back
    one = run(planted, tmp_path / "one", settings, workers=1)
    assert many == one
    report = files.read_json(tmp_path / "one" / "report.json")
    assert report["in"] == sum(report["kept"].values()) + sum(report["dropped"].values())


@pytest.mark.slow
def test_two_nodes_of_ray_give_what_one_process_gives(
    planted: Planted, tmp_path: Path, settings: Settings
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    lines = planted.corpus.read_bytes().splitlines(keepends=True)
    inputs = [tmp_path / f"part{number}.jsonl" for number in range(4)]
    for number, path in enumerate(inputs):
        path.write_bytes(b"".join(lines[number * 500 : (number + 1) * 500]))
    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(num_cpus=1)
        # A process of its own: Daft takes one engine for its life.
        perpetune = Path(sys.executable).with_name("perpetune")
        done = subprocess.run(
            [
                *(perpetune, "curate", *inputs, "--against", *planted.benchmarks),
                *("--out", tmp_path / "two", "--engine", "ray", "--json"),
                *("--set", f"base.model={settings.base.model}"),
            ],
            cwd=tmp_path,
            env=os.environ | {"RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "ray"
    curate(
        list(map(str, inputs)),
        list(map(str, planted.benchmarks)),
        tmp_path / "one",
        settings,
        workers=1,
    )
    names = [name for name in DATA if name != "data_card.md"]  # it names the project
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("kind", ["prose", "code", "pairs"])
def test_recall_and_precision_on_planted_truth(
    kind: str,
    tmp_path: Path,
    make_settings: Callable[..., Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted = plant(tmp_path / kind, records=2000, kind=kind, seed=21)  # type: ignore[arg-type]
    run(planted, tmp_path / "out", make_settings(curate={"max_tokens": 100_000}), workers=1)
    found = score(planted.truth, tmp_path / "out")
    assert found["accounting"]["adds_up"]
    near = [one for band, one in found["near"].items() if band >= "0.7"]
    rows = {
        "near-duplicates": near,
        "leaks": list(found["leak"].values()),
        "exact": list(found["exact"].values()),
    }
    recall = {
        name: sum(one["found"] for one in of) / sum(one["planted"] - one["elsewhere"] for one in of)
        for name, of in rows.items()
    }
    precision = {
        name: found["precision"][name]["precision"]
        for name in ("duplicate", "near_duplicate", "contaminated")
    }
    with capsys.disabled():
        print(f"\n{kind}: recall {recall}, precision {precision}")  # noqa: T201
    assert recall["near-duplicates"] >= 0.97 and recall["exact"] == 1
    assert recall["leaks"] >= 0.98
    assert min(precision.values()) >= 0.99


# The engine alone


def make_echo(folder: str) -> Callable[[str], str]:
    def echo(task: str) -> str:
        (Path(folder) / task).write_text(str(os.getpid()))
        time.sleep(0.3)
        return task.upper()

    return echo


def make_refusing(kind: type[PerpetuneError]) -> Callable[[str], str]:
    def refuse(task: str) -> str:
        raise kind(f"{task}: fix it")

    return refuse


def test_tasks_are_shared_among_processes(tmp_path: Path) -> None:
    tasks = [f"task{n}" for n in range(6)]
    found = list(engine.run(partial(make_echo, str(tmp_path)), tasks, workers=2))
    assert sorted(found) == [task.upper() for task in tasks]
    pids = {(tmp_path / task).read_text() for task in tasks}
    assert len(pids) == 2 and str(os.getpid()) not in pids


@pytest.mark.parametrize("kind", [BadInput, PerpetuneError])
def test_what_a_worker_says_reaches_the_user_in_its_words(kind: type[PerpetuneError]) -> None:
    with pytest.raises(kind, match=r"^[ab]: fix it$") as error:
        list(engine.run(partial(make_refusing, kind), ["a", "b"], workers=2))
    assert error.type is kind


def test_nothing_to_do_is_nothing_done() -> None:
    assert list(engine.run(partial(make_refusing, BadInput), [])) == []
