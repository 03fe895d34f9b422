"""What does a comparison of 10,000 with 10,000 rows cost, and does it find 5 % of 5,000 rows?

    python -m benchmarks.drift.cost [--rows 10000] [--pages DIR/pages]

Processor seconds of the features and of the verdict, the peak of the process's memory above what
its imports take, and a verdict at the level of one window in a year of hourly windows.
"""

import argparse
import random
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.drift import data
from benchmarks.drift.windows import SETTINGS, Sides, check, corpora
from tasks.drift.comparison import compare, pool
from tasks.drift.rows import rows_of
from tasks.records import Record, parse
from tasks.settings import Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000, help="of each side")
    parser.add_argument("--pages", type=Path, help="folder `pages` of a checkout of tldr-pages")
    options = parser.parse_args()
    texts = corpora(options.pages, held_back=False)
    check(_sides(texts, 200, 200, 0.0, 0))  # imports
    before = _memory()
    for rows in (options.rows,):
        _one(_sides(texts, rows, rows, 0.0, 1), SETTINGS, f"{rows} + {rows} rows, quiet", before)
        _one(_sides(texts, rows, rows, 0.05, 1), SETTINGS, f"{rows} + {rows} rows, 5 %", before)
    yearly = SETTINGS.replace(drift=SETTINGS.drift.replace(alpha=1.5e-6))
    _one(_sides(texts, 500, 200, 1.0, 2), yearly, "500 + 200 rows, alpha 1.5e-6", before)
    _one(_sides(texts, 5000, 200, 1.0, 2), yearly, "5000 + 200 rows, alpha 1.5e-6", before)
    found = [check(_sides(texts, 5000, 5000, 0.05, number)).outcome.p_value for number in range(5)]
    print(f"5 % of 5,000 rows: p = {', '.join(f'{p_value:.4f}' for p_value in found)}")


def _one(sides: Sides, settings: Settings, name: str, before: float) -> None:
    found = [rows_of(_records(side)) for side in (sides.reference, sides.window)]
    started = time.process_time()
    pooled = pool(found[0], found[1], settings)
    features = time.process_time() - started
    started = time.process_time()
    outcome = compare("reference", ~pooled.is_current, pooled, settings).outcome
    print(
        f"{name}: features {features:.1f} s, verdict {time.process_time() - started:.2f} s "
        f"({outcome.permutations} permutations), p = {outcome.p_value:.3g}, "
        f"peak +{_memory() - before:.0f} MB",
        flush=True,
    )


def _records(rows: list[data.Row]) -> list[Record]:
    found = [parse(row, "rows", number, labelled=False) for number, row in enumerate(rows, 1)]
    return [record for record in found if isinstance(record, Record)]


def _sides(
    texts: dict[str, list[data.Text]], reference: int, window: int, share: float, number: int
) -> Sides:
    """Docstrings of some packages, numbered where there are too few; a share of another's."""
    draws = random.Random(number)
    known = [text for text in texts["docstrings"] if text.source != "sqlalchemy"]
    new = data.of_source(texts["docstrings"], "sqlalchemy")
    chosen = [draws.choice(known) for _ in range(reference + window)]
    moved = [draws.choice(new) for _ in range(round(share * window))]
    order = [*chosen[: len(chosen) - len(moved)], *moved]
    numbered = [
        data.Text(text.source, text.group, _varied(text.prompt, draws), text.answer)
        for text in order
    ]
    return Sides(
        list(data.rows(numbered[:reference], grouped=False)),
        list(data.rows(numbered[reference:], grouped=False)),
    )


def _varied(prompt: str, draws: random.Random) -> str:
    """The prompt without some of its words: another text of the same kind."""
    words = prompt.split()
    kept = [word for word in words if draws.random() < 0.85]
    return " ".join(kept or words)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
