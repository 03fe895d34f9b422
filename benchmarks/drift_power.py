"""How often the drift check raises a false alarm, and how small a shift it sees, beside its peers.

    python benchmarks/drift_power.py             # 8 minutes of rounds on all cores
    python benchmarks/drift_power.py --quick     # one round

Texts are first paragraphs of docstrings in installed packages, with the package's name taken out.
A run draws a reference from one package and a window from the same one, a share of which is
replaced by texts of another package ("wording") or cut to their first five words ("form"). All
tests see the same rows and work at a nominal level of 5%:

    ours               `tasks.drift.detect`, whole: the permutation test on both kinds of features
    Evidently text     its test of a text column (a classifier's AUC against a percentile)
    Evidently any      at least one of its text descriptors drifted (Kolmogorov–Smirnov)
    Evidently dataset  its default verdict: half of the columns, text and descriptors, drifted
    K-S Bonferroni     at least one descriptor by K-S at 5% divided by their number

Evidently's functions are called without its page around them: same verdicts, no rendering. What
they spend most time on, the AUC of random guesses, is computed once for each pair of sizes.
Writes `benchmarks/results/drift_power.md`.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: threads would only compete

import argparse
import ast
import hashlib
import importlib.util
import json
import platform
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from tasks.core import files
from tasks.drift import detect
from tasks.settings import Settings

PAIRS = [
    ("pandas", "sklearn"),
    ("scipy", "statsmodels"),
    ("networkx", "sympy"),
    ("mlflow", "prefect"),
    ("numpy", "sqlalchemy"),
]
SIZES = [(500, 200), (200, 50)]
SHARES = [0.1, 0.25, 0.5]
LEVEL = 0.05
NULLS_A_ROUND = 3
TESTS = ["ours", "Evidently text", "Evidently any", "Evidently dataset", "K-S Bonferroni"]
SETTINGS = Settings.model_validate({"drift": {"alpha": LEVEL, "permutations": 500}})
RESULTS = Path(__file__).parent / "results" / "drift_power.md"


@dataclass(frozen=True)
class Run:
    """One draw: which texts, how many, what is shifted and by how much, and its number."""

    source: str
    other: str
    sizes: tuple[int, int]
    kind: str
    share: float
    number: int


def package_texts(package: str, limit: int = 1500) -> list[str]:
    """Distinct first paragraphs of docstrings in a package, without the package's name."""
    spec = importlib.util.find_spec(package)
    root = Path(next(iter(spec.submodule_search_locations)))
    texts: dict[str, None] = {}
    for file in sorted(root.rglob("*.py"), key=lambda path: _hash(str(path.relative_to(root)))):
        if "test" in str(file.relative_to(root)):
            continue
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (found := ast.get_docstring(node)):
                text = re.sub(rf"(?i)\b{package}\b", "", found.split("\n\n")[0])
                if len(text) > 20:
                    texts[" ".join(text.split())] = None
        if len(texts) >= limit:
            break
    return list(texts)[:limit]


def one_round(number: int) -> Iterator[Run]:
    """All draws of one round: the null most often, for its rate is the smallest to estimate."""
    for sizes in SIZES:
        for source, other in PAIRS:
            for repeat in range(NULLS_A_ROUND):
                yield Run(source, other, sizes, "none", 0.0, number * NULLS_A_ROUND + repeat)
            for share in SHARES:
                yield Run(source, other, sizes, "wording", share, number)
            yield Run(source, other, sizes, "form", 0.25, number)


def measure(texts: dict[str, list[str]], run: Run) -> dict[str, float]:
    """Who raises the alarm on one draw, our p-value and our seconds."""
    seed = _hash(repr((run.source, run.sizes, run.kind, run.share, run.number)))
    drawn = random.Random(seed).sample(texts[run.source], sum(run.sizes))
    reference, current = drawn[: run.sizes[0]], drawn[run.sizes[0] :]
    moved = round(run.share * len(current))
    if run.kind == "wording":
        current[:moved] = random.Random(seed).sample(texts[run.other], moved)
    elif run.kind == "form":
        current[:moved] = [" ".join(text.split()[:5]) for text in current[:moved]]
    started = time.perf_counter()
    p_value = _ours(reference, current)
    seconds = time.perf_counter() - started
    return {"ours": p_value <= LEVEL, **_peers(reference, current), "p": p_value, "s": seconds}


def _ours(reference: list[str], current: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, rows in (("reference", reference), ("current", current)):
            path = Path(folder) / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in rows))
            paths.append(path)
        return detect(*paths, SETTINGS).p_value


def _peers(reference: list[str], current: list[str]) -> dict[str, bool]:
    from evidently import DataDefinition, Dataset
    from evidently.descriptors import (
        NonLetterCharacterPercentage,
        SentenceCount,
        TextLength,
        WordCount,
    )
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType
    from scipy.stats import ks_2samp

    kinds = [TextLength, WordCount, SentenceCount, NonLetterCharacterPercentage]
    before, now = (
        Dataset.from_pandas(
            pd.DataFrame({"prompt": rows}),
            DataDefinition(text_columns=["prompt"]),
            descriptors=[kind("prompt", alias=kind.__name__) for kind in kinds],
        ).as_dataframe()
        for rows in (reference, current)
    )
    drifted, p_values = {}, []
    for name in before.columns:
        kind = ColumnType.Text if name == "prompt" else ColumnType.Numerical
        test = get_stattest(before[name], now[name], kind, None)
        drifted[name] = test(before[name], now[name], kind, None).drifted
        if name != "prompt":
            p_values.append(ks_2samp(before[name], now[name]).pvalue)
    text = bool(drifted.pop("prompt"))
    columns = len(drifted) + 1
    return {
        "Evidently text": text,
        "Evidently any": any(drifted.values()),
        "Evidently dataset": (sum(drifted.values()) + text) / columns >= 0.5,
        "K-S Bonferroni": min(p_values) <= LEVEL / len(p_values),
    }


def _start_process() -> None:
    """Let Evidently compute its AUC of random guesses once for each input: it seeds itself."""
    from evidently.legacy.utils import data_drift_utils

    warnings.simplefilter("ignore")
    compute = data_drift_utils.roc_auc_random_classifier_percentile
    known: dict[tuple[bytes, float], float] = {}

    def look_up(labels: pd.Series, p_value: float) -> float:
        key = labels.to_numpy().tobytes(), p_value
        if key not in known:
            known[key] = compute(labels, p_value=p_value)
        return known[key]

    data_drift_utils.roc_auc_random_classifier_percentile = look_up


def table(found: dict[Run, dict[str, float]]) -> str:
    """The figures as Markdown: false alarms, power by shift and size, power by pair of texts."""
    lines = ["## False alarms (nominal 5%)", ""]
    lines += _heading("reference + window")
    for sizes in SIZES:
        rows = [got for run, got in found.items() if run.sizes == sizes and run.kind == "none"]
        lines.append(_row(f"{sizes[0]} + {sizes[1]}", rows, interval=True))
    nulls = np.array([got["p"] for run, got in found.items() if run.kind == "none"])
    lines += [
        "",
        f"Our p-values over these {len(nulls)} runs: "
        + ", ".join(
            f"{100 * np.mean(nulls <= level):.1f}% at or below {level:g}"
            for level in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75)
        )
        + ".",
        "",
        "## Power",
        "",
    ]
    lines += _heading("reference + window, shift")
    for sizes in SIZES:
        for kind, share in [*(("wording", share) for share in SHARES), ("form", 0.25)]:
            rows = [
                got
                for run, got in found.items()
                if (run.sizes, run.kind, run.share) == (sizes, kind, share)
            ]
            lines.append(_row(f"{sizes[0]} + {sizes[1]}, {share:.0%} {kind}", rows))
    lines += ["", f"## Power by pair of texts ({SIZES[0][0]} + {SIZES[0][1]}, 25% wording)", ""]
    lines += _heading("reference → intruder")
    for pair in PAIRS:
        rows = [
            got
            for run, got in found.items()
            if (run.source, run.other) == pair
            and (run.sizes, run.kind, run.share) == (SIZES[0], "wording", 0.25)
        ]
        lines.append(_row(" → ".join(pair), rows))
    return "\n".join(lines)


def page(found: dict[Run, dict[str, float]], rounds: int) -> str:
    """The whole result as Markdown: how it was measured, then the tables."""
    seconds = np.median([got["s"] for got in found.values()])
    return (
        "# False alarms and power of the drift check\n\n"
        f"`python benchmarks/drift_power.py`: {rounds} rounds, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, Evidently "
        f"{version('evidently')}, scikit-learn {version('scikit-learn')}. The script's first lines "
        "say what each column is; in brackets the 95% Wilson interval.\n\n"
        f"{table(found)}\n\nOur median seconds a run, one process a core: {seconds:.2f}.\n"
    )


def _heading(first: str) -> list[str]:
    return [f"| {first} | runs | {' | '.join(TESTS)} |", "|---|" + "---:|" * (len(TESTS) + 1)]


def _row(name: str, rows: list[dict[str, float]], interval: bool = False) -> str:
    cells = []
    for test in TESTS:
        hits, runs = sum(bool(row[test]) for row in rows), len(rows)
        low, high = _wilson(hits, runs)
        cell = f"{hits / runs:.1%}" if interval else f"{hits / runs:.0%}"
        cells.append(f"{cell} ({low:.1%}–{high:.1%})" if interval else cell)
    return f"| {name} | {len(rows)} | {' | '.join(cells)} |"


def _wilson(hits: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    centre = (hits + z**2 / 2) / (runs + z**2)
    half = z / (runs + z**2) * (hits * (runs - hits) / runs + z**2 / 4) ** 0.5
    return max(centre - half, 0), min(centre + half, 1)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round, nothing is written")
    parser.add_argument("--minutes", type=float, default=8, help="start no round after so long")
    options = parser.parse_args()

    started = time.monotonic()
    names = sorted({name for pair in PAIRS for name in pair})
    texts = {name: package_texts(name) for name in tqdm(names, desc="texts", file=sys.stderr)}
    found: dict[Run, dict[str, float]] = {}
    rounds, longest = 0, 0.0
    with ProcessPoolExecutor(os.cpu_count(), initializer=_start_process) as pool:
        while True:
            begun = time.monotonic()
            runs = list(one_round(rounds))
            done = pool.map(partial(measure, texts), runs, chunksize=5)
            title = f"round {rounds + 1}"
            found |= zip(
                runs, tqdm(done, total=len(runs), desc=title, file=sys.stderr), strict=True
            )
            rounds += 1
            if not options.quick:  # after every round: a run that is stopped leaves its figures
                files.write_text(RESULTS, page(found, rounds))
            longest = max(longest, time.monotonic() - begun)
            if options.quick or time.monotonic() - started + longest > options.minutes * 60:
                break
    print(page(found, rounds))


if __name__ == "__main__":
    main()
