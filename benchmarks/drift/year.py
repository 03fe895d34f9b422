"""False alarms in a year of windows beside the stated number, and how soon a drift is found.

    python -m benchmarks.drift.year

Texts are docstrings of packages that the check was not made with; a group is a module, and no group
is drawn twice. A whole year of 8,760 windows would take an hour for one observation, so the false
alarms are counted over many short years of 16 windows at `yearly_alpha` 0.3, each with a reference
of its own: the method is the same, and a share of 0.3 can be told from another. Delays are measured
with the defaults, from the 25th window after a promotion on, where the threshold of one window is
2e-5.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drift.data import Text, docstrings
from tasks.drift import Look, ScaleLook, look
from tasks.drift.spending import released, scale_shares
from tasks.settings import Settings

QUIET = ("networkx", "statsmodels", "mlflow", "optuna", "prefect", "ray")
OTHER = ("sympy", "torch")
REFERENCE_GROUPS, WINDOW_ROWS = 100, 60
BEFORE, MOST = 24, 24
SHIFTS = {"full": 1.0, "half": 0.5, "quarter": 0.25, "tenth": 0.1}
SLOW = 0.02
"""Share by which a slow shift grows with each window."""


@dataclass
class Deck:
    """Groups of texts in a random order, each drawn once."""

    groups: list[list[Text]]

    def draw(self, rows: int) -> list[Text]:
        """Whole groups, until there are at least so many rows or no group is left."""
        drawn: list[Text] = []
        while len(drawn) < rows and self.groups:
            drawn += self.groups.pop()
        return drawn


@dataclass(frozen=True)
class Traffic:
    """Groups of quiet texts and of others, in a folder to write windows to."""

    quiet: list[list[Text]]
    other: list[list[Text]]
    folder: Path

    def begin(self, seed: str) -> tuple[Path, Deck, Deck]:
        """A reference, and what is left to draw windows from."""
        draws = random.Random(seed)
        quiet = draws.sample(self.quiet, len(self.quiet))
        known = [text for group in quiet[:REFERENCE_GROUPS] for text in group]
        other = draws.sample(self.other, len(self.other))
        return self.write("reference", known), Deck(quiet[REFERENCE_GROUPS:]), Deck(other)

    def write(self, name: str, texts: Sequence[Text]) -> Path:
        """A file of records."""
        path = self.folder / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for text in texts:
                row = {"prompt": text.prompt, "completion": text.answer, "group": text.group}
                file.write(json.dumps(row) + "\n")
        return path


def by_group(texts: Sequence[Text], most: int = 4) -> list[list[Text]]:
    """The texts of each module, at most `most` of them."""
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.group, []).append(text)
    return [group[:most] for _, group in sorted(groups.items())]


def false_alarms(traffic: Traffic, years: int, windows: int, alpha: float) -> tuple[int, int]:
    """Years with an alarm, and alarms in all."""
    settings = Settings.model_validate(
        {"drift": {"yearly_alpha": alpha, "yearly_windows": windows, "permutations": 100}}
    )
    alarmed = alarms = 0
    for year in range(years):
        reference, deck, _ = traffic.begin(f"quiet-{year}")
        paths: list[Path] = []
        history: list[Look] = []
        for number in range(windows):
            paths.append(traffic.write(f"w{number}", deck.draw(WINDOW_ROWS)))
            history.append(look(reference, paths, history, settings).brief())
        found = sum(past.status == "drift" for past in history)
        alarmed, alarms = alarmed + bool(found), alarms + found
    return alarmed, alarms


def delay(traffic: Traffic, share: float | None, repeat: int) -> int | None:
    """Windows from the beginning of a shift to its alarm; None: not within `MOST`.

    Args:
        traffic: what windows are drawn from.
        share: of the rows of a window that are of another package; None: more with each window.
        repeat: number of the draw.
    """
    settings = Settings()
    reference, deck, other = traffic.begin(f"shift-{repeat}")
    paths = [traffic.write(f"w{number}", deck.draw(WINDOW_ROWS)) for number in range(BEFORE)]
    history = quiet_past(paths, settings)
    for age in range(1, MOST + 1):
        shifted = round(WINDOW_ROWS * (min(1.0, SLOW * age) if share is None else share))
        texts = deck.draw(WINDOW_ROWS - shifted) + other.draw(shifted)
        paths.append(traffic.write(f"w{len(paths)}", texts))
        history.append(look(reference, paths, history, settings).brief())
        if history[-1].status == "drift":
            return age
    return None


def quiet_past(paths: Sequence[Path], settings: Settings) -> list[Look]:
    """Looks at quiet windows that are taken as read: they spent what they would have spent."""
    history: list[Look] = []
    options, spent = settings.drift, 0.0
    for number, path in enumerate(paths, 1):
        scales = []
        for scale, share in enumerate(scale_shares(options.longest_pool)):
            step = 2**scale
            if number % step:
                break
            alpha = share * (released(number, options) - released(number - step, options))
            first = number - step + 1
            scales.append(
                ScaleLook(
                    scale=scale, windows=step, first=first, p_value=0.5, alpha=alpha, drift=False
                )
            )
        spent += sum(scale.alpha for scale in scales)
        history.append(
            Look(
                number=number,
                window=str(path),
                rows=WINDOW_ROWS,
                status="quiet",
                why="",
                scales=tuple(scales),
                alpha_spent=spent,
                alpha_released=released(number, options),
                result=None,
            )
        )
    return history


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=12)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=0.3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    began = time.process_time()
    texts = docstrings([*QUIET, *OTHER], most=1500)
    with tempfile.TemporaryDirectory() as folder:
        traffic = Traffic(
            by_group([text for text in texts if text.source in QUIET]),
            by_group([text for text in texts if text.source in OTHER]),
            Path(folder),
        )
        print(f"{len(traffic.quiet)} quiet groups, {len(traffic.other)} others", flush=True)
        alarmed, alarms = false_alarms(traffic, options.years, options.windows, options.alpha)
        print(
            f"quiet: {alarmed} of {options.years} years of {options.windows} windows with an alarm "
            f"({alarms} alarms); stated: at most {options.alpha:.0%} of them "
            f"[{time.process_time() - began:.0f} CPU-s]",
            flush=True,
        )
        for name, share in {**SHIFTS, f"slow ({SLOW:.0%} more each window)": None}.items():
            delays = [delay(traffic, share, repeat) for repeat in range(options.repeats)]
            found = [age for age in delays if age is not None]
            middle = statistics.median(found) if found else "-"
            print(
                f"{name}: found {len(found)} of {len(delays)} within {MOST} windows of "
                f"{WINDOW_ROWS} rows; alarm at window {middle} of the shift (each: {delays}) "
                f"[{time.process_time() - began:.0f} CPU-s]",
                flush=True,
            )


if __name__ == "__main__":
    main()
