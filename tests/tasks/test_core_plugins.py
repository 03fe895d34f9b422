"""A kind's registry: members of the package, of files, of installed packages."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.plugins import PluginRegistry, load_plugins, plugin_hashes
from tasks.core.values import Value


@dataclass(frozen=True)
class Fruit:
    name: str


FRUITS: PluginRegistry[Fruit] = PluginRegistry("fruit")


def test_members_are_found_by_name() -> None:
    fruits: PluginRegistry[Fruit] = PluginRegistry("fruit")
    apple = fruits.add(Fruit("apple"))

    @fruits.register
    class Pear:
        name = "pear"

    assert fruits.get("apple") is apple
    assert [fruit.name for fruit in fruits] == ["apple", "pear"]
    with pytest.raises(BadInput, match=r"aple: no such fruit; did you mean apple\?"):
        fruits.get("aple")
    with pytest.raises(BadInput, match="there are apple, pear"):
        fruits.get("zzz")


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    FRUITS.add(Fruit("fig"))
    file = tmp_path / "other.py"
    file.write_text(
        f"from {__name__} import FRUITS\n@FRUITS.register\nclass Fig:\n    name = 'fig'\n"
    )
    with pytest.raises(BadInput, match="two fruits are called fig"):
        load_plugins([str(file)])


def test_a_users_file_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        f"from {__name__} import FRUITS, Fruit\nFRUITS.add(Fruit('mine'))\n"
        "with open(__file__ + '.log', 'a') as log:\n    log.write('x')\n"
    )
    load_plugins([str(file), str(file)])
    load_plugins([str(file)])
    assert FRUITS.get("mine").name == "mine"
    assert Path(f"{file}.log").read_text() == "x"
    before = plugin_hashes([str(file)])
    file.write_text(file.read_text() + "# changed\n")
    assert plugin_hashes([str(file)]) != before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "line 2: ZeroDivisionError"),
        ("x = 1\n\ndef broken(:\n", "line 3: SyntaxError"),
        ("import no_such_module_here\n", "no_such_module_here"),
    ],
)
def test_a_broken_file_is_bad_input(tmp_path: Path, code: str, message: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(code)
    with pytest.raises(BadInput, match=message):
        load_plugins([str(file)])


@pytest.mark.parametrize("plugin", ["nowhere/mine.py", "no_such_package.metrics"])
def test_a_missing_plugin_is_named(plugin: str) -> None:
    with pytest.raises(BadInput, match=rf"{plugin}: no such file or module"):
        load_plugins([plugin])
    with pytest.raises(BadInput):
        plugin_hashes([plugin])


def test_an_installed_package_brings_members_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "orchard.py").write_text(
        "from tasks.core import plugins\nimport __main__\n"
        "__main__.FRUITS.register(type('Plum', (), {'name': 'plum'}))\n"
    )
    info = tmp_path / "orchard-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[perpetune.fruits]\nmine = orchard\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tasks.core.plugins import PluginRegistry\n"
        "FRUITS = PluginRegistry('fruit')\n"
        "print(FRUITS.get('plum').name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "plum\n", done.stderr


def test_values_go_to_json_and_back() -> None:
    class Basket(Value):
        count: int
        inner: tuple[float, ...] = ()

    basket = Basket(count=2, inner=(1.0,))
    assert basket.to_json() == {"count": 2, "inner": [1.0]}
    assert Basket.from_json(basket.to_json()) == basket
    with pytest.raises(PerpetuneError, match=r"a\.json: no Basket .*count"):
        Basket.from_json({}, "a.json")
