"""What runs of the platform, and what its record says of it."""

from collections.abc import Iterator, Sequence

from perpetune.platform.checks import CHECKS
from perpetune.platform.processes import marked, platform_file, recorded_platform
from perpetune.platform.results import Advice
from perpetune.platform.state import in_words, platform_state
from tasks.decisions import Problem
from tasks.settings import Settings

_OFTEN = 5


@CHECKS.register
class Running:
    """Whether the platform runs whole, answers, and is the one that is recorded."""

    name = "platform"
    label = "processes of `perpetune up`"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """Parts that are gone or silent, and processes or records that were left behind."""
        return tuple(_wrong(settings))

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: `perpetune up` and `perpetune down` do it."""
        return ()


def _wrong(settings: Settings) -> Iterator[Problem]:
    path = platform_file(settings)
    platform, state = recorded_platform(settings), platform_state(settings)
    left = list(marked(settings.project.state_dir))
    if platform is None or state is None:
        if path.exists():
            yield Problem(what=f"{path} cannot be read", remedy="`perpetune down` removes it")
        if left:
            numbers = ", ".join(str(process.pid) for process in left)
            yield Problem(
                what=f"processes of a platform run here that nothing records: {numbers}",
                remedy="`perpetune down` ends them",
            )
        return
    if not state.running:
        yield Advice(
            what="the platform was not stopped by `perpetune down`, and none of it runs any more",
            remedy="`perpetune up` starts it again, `perpetune down` forgets it",
        )
    for sentence in in_words(state):
        yield Problem(what=sentence, remedy="`perpetune up`")
    for name, count in state.restarts:
        if count >= _OFTEN:
            yield Problem(
                what=f"{name} has been started again {count} times since `perpetune up`",
                remedy=f"read {platform.processes[name].log}"
                if name in platform.processes
                else "read its log",
            )
