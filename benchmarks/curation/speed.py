"""How fast curation is, beside its peers: one core, alternating rounds, medians.

    python -m benchmarks.curation.speed --records 50000 --peer-python PYTHON
    python -m benchmarks.curation.speed --records 1000000 --only near
    python -m benchmarks.curation.speed --records 1000000 --only command --cores 2

Three questions, each over the same planted corpus:

near           texts in memory → which are near-duplicates. Ours verifies candidates by their exact
               similarity and joins them into clusters; rensa, driven by the NumPy kernel of
               `shingles`, flags records that share a band of their signatures, unverified: with
               the bands that are usual for 0.7, and with as many as recall at 0.7 takes.
decontaminate  texts in memory → which are contaminated. Ours includes reading the benchmarks and
               building the index, datatrove (in a process of its own, by a Python that has it)
               does not, and does the first `--peer-records` records only: its speed does not
               depend on their number. For `--kind pairs` ours sees one text a record, too.
command        `perpetune curate` from start to end of its process, with all its steps and files,
               beside reading the same file and parsing its lines with orjson.

Beside each rate stands what it found of the planted truth: speed without recall is no result. What
is not installed is left out, and said.
"""

import os

# Before NumPy and the peers are loaded: one core means one thread.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from benchmarks.curation.command import curate_command
from benchmarks.curation.planted import Planted, plant, read_texts

Flags: TypeAlias = Sequence[bool] | Sequence[int]
QUESTIONS = ("near", "decontaminate", "command")
_BATCH = 1000
_PEER = Path(__file__).with_name("peer_datatrove.py")


# What is measured of ours: texts in, one flag a text out.


def ours_near(texts: Sequence[str]) -> Flags:
    """Flags of the texts that our near-duplicate detection drops."""
    import numpy as np

    from tasks.curate.settings import Curate
    from tasks.curate.steps.duplicates import (
        comparison,
        facts,
        near_duplicates,
        sets,
        signatures,
        templates,
    )
    from tasks.curate.steps.duplicates.facts import Facts
    from tasks.curate.text.ngrams import hash_words, mix

    found, said, bands = [], [], []
    for begin in range(0, len(texts), _BATCH):
        words = hash_words(texts[begin : begin + _BATCH])
        said.append(signatures.single_words(words))
        found.append(signatures.shingles(words))
        bands.append(signatures.bands(found[-1]))
    shingled, words_of = _joined(found), _joined(said)
    signatures = np.concatenate(bands, axis=1)
    columns = [*signatures, shingled.first()]
    candidates = np.flatnonzero(shingled.sizes() >= near_duplicates.FEWEST_SHINGLES)
    keys = mix(np.arange(len(texts), dtype=np.uint64))
    nothing = np.empty(0, dtype=np.uint32)

    def contradict(pairs: Any, filled: Any) -> Any:
        told = {i: Facts.of([texts[i]], "", "") for i in np.unique(pairs).tolist()}
        return np.array(
            [
                facts.contradict(told[i], told[j], of_template)
                for (i, j), of_template in zip(pairs.T.tolist(), filled.tolist(), strict=True)
            ],
            dtype=bool,
        )

    frames = templates.frames(candidates, columns.__getitem__, shingled.take, words_of.take, keys)
    if len(frames):
        columns = [*signatures.bands_without(shingled, frames, signatures)]
    compare_with = comparison.Comparison(
        number=len(texts),
        band=columns.__getitem__,
        shingles=shingled.take,
        words=words_of.take,
        answers=lambda n: sets.Sets(nothing, np.zeros(len(n) + 1, dtype=np.int64)),
        structures=np.zeros(len(texts), dtype=np.uint32),
        sort_key=lambda numbers: numbers.tolist(),
        contradict=contradict,
        frames=frames,
        similarity=Curate().duplicates.similarity or 1.0,
    )
    clusters = near_duplicates.find_near_duplicates(compare_with, candidates)
    flags: list[bool] = (clusters.kept != np.arange(len(texts))).tolist()
    return flags


def _joined(batches: Sequence[Any]) -> Any:
    """The `Sets` of all batches in one."""
    import numpy as np

    sizes = np.concatenate([one.sizes() for one in batches])
    values = np.concatenate([one.values for one in batches])
    return type(batches[0])(values, np.concatenate(([0], np.cumsum(sizes))))


def ours_decontaminate(texts: Sequence[str], benchmarks: Sequence[Path]) -> Flags:
    """Flags of the texts that our decontamination drops, with reading the benchmarks' files."""
    from tasks.curate.settings import Curate, Decontamination
    from tasks.curate.steps.contamination.benchmarks import read_benchmarks
    from tasks.curate.steps.contamination.contamination import ContaminationIndex
    from tasks.curate.steps.contamination.overlaps import Overlap
    from tasks.curate.text.turn_texts import TurnWords
    from tasks.records import Text

    known = read_benchmarks(list(map(str, benchmarks)), Curate())
    index = ContaminationIndex(known, Decontamination())
    overlaps: dict[int, list[Overlap]] = {}
    for begin in range(0, len(texts), _BATCH):
        batch = [
            Text(id=str(number), text=text, source="texts", line=number)
            for number, text in enumerate(texts[begin : begin + _BATCH], begin)
        ]
        of_batch = index.match(batch, TurnWords.of(batch))
        overlaps |= {begin + number: found for number, found in of_batch.items()}
    found_in = index.decide(overlaps)
    return [number in found_in for number in range(len(texts))]


# The peers.


def rensa_near(texts: Sequence[str], bands: int, rows: int) -> Flags:
    """Flags of the texts that share a band of MinHash signatures with another one."""
    import numpy as np
    from rensa import RMinHash, RMinHashLSH

    from benchmarks.curation.shingles import shingle_blocks

    hashes, offsets, begin = [], [np.zeros(1, dtype=np.uint64)], 0
    for of_block, borders in shingle_blocks(texts):
        hashes.append(of_block)
        offsets.append(borders[1:] + np.uint64(begin))
        begin += len(of_block)
    signatures = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(hashes), np.concatenate(offsets), bands * rows, 42
    )
    index = RMinHashLSH(0.7, bands * rows, bands)
    flags: list[bool] = index.query_duplicate_flags_matrix_one_shot(signatures)
    return flags


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who answers a question: `run` returns seconds, records done, and flags if any."""

    name: str
    run: Callable[[], tuple[float, int, Flags | None]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The corpus in memory. `ids` and `texts` belong together; bad lines are left out."""

    planted: Planted
    ids: list[str]
    texts: list[str]
    truth: list[dict[str, Any]]

    @classmethod
    def of(cls, planted: Planted) -> "Corpus":
        """Read a planted corpus."""
        rows = list(read_texts(planted.corpus))
        truth = [orjson.loads(line) for line in planted.truth.open("rb")]
        return cls(planted, [i for i, _ in rows], [t for _, t in rows], truth)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of curation beside its peers.")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--kind", choices=["prose", "code", "pairs"], default="prose")
    parser.add_argument("--size", type=int, default=900, help="mean characters of a record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--only", choices=QUESTIONS)
    parser.add_argument("--corpus", type=Path, help="a folder that `planted` wrote, to use again")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with datatrove")
    parser.add_argument("--peer-records", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    _take_cores(given.cores)
    questions = [given.only] if given.only else list(QUESTIONS)
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        planted = _planted(given, Path(scratch))
        corpus = Corpus.of(planted)
        contenders = {
            "near": lambda: [
                Contender("ours", lambda: _timed(ours_near, corpus.texts)),
                Contender("rensa, 14 bands of 8", lambda: _timed(rensa_near, corpus.texts, 14, 8)),
                Contender("rensa, 25 bands of 5", lambda: _timed(rensa_near, corpus.texts, 25, 5)),
            ],
            "decontaminate": lambda: [
                Contender(
                    "ours", lambda: _timed(ours_decontaminate, corpus.texts, planted.benchmarks)
                ),
                Contender(
                    "datatrove, regex words",
                    lambda: _datatrove(given.peer_python, given.peer_records, planted),
                ),
            ],
            "command": lambda: [
                Contender(
                    "perpetune curate",
                    lambda: _command(planted, Path(scratch) / "out", len(corpus.texts)),
                ),
                Contender("orjson.loads of each line", lambda: _parse(planted.corpus)),
                Contender("reading the file", lambda: _read(planted.corpus)),
            ],
        }
        size = planted.corpus.stat().st_size
        result: dict[str, Any] = {
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "cores": given.cores,
                "python": platform.python_version(),
            }
            | {name: _version(name) for name in ("numpy", "orjson", "rensa")},
            "corpus": orjson.loads(planted.plan.read_bytes()) | {"planted": None},
            "rounds": given.rounds,
        }
        for question in questions:
            result[question] = _race(
                question, contenders[question](), corpus, size / len(corpus.texts), given.rounds
            )
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result, questions)
    return 0


def _take_cores(count: int) -> None:
    """Stay on the first cores that we may use; children do, too."""
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("speed: this system cannot hold a process to a core; use Linux")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _planted(given: argparse.Namespace, scratch: Path) -> Planted:
    if given.corpus:
        folder = given.corpus
        benchmarks = sorted((folder / "benchmarks").glob("*.jsonl"))
        return Planted(
            folder / "corpus.jsonl", benchmarks, folder / "truth.jsonl", folder / "plan.json"
        )
    return plant(scratch, records=given.records, kind=given.kind, seed=given.seed, size=given.size)


# One round of each.


def _timed(work: Callable[..., Flags], *arguments: Any) -> tuple[float, int, Flags]:
    began = time.perf_counter()
    flags = work(*arguments)
    return time.perf_counter() - began, len(arguments[0]), flags


def _datatrove(python: str, records: int, planted: Planted) -> tuple[float, int, Flags]:
    command = [python, str(_PEER), str(planted.corpus), *map(str, planted.benchmarks)]
    done = subprocess.run(
        [*command, "--records", str(records)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ImportError(done.stderr.strip().splitlines()[-1])
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], len(answer["flags"]), answer["flags"]


def _command(planted: Planted, out: Path, records: int) -> tuple[float, int, None]:
    began = time.perf_counter()
    done = subprocess.run(
        curate_command(planted.corpus, planted.benchmarks, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return seconds, records, None


def _parse(path: Path) -> tuple[float, int, None]:
    count = 0
    began = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            count += 1
    return time.perf_counter() - began, count, None


def _read(path: Path) -> tuple[float, int, None]:
    with path.open("rb") as file:
        count = sum(1 for _ in file)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    return time.perf_counter() - began, count, None


# All rounds.


def _race(
    question: str,
    contenders: Sequence[Contender],
    corpus: Corpus,
    bytes_a_record: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """Medians of each contender that runs; who comes first changes from round to round."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    for number in range(rounds):
        for contender in contenders[:: -1 if number % 2 else 1]:
            if contender.name in absent:
                continue
            try:
                seconds, records, flags = contender.run()
            except ImportError as error:
                absent[contender.name] = str(error)
                continue
            rates[contender.name].append(records / seconds)
            if flags is not None and contender.name not in found:
                found[contender.name] = _recall(question, corpus, flags)
    first = rates[contenders[0].name]
    lines: list[dict[str, Any]] = []
    for contender in contenders:
        of_rounds = rates[contender.name]
        if not of_rounds:
            lines.append({"name": contender.name, "absent": absent[contender.name]})
            continue
        rate = statistics.median(of_rounds)
        lines.append(
            {
                "name": contender.name,
                "records_per_second": rate,
                "megabytes_per_second": rate * bytes_a_record / 1e6,
                "fastest": max(of_rounds),
                "slowest": min(of_rounds),
                "ours_is_faster_by": statistics.median(first) / rate if first else None,
                "found": found.get(contender.name, ""),
            }
        )
    return lines


def _recall(question: str, corpus: Corpus, flags: Flags) -> str:
    """What the flags say of the planted truth, among the records that were done."""
    flagged = {name for name, flag in zip(corpus.ids, flags, strict=False) if flag}
    done = set(corpus.ids[: len(flags)])
    if question == "near":
        groups = [
            (f"J {low}–{high}", [
                bool(flagged & {row["id"], row["of"]})
                for row in corpus.truth
                if row["plant"] == "near" and low <= row["jaccard"] < high
                and done >= {row["id"], row["of"]}
            ])
            for low, high in ((0.7, 0.8), (0.8, 0.9), (0.9, 1.01))
        ]  # fmt: skip
        right = {row[key] for row in corpus.truth for key in ("id", "of") if key in row}
    else:
        disguises = ("verbatim", "case", "punctuation", "embedded")
        unicode = ("compatible", "decomposed", "zero_width", "soft_hyphen", "homoglyph")
        groups = [
            (name, [
                row["id"] in flagged
                for row in corpus.truth
                if row["plant"] == "leak" and row["form"] in forms and row["id"] in done
            ])
            for name, forms in (
                ("verbatim", disguises), ("Unicode", unicode),
                ("partial", ("partial",)), ("substituted", ("substituted",)),
            )
        ]  # fmt: skip
        right = {row["id"] for row in corpus.truth if row["plant"] == "leak"}
    said = [f"{name} {sum(hits) / len(hits):.3f}" for name, hits in groups if hits]
    return ", ".join([*said, f"{len(flagged - right)} others flagged"])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _print(result: dict[str, Any], questions: Sequence[str]) -> None:
    corpus, machine = result["corpus"], result["machine"]
    print(
        f"{corpus['records']:,} records of {corpus['kind']}, {corpus['bytes'] / 1e6:,.1f} MB, seed "
        f"{corpus['seed']}; {machine['cores']} core(s) of {machine['processor']}; medians of "
        f"{result['rounds']} alternating rounds; "
        + ", ".join(f"{name} {machine[name]}" for name in ("python", "numpy", "orjson", "rensa"))
    )
    for question in questions:
        print(f"\n{question}\n")
        print("| | records/s | MB/s | slowest–fastest | ours is faster by | found |")
        print("|---|---|---|---|---|---|")
        for line in result[question]:
            if "absent" in line:
                print(f"| {line['name']} | left out: {line['absent']} | | | | |")
                continue
            ratio = line["ours_is_faster_by"]
            print(
                f"| {line['name']} | {line['records_per_second']:,.0f} "
                f"| {line['megabytes_per_second']:,.1f} "
                f"| {line['slowest']:,.0f}–{line['fastest']:,.0f} "
                f"| {'–' if ratio is None else f'{ratio:.3g} ×'} | {line['found']} |"
            )


if __name__ == "__main__":
    sys.exit(main())
