"""Every quality filter keeps the contract of `Filter`; one of a user's own is one file."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.curate import FILTERS, Filter
from tasks.curate.settings import Curate
from tasks.curate.steps.quality.filtering import active_filters, ordered_filters
from tasks.curate.steps.quality.measurements import Measurements
from tasks.model.chat_rendering import UNRENDERABLE
from tasks.records import Record, parse
from tests.examples import EXAMPLES

SECTION = Curate().quality
LINES: tuple[dict[str, Any], ...] = (
    {"text": ""},
    {"text": "lorem ipsum dolor sit amet"},
    {"text": "\n".join(["- the same line of prose again ..."] * 12)},
    {"text": "1 + 1 = 2 " * 20},
    {"prompt": "Say it.", "completion": "say it."},
    {"prompt": "Say it.", "completion": "!!!!!!!!!!!!!!!!"},
    {"prompt": "Say it.", "completion": "I'm sorry, but I cannot help with that request."},
    {"prompt": "Say it.", "completion": "Ã¼ber Ã¤hnliche Ã¶fen"},
    {"prompt": "Which?", "chosen": "This one.", "rejected": "That one."},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
    {"text": "good", "label": "positive"},
)


def records() -> list[Record]:
    found = [parse(line, "a.jsonl", number) for number, line in enumerate(LINES, 1)]
    return [record for record in found if isinstance(record, Record)]


@pytest.mark.parametrize("member", list(FILTERS), ids=lambda member: member.name)
def test_a_filter_keeps_its_contract(member: Filter[Any]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", member.name)
    assert member.meaning.endswith(".") and (not member.remedy or member.remedy.endswith("."))
    assert all(key and what for key, what in member.evidence.items())
    for key, field in member.settings.model_fields.items():
        assert field.description and not field.is_required(), key
        assert hasattr(SECTION, key) and f"curate.quality.{key}" in member.keys
    assert isinstance(member.is_on(SECTION), bool)
    for record in records():
        before = json.dumps(record.row())
        found = member.check(record, SECTION, Measurements())
        assert found == member.check(record, SECTION, Measurements())
        assert json.dumps(record.row()) == before
        if found is not None:
            assert set(found) <= set(member.evidence)
            json.dumps(found)


def test_filters_are_asked_in_one_order() -> None:
    names = [member.name for member in ordered_filters()]
    assert len(names) == len(set(names)) and set(UNRENDERABLE) <= set(names)
    active = [member.name for member in active_filters(SECTION)]
    assert active == [name for name in names if name in active]


def test_a_filter_of_ones_own_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "my_filter.py").write_text(EXAMPLES["too_many_links.py"])
    (tmp_path / "params.yaml").write_text(
        "project: {plugins: [my_filter.py]}\ncurate: {quality: {max_links: 1}}\n"
    )
    for name in ("a", "b"):
        lines = [
            {
                "id": f"{name}{n}",
                "prompt": f"Where is {name}{n} explained, and by whom?",
                "completion": f"It is at http://{name}.org/{n}" + f" and http://{n}.net/" * (n % 2),
            }
            for n in range(8)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "perpetune", "curate", "a.jsonl", "b.jsonl", "--json"]
    done = subprocess.run(
        [*command, "--out", "out", "--workers", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dropped"]["too_many_links"] == 8
    ledger = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").open()]
    mine = [line for line in ledger if line["reason"] == "too_many_links"]
    assert len(mine) == 8 and mine[0]["evidence"] == {"links": 2, "maximum": 1}
    page = (tmp_path / "out/report.html").read_text()
    assert "The answer has too many links." in page and "curate.quality.max_links" in page
    assert "The answer has too many links" in (tmp_path / "out/data_card.md").read_text()
