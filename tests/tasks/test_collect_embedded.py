"""The embedded default: which functions it takes, and the same bytes everywhere."""

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import records
from tasks.collect import collect_embedded, recorded_version
from tasks.collect.docstrings import functions, summarise
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.settings import Settings
from tests.conftest import PROJECT

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package as pip would, RECORD and all: `install("name", {"name/a.py": source})`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{PROJECT}")

    def build(name: str, sources: dict[str, str], version: str = "1.0") -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        lines = []
        for path, source in sources.items():
            file = site / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
            digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest())
            lines.append(f"{path},sha256={digest.rstrip(b'=').decode()},{file.stat().st_size}\n")
        info.joinpath("RECORD").write_text("".join(lines))
        return site

    return build


def numbered(name: str, count: int) -> dict[str, str]:
    """Sources of a package with so many documented functions, in modules of ten."""
    sources: dict[str, str] = {}
    for number in range(count):
        path = f"{name}/module_{number // 10}.py"
        body = f'def call_{number}(a, b={number}):\n    """Call the {name} number {number}."""\n\n'
        sources[path] = sources.get(path, "") + body
    return sources


@pytest.fixture
def small(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for three small installed packages; the working folder has no lock."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("alpha", 120), ("beta-two", 40), ("gamma", 60)):
        install(name, numbered(name.replace("-", "_"), count))
    return Settings.model_validate(
        {
            "collect": {
                "train_packages": ["alpha"],
                "heldout_packages": ["beta-two"],
                "drift_packages": ["gamma"],
                "max_per_package": 100,
                "windows": 2,
                "window_size": 20,
                "drifted_window_size": 30,
            }
        }
    )


def ids(path: Path) -> list[str]:
    return [record.id for record in records.load([path])]


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("Return the sum.\n\nMore text.", "Return the sum."),
        ("\n    Return the\n    sum of all. And more of it.\n    ", "Return the sum of all."),
        ("Return one, e.g. This. Then stop.", "Return one, e.g. This."),
        ("Return the :class:`~a.b.C` of ``x``.", "Return the `C` of `x`."),
        ("Use `the guide <http://x.org>`_ here.", "Use `the guide` here."),
        ("Make a label, ``<a> AS <b>``.", "Make a label, `<a> AS <b>`."),
        ("Render DELETE .. FROM of MSSQL.", "Render DELETE .. FROM of MSSQL."),
        ("Sort it.", None),  # too short
        ("Call this thing.", None),  # the name again
        ("See the other function.", None),
        ("Deprecated since last year.", None),
        ("This function is deprecated.", None),
        (".. deprecated:: 1.0 do not use", None),
        ("returns the sum of all", None),
        ("call_this(a, b, c)", None),
        ("The heading is here\n===================", None),
        (":param a: the first one", None),
        ("The accepted values are these:", None),
        ("It is possible to call it using", None),
        ("Convert the {klass} to a string.", None),
        ("", None),
    ],
)
def test_a_summary_is_the_first_sentence_or_nothing(docstring: str, summary: str | None) -> None:
    assert summarise(docstring, "call_this_thing") == summary


def test_functions_are_public_documented_and_never_imported(install: Install) -> None:
    install(
        "pack",
        {
            "pack/__init__.py": "from ._inner import shown\nraise SystemExit('imported')\n",
            "pack/_inner.py": (
                "__all__ = ['listed']\n"
                'def listed(x: int = 1) -> str:\n    """Give the listed one."""\n'
                'def shown():\n    """Give the shown one."""\n'
                'def hidden():\n    """Give the hidden one."""\n'
            ),
            "pack/open.py": (
                "class Box:\n"
                '    def put(self, *, item):\n        """Put an item into it."""\n'
                "    @property\n"
                '    def size(self):\n        """The size of the box."""\n'
                '    def _secret(self):\n        """Keep this to yourself."""\n'
                "if True:\n"
                '    def either(a):\n        """Do it one way."""\n'
                "else:\n"
                '    def either(a, b):\n        """Do it the other way."""\n'
                "def silent(): ...\n"
            ),
            "pack/tests/test_open.py": 'def helper():\n    """Help with the tests."""\n',
            "pack/vendor/lib.py": 'def other():\n    """Do what others wrote."""\n',
            "pack/version.py": 'def get():\n    """Get the version string."""\n',
        },
    )
    found = [(f.id, f.module, f.signature, f.summary) for f in functions("pack")]
    assert found == [
        ("pack._inner.listed", "pack", "listed(x: int=1) -> str", "Give the listed one."),
        ("pack._inner.shown", "pack", "shown()", "Give the shown one."),
        ("pack.open.Box.put", "pack.open", "Box.put(self, *, item)", "Put an item into it."),
        ("pack.open.either", "pack.open", "either(a)", "Do it one way."),
        ("pack.open.either#2", "pack.open", "either(a, b)", "Do it the other way."),
    ]


def test_files_that_the_wheel_did_not_ship_are_left_out(install: Install) -> None:
    site = install("pack", {"pack/a.py": 'def f():\n    """Do this one thing."""\n'})
    for name in ("stray.py", "unhashed.py"):
        (site / "pack" / name).write_text('def g():\n    """Do that other thing."""\n')
    with (site / "pack-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("pack/unhashed.py,,\n")
    assert [function.id for function in functions("pack")] == ["pack.a.f"]


def test_a_changed_package_is_refused(install: Install) -> None:
    site = install("pack", {"pack/a.py": 'def f():\n    """Do this one thing."""\n'})
    with (site / "pack" / "a.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(BadInput, match=r"a\.py: differs from what pack 1\.0 ships; reinstall"):
        functions("pack")


def test_parts_are_disjoint_and_complete(small: Settings, tmp_path: Path) -> None:
    hashes = collect_embedded(small, tmp_path / "data")
    parts = {name: ids(tmp_path / "data" / name) for name in hashes}
    assert {name: len(part) for name, part in parts.items()} == {
        "benchmarks/heldout.jsonl": 40,
        "general_probe.jsonl": len(parts["general_probe.jsonl"]),
        "traffic/window-1.jsonl": 20,
        "traffic/window-2.jsonl": 20,
        "traffic/window-3.jsonl": 30,
        "train/docstrings.jsonl": 60,
    }
    everything = [identity for part in parts.values() for identity in part]
    assert len(everything) == len(set(everything))
    assert all(part == sorted(part) for name, part in parts.items() if "/" in name)


def test_records_are_chats_with_a_group(small: Settings, tmp_path: Path) -> None:
    collect_embedded(small, tmp_path / "data")
    first = files.read_jsonl(tmp_path / "data" / "benchmarks" / "heldout.jsonl")[0]
    assert first == {
        "id": "beta_two.module_0.call_0",
        "messages": [
            {"role": "system", "content": "Summarise the Python function in one line."},
            {"role": "user", "content": "beta_two.module_0\ncall_0(a, b=0)"},
            {"role": "assistant", "content": "Call the beta_two number 0."},
        ],
        "group": "beta_two.module_0",
        "meta": {"package": "beta-two", "version": "1.0"},
    }


def test_the_same_bytes_come_in_another_process(small: Settings, tmp_path: Path) -> None:
    here = collect_embedded(small, tmp_path / "data")
    there = tmp_path / "there"
    program = (
        "import sys; from pathlib import Path; from tasks.settings import Settings; "
        "from tasks.collect import collect_embedded; "
        "collect_embedded(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        arguments = [sys.executable, "-c", program, small.model_dump_json(), str(there)]
        subprocess.run(arguments, env=environment, check=True)
        assert files.file_hashes(there) == here


def test_equal_summaries_and_packages_have_an_upper_bound(
    small: Settings, install: Install, tmp_path: Path
) -> None:
    same = "".join(f'def f_{n}():\n    """Fit the model now."""\n' for n in range(30))
    install("delta", {"delta/a.py": same} | numbered("delta", 100))
    collect = small.collect.model_copy(
        update={"heldout_packages": ["delta"], "max_same_completion": 3, "max_per_package": 110}
    )
    collect_embedded(small.model_copy(update={"collect": collect}), tmp_path / "data")
    rows = records.load([tmp_path / "data" / "benchmarks" / "heldout.jsonl"])
    assert sum(row.target == "Fit the model now." for row in rows) == 3
    assert len(rows) == 103
    less = small.model_copy(update={"collect": collect.model_copy(update={"max_per_package": 50})})
    collect_embedded(less, tmp_path / "data")
    kept = ids(tmp_path / "data" / "benchmarks" / "heldout.jsonl")
    assert len(kept) == 50
    assert set(kept) <= {row.id for row in rows}


def test_another_version_than_the_lock_pins_is_refused(small: Settings, tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("alpha==1.0\nBeta_Two==2.0 ; os_name == 'x'\n")
    with pytest.raises(BadInput, match=r"beta-two 1\.0 is installed.*pins 2\.0.*make setup"):
        collect_embedded(small, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_missing_package_is_named(small: Settings, tmp_path: Path) -> None:
    collect = small.collect.model_copy(update={"drift_packages": ["no-such-package"]})
    with pytest.raises(BadInput, match=r"no-such-package is not installed.*make setup"):
        collect_embedded(small.model_copy(update={"collect": collect}), tmp_path / "data")


@pytest.mark.parametrize("change", [{"windows": 5}, {"drifted_window_size": 61}])
def test_too_few_functions_are_an_error_with_numbers(
    small: Settings, tmp_path: Path, change: dict[str, int]
) -> None:
    settings = small.model_copy(update={"collect": small.collect.model_copy(update=change)})
    with pytest.raises(BadInput, match=r"gave (100|60) records, at least (101|61) are needed"):
        collect_embedded(settings, tmp_path / "data")
    assert list(tmp_path.glob("*data*")) == []


def test_files_of_the_user_are_not_deleted(small: Settings, tmp_path: Path) -> None:
    data = tmp_path / "data"
    collect_embedded(small, data)
    before = files.file_hashes(data)
    (data / "feedback").mkdir()
    (data / "feedback" / "window-3.jsonl").write_text("{}\n")
    with pytest.raises(BadInput, match=r"holds feedback/window-3\.jsonl.*would delete"):
        collect_embedded(small, data)
    (data / "feedback" / "window-3.jsonl").unlink()
    assert collect_embedded(small, data) == before


def test_a_package_serves_one_purpose() -> None:
    with pytest.raises(ValueError, match="numpy is twice"):
        Settings.model_validate({"collect": {"heldout_packages": ["numpy"]}})


def test_the_default_is_what_the_repository_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    hashes = collect_embedded(Settings(), tmp_path / "data")
    assert files.folder_hash(hashes) == recorded_version(PROJECT / "data.dvc")
    sizes = {name: len(ids(tmp_path / "data" / name)) for name in hashes}
    assert sizes["train/docstrings.jsonl"] > 2500
    assert 300 <= sizes["benchmarks/heldout.jsonl"] <= 1000
    assert [sizes[f"traffic/window-{n}.jsonl"] for n in (1, 2, 3, 4)] == [200, 200, 200, 400]
    parts = {name: set(ids(tmp_path / "data" / name)) for name in hashes}
    assert len(set().union(*parts.values())) == sum(sizes.values())
