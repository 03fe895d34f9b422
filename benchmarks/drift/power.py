"""How often does the drift check, and how often do its peers, find a change?

    python -m benchmarks.drift.power --pages DIR/pages           # DIR: a checkout of tldr-pages
    python -m benchmarks.drift.power --held-back --only own      # without the peers, which are slow

All see the same windows and work at a nominal level of 5 %:

    ours            the whole check, `tasks.drift.comparison`
    Evidently       its default verdict (`DataDriftPreset`: half of the columns) on the prompt and
                    its text descriptors
    Evidently any   at least one of these columns
    river           ADWIN (Bifet & Gavaldà 2007) on the logarithm of the prompts' lengths, in the
                    order reference, window: a change seen in the window

First a source is replaced (a package, a system), wholly or in part, then one respect of every row.
"none" is the rate of false alarms.
"""

import argparse
import math
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.drift.data import Text
from benchmarks.drift.windows import LEVEL, SHIFTS, Sides, check, corpora, moved, quiet, shifted

Task = tuple[str, Callable[[int], Sides]]


def tasks(texts: dict[str, Sequence[Text]]) -> Iterator[Task]:
    """Changes by name, as functions from a number to the sides."""
    names = sorted(texts)

    def of(number: int) -> Sequence[Text]:
        return texts[names[number % len(names)]]

    def pair(number: int) -> tuple[Sequence[Text], str, str]:
        # Of every corpus the sources that are large enough, in turn.
        found = of(number)
        counts: dict[str, int] = {}
        for text in found:
            counts[text.source] = counts.get(text.source, 0) + 1
        large = sorted(source for source, count in counts.items() if count >= 700)
        own, other = random.Random(number).sample(large, 2)
        return found, own, other

    yield "none", lambda number: quiet(of(number), 1, number)
    for share in (1.0, 0.25):
        yield (
            f"{share:.0%} of 200 rows from another source",
            lambda number, share=share: moved(*pair(number), share, number, (500, 200)),  # type: ignore[misc]
        )
    for kind in SHIFTS:
        yield kind, lambda number, kind=kind: shifted(of(number), kind, number)  # type: ignore[misc]


def ours(sides: Sides) -> str:
    """The feature groups that differ; empty: no alarm."""
    p_values = check(sides).outcome.p_values
    return " ".join(sorted(name for name, p_value in p_values.items() if p_value <= LEVEL))


def evidently(sides: Sides) -> tuple[bool, bool]:
    """Its verdict, and whether any column drifted."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.descriptors import (
        NonLetterCharacterPercentage,
        SentenceCount,
        TextLength,
        WordCount,
    )
    from evidently.presets import DataDriftPreset

    kinds = [TextLength, WordCount, SentenceCount, NonLetterCharacterPercentage]
    before, now = (
        Dataset.from_pandas(
            pd.DataFrame({"prompt": [_prompt(row) for row in rows]}),
            DataDefinition(text_columns=["prompt"]),
            descriptors=[kind("prompt", alias=kind.__name__) for kind in kinds],
        )
        for rows in (sides.reference, sides.window)
    )
    with warnings.catch_warnings(action="ignore"):
        found = Report([DataDriftPreset()]).run(now, before).dict()
    counted = next(metric["value"] for metric in found["metrics"] if "count" in metric["value"])
    return counted["share"] >= 0.5, counted["count"] > 0


def river(sides: Sides) -> bool:
    """Whether ADWIN sees a change in the window."""
    from river.drift import ADWIN

    detector = ADWIN(delta=LEVEL)
    for row in sides.reference:
        detector.update(math.log1p(len(_prompt(row))))
    seen = False
    for row in sides.window:
        detector.update(math.log1p(len(_prompt(row))))
        seen = seen or detector.drift_detected
    return seen


def _prompt(row: dict) -> str:  # type: ignore[type-arg]
    if "prompt" in row:
        return str(row["prompt"])
    return next(turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "user")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=Path, help="folder `pages` of a checkout of tldr-pages")
    parser.add_argument("--windows", type=int, default=20, help="of each change")
    parser.add_argument("--held-back", action="store_true", help="texts not looked at before")
    parser.add_argument("--only", choices=["own"], help="leave out the peers")
    options = parser.parse_args()
    texts = corpora(options.pages, held_back=options.held_back)
    print("| change | windows | ours | named | Evidently | any | river | s: ours, Evidently |")
    print("|---|---:|---:|---|---:|---:|---:|---|")
    for name, draw in tasks(texts):
        found: list[str] = []
        peers: list[tuple[bool, ...]] = []
        seconds = [0.0, 0.0]
        for number in tqdm(range(options.windows), desc=name, file=sys.stderr, disable=None):
            sides = draw(number)
            started = time.process_time()
            found.append(ours(sides))
            seconds[0] += time.process_time() - started
            if options.only is None:
                started = time.process_time()
                peers.append((*evidently(sides), river(sides)))
                seconds[1] += time.process_time() - started
        print(_row(name, found, peers, seconds), flush=True)


def _row(name: str, found: list[str], peers: list[tuple[bool, ...]], seconds: list[float]) -> str:
    groups = sorted({group for names in found for group in names.split()})
    named = ", ".join(
        f"{group} {sum(group in names.split() for names in found) / len(found):.0%}"
        for group in groups
    )
    rates = [f"{sum(hits) / len(hits):.0%}" for hits in zip(*peers, strict=True)] or ["–"] * 3
    spent = ", ".join(f"{total / len(found):.2f}" for total in seconds)
    share = sum(map(bool, found)) / len(found)
    return f"| {name} | {len(found)} | {share:.0%} | {named} | {' | '.join(rates)} | {spent} |"


if __name__ == "__main__":
    main()
