"""The code of a round: the commit that is checked out, and a patch of all that differs from it."""

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tasks.core import files
from tasks.reproduce.git import asked, git, names
from tasks.reproduce.results import Source
from tasks.settings import Settings

PATCH = "changes.patch"
SOURCE = "source.json"
_CODE = ("flows", "perpetune", "tasks")
_OF_DVC = ("data.dvc", "data.version", "dvc.lock", "dvc.yaml")


def record_source(folder: Path, settings: Settings, project: Path = Path()) -> Source:
    """Write `source.json` and, where something differs from the commit, `changes.patch`.

    Of files that git does not track the patch holds those that the round reads: code of Perpetune,
    plugins, a chat template, DVC's files. The repository itself is not changed.

    Args:
        folder: where to write.
        settings: they name plugins and the chat template.
        project: a folder of the repository.

    Raises:
        PerpetuneError: git failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PATCH).unlink(missing_ok=True)
    source = Source(commit=asked("rev-parse", "--verify", "--quiet", "HEAD", folder=project))
    if source.commit:
        patch, changed = _patch(project, _read_by(settings))
        prefix = asked("rev-parse", "--show-prefix", folder=project) or ""
        source = source.model_copy(update={"prefix": prefix, "changed": tuple(changed)})
        if patch:
            with files.atomic_write(folder / PATCH) as file:
                file.write(patch)
            digest = hashlib.sha256(patch).hexdigest()
            source = source.model_copy(update={"patch_sha256": digest})
    files.write_json(folder / SOURCE, source)
    return source


def _read_by(settings: Settings) -> list[str]:
    """Files of the user's that a round reads, relative to the project."""
    named = [name for name in settings.project.plugins if name.endswith(".py")]
    template = settings.base.chat_template
    return [*named, *([str(template)] if template is not None else []), *_OF_DVC]


def _patch(project: Path, read: Iterable[str]) -> tuple[bytes, list[str]]:
    """The patch from the commit to the files as they are, and the files that it changes."""
    with tempfile.TemporaryDirectory(prefix="perpetune-") as scratch:
        # An index and an object store of our own: the user's stay as they are.
        objects = Path(scratch) / "objects"
        objects.mkdir()
        own = asked("rev-parse", "--path-format=absolute", "--git-path", "objects", folder=project)
        variables = {
            "GIT_INDEX_FILE": str(Path(scratch) / "index"),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": own or "",
        }

        def run(*arguments: str) -> bytes:
            return git(*arguments, folder=project, variables=variables)

        run("read-tree", "HEAD")
        run("add", "--update", ":/")
        new = _untracked(project, read)
        if new:
            run("--literal-pathspecs", "add", "--force", "--", *new)
        # Against renames: their patch needs the old file.
        plain = ("--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
        patch = run("diff", "--cached", "--binary", "--full-index", *plain, "HEAD")
        changed = names(run("diff", "--cached", "--name-only", "-z", *plain, "HEAD"))
    return patch, changed


def _untracked(project: Path, read: Iterable[str]) -> list[str]:
    """Files that git does not track and the round reads, relative to the project."""
    top = Path(asked("rev-parse", "--show-toplevel", folder=project) or project).resolve()
    code = [name for name in _CODE if (project / name).is_dir()]
    found = []
    if code:
        listed = git(
            "ls-files", "--others", "--exclude-standard", "-z", "--", *code, folder=project
        )
        found = [name for name in names(listed) if name.endswith((".py", ".j2"))]
    for name in read:
        path = project / name
        if path.is_file() and path.parent.resolve().is_relative_to(top):
            found.append(name)
    return found
