"""The code of a version, checked out beside the user's own files."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import BadInput, PerpetuneError
from tasks.reproduce.git import asked, git
from tasks.reproduce.results import Source
from tasks.reproduce.source import PATCH

log = logging.getLogger(__name__)


def check_source(source: Source, project: Path) -> str:
    """The commit of `source`, which the repository of `project` has.

    Raises:
        BadInput: it was not recorded, `project` is in no repository, or the commit is gone.
    """
    if source.commit is None:
        raise BadInput(
            "the version was trained outside of a git repository, so that its code was not "
            "recorded; keep the project in git, and versions registered from then on can be made "
            "again"
        )
    if asked("rev-parse", "--show-toplevel", folder=project) is None:
        raise BadInput(
            f"{project.resolve()} is in no git repository: `perpetune reproduce` checks out commit "
            f"{source.commit[:12]}; run it in a clone of the project"
        )
    if asked("cat-file", "-e", f"{source.commit}^{{commit}}", folder=project) is None:
        shallow = asked("rev-parse", "--is-shallow-repository", folder=project) == "true"
        remedy = "`git fetch --unshallow`" if shallow else f"`git fetch origin {source.commit}`"
        raise BadInput(
            f"commit {source.commit} is not in this repository; fetch it with {remedy}, or from "
            "the clone in which the version was registered (after a rebase it is only there)"
        )
    return source.commit


@contextmanager
def worktree(
    source: Source, recipe: Path, folder: Path, project: Path, *, keep: bool = False
) -> Iterator[Path]:
    """A worktree in `folder`, in which the patch is applied; removed at the end.

    What an interrupted call has left there is removed first.

    Args:
        source: the commit, and the project's folder in its repository.
        recipe: folder with `changes.patch`, if there is one.
        folder: where to check out.
        project: a folder of the repository.
        keep: leave the worktree there.

    Yields:
        The project's folder in the worktree.

    Raises:
        BadInput: as `check_source`.
        PerpetuneError: git failed.
    """
    commit = check_source(source, project)
    _remove(folder, project)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log.info("checking out commit %s", commit[:12])
    git("worktree", "add", "--detach", "--force", str(folder.absolute()), commit, folder=project)
    try:
        if source.patch_sha256:
            log.info("applying what was not committed: %s", ", ".join(source.changed))
            patch = (recipe / PATCH).absolute()
            git("apply", "--whitespace=nowarn", str(patch), folder=folder)
        inside = folder / source.prefix
        if not inside.is_dir():
            raise PerpetuneError(f"commit {commit[:12]} has no folder {source.prefix}")
        yield inside
    finally:
        if not keep:
            _remove(folder, project)


def _remove(folder: Path, project: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    git("worktree", "prune", folder=project)
