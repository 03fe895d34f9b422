"""Promises of the repository's own files."""

import re
import subprocess
import sys
from pathlib import Path

from tasks.settings import Settings, load_settings

PROJECT = Path(__file__).parent.parent


def test_params_yaml_shows_every_setting_with_its_default() -> None:
    from ruamel.yaml import YAML

    written = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    assert load_settings(PROJECT / "params.yaml") == Settings()
    for section, values in Settings().plain().items():
        assert list(written[section]) == list(values), section


def test_the_lock_names_no_host_and_pins_everything() -> None:
    for name in ("requirements.lock", "requirements-nodeps.lock"):
        for line in (PROJECT / name).read_text().splitlines():
            requirement = line.partition(";")[0].strip()
            if requirement and not requirement.startswith("#"):
                assert re.fullmatch(
                    r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[A-Za-z0-9.+]+", requirement
                )


def test_the_tools_that_we_build_on_import_together() -> None:
    code = (
        "import prefect, mlflow, dvc.api, torch, transformers, peft, evidently, optuna, datasets\n"
        "import accelerate, bitsandbytes, pandas, fastapi, sqlalchemy\n"
        "assert pandas.__version__.startswith('3.0.')\n"
        "assert sqlalchemy.__version__.startswith('2.0.')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_readme_names_only_commands_that_exist() -> None:
    from perpetune.cli.main import main

    readme = (PROJECT / "README.md").read_text()
    named = set(re.findall(r"perpetune ([a-z]+)", readme)) - {"has"}
    assert named <= set(main.commands), named - set(main.commands)
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", readme)) <= targets


def test_the_first_round_of_a_clone_changes_no_tracked_file() -> None:
    """`dvc.lock` knows the pinned environment as it is."""
    import hashlib

    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(read("dvc.lock"))["stages"]
    recorded = {
        dep["path"]: dep["md5"]
        for stage in stages.values()
        for dep in stage["deps"]
        if dep["path"] in tracked()
    }
    assert {"data.version", "requirements.lock"} <= set(recorded)
    now = {
        name: hashlib.md5((PROJECT / name).read_bytes(), usedforsecurity=False).hexdigest()
        for name in recorded
    }
    assert now == recorded


def test_only_text_and_pictures_are_tracked() -> None:
    binary = [
        name
        for name in tracked()
        if b"\0" in (PROJECT / name).read_bytes()[:8192]
        and Path(name).suffix not in {".png", ".gz", ".ico", ".woff2"}
    ]
    assert binary == []


def tracked(*patterns: str) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=PROJECT, capture_output=True, check=True
    )
    return [name for name in done.stdout.decode().split("\0") if name]


def read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A Markdown file without its code blocks and its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", read(name), flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names by which a page's headings are linked, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_links_of_the_documentation_lead_somewhere() -> None:
    images = PROJECT / "docs" / "images"
    broken = []
    for name in tracked("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (PROJECT / name).parent / path if path else PROJECT / name
            if images in target.resolve().parents and not images.is_dir():
                continue
            found = target.exists()
            if found and anchor and target.suffix == ".md":
                found = anchor in anchors(target.read_text(encoding="utf-8"))
            if not found:
                broken.append(f"{name}: {link}")
    assert broken == []


def test_the_documentation_is_in_plain_words() -> None:
    words = (
        r"held against|reckon\w*|gives? (it )?away|mend(s|ed|ing)?|lies in|stands in|kin|laid down|"
        r"as far as there are|flatter(s|ed|ing)?"
    )
    pages = tracked("*.md", "Makefile", "infra", "prefect.yaml", "dvc.yaml", "params.yaml")
    found = [
        f"{page}:{number}: {match[0]}"
        for page in pages
        for number, line in enumerate(read(page).splitlines(), 1)
        for match in re.finditer(rf"\b({words})\b", line, re.IGNORECASE)
    ]
    assert found == []


def test_settings_that_the_documentation_names_exist() -> None:
    from tasks.tune.methods import METHODS

    keys = {f"tune.method.{key}" for method in METHODS for key in method.uses}
    for name, section in Settings():
        keys |= {f"{name}.{key}" for key in [*section.dotted(), *type(section).model_fields]}
    sections = "|".join(Settings.model_fields)
    unknown = [
        f"{page}: {key}"
        for page in tracked("*.md")
        for key in re.findall(rf"`((?:{sections})\.[a-z_.]+)(?=[`:= ])", read(page))
        if key not in keys | {"drift.detected"}  # an event
        and not key.endswith((".py", ".json", ".jsonl"))
    ]
    assert unknown == []
