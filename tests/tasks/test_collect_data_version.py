"""The data compared with data.dvc, in a real DVC repository."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.collect import (
    collect_embedded,
    ensure_data,
    record_traffic,
    recorded_version,
    verify_data,
    write_pointer,
)
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.settings import Settings

# Three small packages that this project installs anyway.
SMALL = Settings.model_validate(
    {
        "collect": {
            "train_packages": ["pendulum"],
            "heldout_packages": ["optuna"],
            "drift_packages": ["pygit2"],
            "windows": 1,
            "window_size": 20,
            "drifted_window_size": 20,
        }
    }
)


def dvc(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def fill(data: Path) -> None:
    for name in ("train/a.jsonl", "train/b.jsonl", "benchmarks/c.jsonl"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(f'{{"text": "{name}"}}\n')


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose data was recorded by the real DVC."""
    project = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(project / "site-cache"))
        patch.delenv("DVC_STAGE", raising=False)
        dvc(project, "init", "--no-scm", "--quiet")
        dvc(project, "config", "core.analytics", "false")
        fill(project / "data")
        write_pointer(project / "data", project / "data.dvc")
        yield project


@pytest.fixture
def project(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the recorded project that a test may change."""
    return Path(shutil.copytree(recorded, tmp_path / "project", symlinks=True))


def test_recorded_data_verifies(project: Path) -> None:
    data = project / "data"
    hashes = verify_data(data, project / "data.dvc")
    assert hashes == files.file_hashes(data)
    assert recorded_version(project / "data.dvc") == files.folder_hash(hashes)
    assert recorded_version(project / "other.dvc") is None


def test_the_message_names_what_differs(project: Path) -> None:
    data = project / "data"
    (data / "train" / "a.jsonl").write_text("changed\n")
    (data / "train" / "b.jsonl").unlink()
    (data / "new.jsonl").write_text("{}\n")
    with pytest.raises(PerpetuneError) as caught:
        verify_data(data, project / "data.dvc")
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "changed: train/a.jsonl; missing: train/b.jsonl; extra: new.jsonl" in message
    assert "c.jsonl" not in message
    assert "dvc checkout data.dvc" in message
    assert "perpetune collect --record" in message


def test_the_default_is_repaired_by_the_packages(project: Path) -> None:
    data = project / "data"
    default = data / "train" / "docstrings.jsonl"
    default.write_text("{}\n")
    hashes = files.file_hashes(data)
    pointer_by_hand(project / "data.dvc", hashes, files.folder_hash(hashes))
    default.write_text("changed\n")
    with pytest.raises(PerpetuneError, match=r"changed: train/docstrings\.jsonl; .*make setup"):
        verify_data(data, project / "data.dvc")


def pointer_by_hand(path: Path, hashes: dict[str, str], version: str) -> None:
    lines = [f"outs:\n- md5: {version}\n  path: data\nmeta:\n  files:\n"]
    lines += [f"    {name}: {value}\n" for name, value in hashes.items()]
    path.write_text("".join(lines))


def test_stale_evidence_is_not_believed(project: Path) -> None:
    data = project / "data"
    old = files.file_hashes(data)
    (data / "train" / "a.jsonl").write_text("recorded by hand\n")
    version = files.folder_hash(files.file_hashes(data))
    # What `dvc add`, run by hand, leaves: the new version, and the old files' hashes.
    pointer_by_hand(project / "data.dvc", old, version)
    verify_data(data, project / "data.dvc")
    (data / "train" / "b.jsonl").write_text("changed\n")
    with pytest.raises(PerpetuneError, match=rf"recorded is {version}") as caught:
        verify_data(data, project / "data.dvc")
    assert "jsonl" not in str(caught.value)


def test_recording_accepts_a_change_and_keeps_the_rest(project: Path) -> None:
    data, path = project / "data", project / "data.dvc"
    path.write_text(path.read_text().replace("meta:\n", "desc: ours  # remark\nmeta:\n  by: us\n"))
    (data / "train" / "a.jsonl").write_text("changed\n")
    (data / "train" / "b.jsonl").unlink()
    write_pointer(data, path)
    assert sorted(verify_data(data, path)) == ["benchmarks/c.jsonl", "train/a.jsonl"]
    text = path.read_text()
    assert "desc: ours  # remark" in text
    assert "by: us" in text
    assert "train/b.jsonl" not in text
    assert recorded_version(path) == files.folder_hash(files.file_hashes(data))


def test_missing_data_comes_back_from_the_cache(project: Path) -> None:
    hashes = files.file_hashes(project / "data")
    shutil.rmtree(project / "data")
    assert ensure_data(Settings(), project / "data", project / "data.dvc") == hashes
    assert files.file_hashes(project / "data") == hashes


@pytest.mark.parametrize("cache", ["behind a lock", "damaged", "incomplete"])
def test_own_data_without_a_cache_has_to_be_pulled(
    project: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    digest = files.md5(project / "data" / "train" / "a.jsonl")
    cached = project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    if cache == "behind a lock":  # in a stage, DVC holds it
        monkeypatch.setenv("DVC_STAGE", "collect")
    else:
        cached.unlink()
    if cache == "damaged":
        cached.write_text("other bytes\n")
        cached.chmod(0o444)
    shutil.rmtree(project / "data")
    with pytest.raises(PerpetuneError, match=r"missing: .*train/a\.jsonl.*dvc pull data\.dvc"):
        ensure_data(SMALL, project / "data", project / "data.dvc")
    assert list(project.glob("*data")) == []
    assert list(project.glob(".data*")) == []


def test_the_default_is_built_where_nothing_is(tmp_path: Path) -> None:
    hashes = collect_embedded(SMALL, tmp_path / "there")
    pointer_by_hand(tmp_path / "data.dvc", hashes, files.folder_hash(hashes))
    data = tmp_path / "data"
    data.mkdir()
    assert ensure_data(SMALL, data, tmp_path / "data.dvc") == hashes
    assert files.file_hashes(data) == hashes
    # A second time the data is there and only compared with the pointer.
    (data / "general_probe.jsonl").write_text("changed\n")
    with pytest.raises(PerpetuneError, match=r"changed: general_probe\.jsonl; .*make setup"):
        ensure_data(SMALL, data, tmp_path / "data.dvc")


def test_a_default_that_differs_is_not_left_behind(tmp_path: Path) -> None:
    hashes = collect_embedded(SMALL, tmp_path / "there")
    shutil.rmtree(tmp_path / "there")
    hashes["train/docstrings.jsonl"] = "f" * 32
    pointer_by_hand(tmp_path / "data.dvc", hashes, files.folder_hash(hashes))
    with pytest.raises(PerpetuneError, match=r"changed: train/docstrings\.jsonl; .*make setup"):
        ensure_data(SMALL, tmp_path / "data", tmp_path / "data.dvc")
    assert [path.name for path in tmp_path.iterdir()] == ["data.dvc"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "outs: []",
        "outs:\n- path: data",
        "outs:\n- md5: 0123abcd",
        "outs: 3\n",
        "outs: [\n",
        "\ttabs: no\n",
    ],
)
def test_a_malformed_pointer_is_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.dvc"
    path.write_text(text)
    fill(tmp_path / "data")
    with pytest.raises(BadInput, match=r"data\.dvc"):
        recorded_version(path)
    with pytest.raises(BadInput, match=r"data\.dvc"):
        verify_data(tmp_path / "data", path)


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with pytest.raises(BadInput, match=r"data\.dvc: no such file.*--record"):
        verify_data(tmp_path / "data", tmp_path / "data.dvc")
    with pytest.raises(BadInput, match=r"data\.dvc: no such file.*--record"):
        ensure_data(Settings(), tmp_path / "data", tmp_path / "data.dvc")
    with pytest.raises(BadInput, match="no data to record"):
        write_pointer(tmp_path / "nothing", tmp_path / "nothing.dvc")
    with pytest.raises(BadInput, match=r"in data\.dvc"):
        write_pointer(tmp_path / "data", tmp_path / "other.dvc")


def test_outside_a_dvc_repository_recording_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with pytest.raises(PerpetuneError, match="dvc init"):
        write_pointer(tmp_path / "data", tmp_path / "data.dvc")


def test_new_windows_of_traffic_are_recorded_and_nothing_else(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recorded)
    data, pointer = Path("data"), Path("data.dvc")
    assert not record_traffic(data, pointer, "data/traffic")
    (data / "traffic").mkdir()
    (data / "traffic/window-1.jsonl").write_text('{"text": "new"}\n')
    assert not record_traffic(data, pointer, "elsewhere/traffic")
    assert record_traffic(data, pointer, "data/traffic")
    assert "traffic/window-1.jsonl" in verify_data(data, pointer)
    (data / "traffic/window-1.jsonl").write_text('{"text": "grown"}\n')
    (data / "train/a.jsonl").write_text('{"text": "changed by hand"}\n')
    assert not record_traffic(data, pointer, "data/traffic")
    with pytest.raises(PerpetuneError, match="train/a"):
        verify_data(data, pointer)
    fill(data)
    (data / "traffic/window-1.jsonl").unlink()
    (data / "traffic").rmdir()
    assert record_traffic(data, pointer, "data/traffic")
