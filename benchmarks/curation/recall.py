"""Recall and precision of `perpetune curate` on a corpus with planted truth.

    python -m benchmarks.curation.recall --records 50000 --kind prose --seed 1
    python -m benchmarks.curation.recall --kind pairs --size 220 \\
        --set curate.duplicates.similarity=0.8

Plants a corpus (`planted`), runs the command on it as a user would, and prints what was found of
each plant, what was dropped wrongly, and the similarities behind it. Only
`curate.quality.max_tokens` is raised above its default, so that long and disguised texts reach the
steps that they test. Exits with 1 where a record is unaccounted for.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.curation.command import curate_command
from benchmarks.curation.planted import plant
from benchmarks.curation.scoring import score


def main() -> int:
    """Plant, curate, compare, print."""
    parser = argparse.ArgumentParser(description="Recall and precision on planted truth.")
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--kind", choices=["prose", "code", "pairs"], default="prose")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=900, help="mean characters of a record")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--threshold", type=float, default=0.7, help="curate.duplicates.similarity")
    parser.add_argument("--keep", type=Path, help="folder for the corpus and the outputs")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        folder = given.keep or Path(scratch)
        planted = plant(
            folder, records=given.records, kind=given.kind, seed=given.seed, size=given.size
        )
        settings = [f"curate.duplicates.similarity={given.threshold}", *given.set]
        out = folder / "curated"
        command = curate_command(planted.corpus, planted.benchmarks, out, settings)
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.stderr.write(done.stderr.decode(errors="replace")[-4000:])
            return done.returncode
        scores = score(planted.truth, out, given.threshold)
    if given.json:
        print(json.dumps(scores, indent=2, ensure_ascii=False))
    else:
        print(
            f"{given.records} records of {given.kind}, about {given.size} characters, seed "
            f"{given.seed}; near-duplicates from {given.threshold}; {seconds:.1f} s\n"
        )
        print(tables(scores))
    return 0 if scores["accounting"]["adds_up"] else 1


def tables(scores: dict[str, Any]) -> str:
    """The scores as Markdown."""
    found = [
        (f"{name}: {form}", line["planted"], line["elsewhere"], line["found"], line["recall"])
        for name, key in (
            ("exact", "exact"),
            ("near, Jaccard", "near"),
            ("near, edit", "near_by_edit"),
            ("cluster", "cluster"),
            ("leak", "leak"),
            ("bad line", "bad"),
        )
        for form, line in scores[key].items()
    ]
    stayed = [
        (plant, line["planted"], line["elsewhere"], line["dropped_wrongly"], line["reasons"])
        for plant, line in scores["negative"].items()
    ]
    precision = [
        (reason, line["dropped"], line["precision"], line.get("wrong", ""))
        for reason, line in scores["precision"].items()
        if reason != "other_reasons"
    ]
    accounting = scores["accounting"]
    parts = [
        _table(["planted", "records", "dropped elsewhere", "found", "recall"], found),
        _table(["had to stay", "records", "dropped elsewhere", "dropped wrongly", ""], stayed),
        _table(["reason", "dropped", "precision", "wrong"], precision),
        f"{accounting['in']} lines in, {accounting['kept']} kept, {accounting['dropped']} dropped"
        + ("." if accounting["adds_up"] else ": THEY DO NOT ADD UP.")
        + f" Other reasons: {scores['precision']['other_reasons'] or 'none'}.",
    ]
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value or ("0" if value == 0 else ""))


if __name__ == "__main__":
    sys.exit(main())
