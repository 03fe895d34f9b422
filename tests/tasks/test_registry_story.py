"""MLflow's pages tell how a version did and what changed, and nothing hostile in them is alive."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tasks.core import files
from tasks.registry import Candidate, Registry
from tasks.settings import Settings

HOSTILE = (
    "[click](https://evil.invalid) ![x](https://evil.invalid/x.png) <script>alert(1)</script> "
    "<img src=x onerror=alert(1)> https://evil.invalid | `code` \u202egnp.exe \x1b[31m"
)


def add(registry: Registry, key: str, adapter: Path, folder: Path, **given: Any) -> str:
    params = folder / key / "params.json"
    files.write_json(params, given.pop("params"))
    run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
    verdict = {"passed": True, "outcome": "passed"} | given.pop("verdict", {})
    registry.register(run, key, Candidate(adapter, True, verdict, "# Card", (params,), **given))
    return run


def description(registry: Registry, number: int) -> str:
    with registry._connection.client() as client:
        return client.get_model_version(registry.name, str(number)).description


def links(markdown: str) -> dict[str, str]:
    """Every live link of a page, and a failure for every picture or tag."""
    found, words = {}, []
    for token in MarkdownIt("commonmark", {"linkify": False}).enable("table").parse(markdown):
        for part in token.children or []:
            assert part.type not in ("image", "html_inline"), part.content
            if part.type == "link_open":
                words.append(part.attrs["href"])
            elif part.type == "text" and words:
                found[part.content] = words.pop()
        assert token.type != "html_block", token.content
    return found


@pytest.fixture
def told(
    new_project: Callable[..., Settings], plain_adapter: Path, tmp_path: Path
) -> tuple[Registry, str]:
    """Version 1 is the champion, version 2 differs in data and settings and has hostile texts."""
    registry = Registry(new_project())
    base = {"tune": {"method": {"rank": 8}, "note": "x"}, "project": {"state_dir": "a"}}
    facts = {"train_hash": "aaa", "train_records": "2552", "git_commit": "c1"}
    add(registry, "k1", plain_adapter, tmp_path, params=base, tags=facts)
    registry.approve(1, "ann")
    changed = {"tune": {"method": {"rank": 16}, "note": HOSTILE}, "project": {"state_dir": "b"}}
    facts = {"train_hash": "bbb", "train_records": "2700", "git_commit": "c1"}
    run = add(
        registry,
        "k2",
        plain_adapter,
        tmp_path,
        params=changed,
        tags=facts,
    )
    return registry, run


def test_a_version_tells_its_story(told: tuple[Registry, str]) -> None:
    registry, run = told
    text = description(registry, 2)
    assert "passed every gate" in text
    assert "What changed since version 1, the champion" in text
    assert "- training records: 2552 → 2700" in text
    assert r"training data (MD5): aaa → bbb" in text
    assert r"- tune.method.rank: 8 → 16" in text
    assert "state\\_dir" not in text
    assert "commit" not in text.partition("# Card")[0].partition("What changed")[2]
    assert "# Card" in text
    assert len(text) <= 5000
    first = description(registry, 1)
    assert "There was no champion" in first
    with registry._connection.client() as client:
        assert client.get_run(run).data.tags["mlflow.note.content"] == text
        experiment = client.get_experiment_by_name(registry.name)
        assert "review.html" in experiment.tags["mlflow.note.content"]
        named = client.get_registered_model(registry.name).description
        assert f"#/experiments/{experiment.experiment_id}/runs?" in named
        assert client.get_experiment("0").lifecycle_stage == "deleted"
        assert [found.name for found in client.search_experiments()][-1] != "Default"


def test_only_our_own_links_are_alive(told: tuple[Registry, str]) -> None:
    registry, run = told
    with registry._connection.client() as client:
        experiment = client.get_run(run).info.experiment_id
    view = "?workflowType=machine_learning"
    files_of_run = f"#/experiments/{experiment}/runs/{run}/artifacts"
    found = links(description(registry, 2))
    assert found == {
        "review sheet": f"{files_of_run}/evaluate/review.html{view}",
        "verdict": f"{files_of_run}/verdict.json{view}",
        "data card": f"{files_of_run}/data_card.md{view}",
        "round and its trials": f"#/experiments/{experiment}/runs/{run}{view}",
        "all versions and decisions": f"#/models/tiny.model{view}",
        "approval form": "http://127.0.0.1:4200/",
    }
    assert "\x1b" not in description(registry, 2)
    assert "\u202e" not in description(registry, 2)
    absolute = registry.links
    assert absolute.review_sheet(run) == f"http://127.0.0.1:5000/{found['review sheet']}"
    assert absolute.model() == f"http://127.0.0.1:5000/{found['all versions and decisions']}"
    assert absolute.rounds() == f"http://127.0.0.1:5000/#/experiments/{experiment}/runs{view}"


def test_a_champion_without_settings_is_no_obstacle(
    new_project: Callable[..., Settings], plain_adapter: Path, tmp_path: Path
) -> None:
    registry = Registry(new_project())
    run = registry.tracking.open_round("k1", name="k1", params={}, tags={}, datasets=[])
    registry.register(run, "k1", Candidate(plain_adapter, True, {"passed": True}, "card"))
    registry.approve(1, "ann")
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    add(registry, "k2", plain_adapter, tmp_path, params={"tune": {"rank": 8}})
    assert "settings: not known of that version" in description(registry, 2)
