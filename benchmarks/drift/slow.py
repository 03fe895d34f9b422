"""How soon is a slow drift found, which no single window shows, and by which pool?

    python -m benchmarks.drift.slow --repeats 3

Texts are descriptions of Debian packages, one of each source package, so that rows are independent.
In windows of 200 rows the share of another section grows by half a percent a window, or stays at a
small share. Eight quiet windows come first. The defaults decide.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.drift.data import Text, descriptions
from tasks.drift import Look, look
from tasks.settings import Settings

OWN, OTHER = ("libs", "python", "utils", "net"), ("science", "games", "perl")
REFERENCE, WINDOW, QUIET = 1500, 200, 8

SHARES: dict[str, Callable[[int], float]] = {
    "0.5 % more each window": lambda age: 0.005 * age,
    "5 % of each window": lambda _: 0.05,
    "10 % of each window": lambda _: 0.1,
    "25 % of each window": lambda _: 0.25,
    "nothing changed": lambda _: 0.0,
}


def one_each(sections: tuple[str, ...]) -> list[Text]:
    """One description of each source package."""
    found: dict[str, Text] = {}
    for text in descriptions(sections):
        found.setdefault(text.group.partition("/")[2], text)
    return list(found.values())


def first_alarm(
    own: list[Text], other: list[Text], share: Callable[[int], float], most: int, folder: Path
) -> Look | None:
    """The look that shows drift; None: none of `most` windows of changed traffic did.

    Args:
        own: texts of the traffic as it was, each used once.
        other: texts of what comes in, likewise.
        share: of the window's rows by the number of windows since the change began.
        most: windows since then.
        folder: where files are written.
    """

    def write(name: str, texts: list[Text]) -> Path:
        path = folder / f"{name}.jsonl"
        lines = (json.dumps({"prompt": text.prompt}) for text in texts)
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    reference = write("reference", own[:REFERENCE])
    left, new = iter(own[REFERENCE:]), iter(other)
    paths: list[Path] = []
    history: list[Look] = []
    for number in range(1, QUIET + most + 1):
        changed = round(WINDOW * share(number - QUIET)) if number > QUIET else 0
        rows = [next(left) for _ in range(WINDOW - changed)] + [next(new) for _ in range(changed)]
        paths.append(write(f"w{number}", rows))
        history.append(look(reference, paths, history, Settings()).brief())
        if history[-1].status == "drift":
            return history[-1]
    return None


def main() -> None:
    """Print when each change was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--windows", type=int, default=32, help="of changed traffic at most")
    options = parser.parse_args()
    began = time.process_time()
    own, other = one_each(OWN), one_each(OTHER)
    print(f"{len(own)} texts of {', '.join(OWN)}; {len(other)} of {', '.join(OTHER)}")
    for name, share in SHARES.items():
        for repeat in range(options.repeats):
            draws = random.Random(f"{name}/{repeat}")
            with tempfile.TemporaryDirectory() as folder:
                found = first_alarm(
                    draws.sample(own, len(own)),
                    draws.sample(other, len(other)),
                    share,
                    options.windows,
                    Path(folder),
                )
            said = f"no alarm in {options.windows} windows"
            if found is not None:
                last = found.scales[-1]
                said = f"alarm at window {found.number - QUIET} of it, by a pool of {last.windows}"
            print(f"{name}: {said} [{time.process_time() - began:.0f} CPU-s]", flush=True)


if __name__ == "__main__":
    main()
