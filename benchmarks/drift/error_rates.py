"""How often does the drift check alarm where nothing changed?

    python -m benchmarks.drift.error_rates --pages DIR/pages     # DIR: a checkout of tldr-pages
    python -m benchmarks.drift.error_rates --held-back --windows 500

Reference and window are drawn from one distribution: independent rows, whole groups of 2, 3 and 5
rows (commands of one page, docstrings of one module, packages of one source package), and near
copies of requests that name no group.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from benchmarks.drift.windows import LEVEL, check, corpora, quiet

FORMS = [(1, False), (2, False), (3, False), (5, False), (3, True), (5, True)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=Path, help="folder `pages` of a checkout of tldr-pages")
    parser.add_argument("--windows", type=int, default=60, help="of each form")
    parser.add_argument("--held-back", action="store_true", help="texts not looked at before")
    parser.add_argument("--minutes", type=float, default=30, help="start no window after so long")
    options = parser.parse_args()
    texts = corpora(options.pages, held_back=options.held_back)
    names = sorted(texts)
    started = time.monotonic()
    for in_a_group, copies in FORMS:
        alarms, done = Counter[str](), Counter[str]()
        by_test: Counter[str] = Counter()
        for number in tqdm(range(options.windows), file=sys.stderr, disable=None):
            if time.monotonic() - started > 60 * options.minutes:
                break
            name = names[number % len(names)]
            outcome = check(quiet(texts[name], in_a_group, number, copies=copies)).outcome
            done[name] += 1
            if outcome.p_value <= LEVEL:
                alarms[name] += 1
                by_test.update(name for name, p in outcome.p_values.items() if p <= LEVEL)
        form = f"{in_a_group} near copies" if copies else f"{in_a_group} rows a group"
        total = sum(done.values())
        parts = ", ".join(f"{name} {alarms[name]}/{done[name]}" for name in names)
        rate = sum(alarms.values()) / max(total, 1)
        print(f"{form}: {rate:.3f} of {total} ({parts}) {dict(by_test)}", flush=True)


if __name__ == "__main__":
    main()
