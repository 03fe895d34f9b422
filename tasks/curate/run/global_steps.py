"""Decisions: the steps that see all records at once, on numbers instead of texts.

What each of them needs of a record (a key, a signature, what it has of a benchmark) the workers
have left in the parts; here it is decided which records go, where, and by what evidence.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.errors import BadInput
from tasks.curate.ledger import Evidence
from tasks.curate.run.shards import Parts
from tasks.curate.settings import Curate
from tasks.curate.steps.contamination import contamination
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.curate.steps.duplicates import duplicates, facts, templates
from tasks.curate.steps.splits import split_leakage, splits
from tasks.curate.text import turn_texts
from tasks.curate.text.ngrams import Hashes, Positions
from tasks.records import Record
from tasks.rendering.markdown import visible

MIX = "mix"
log = logging.getLogger(__name__)

DUPLICATE, NEAR_DUPLICATE, CONTAMINATED, LEAKS_SPLIT, SURPLUS = range(10, 15)
"""Verdicts beside the splits' own numbers."""
REASONS = {
    DUPLICATE: (duplicates.STEP, "duplicate"),
    NEAR_DUPLICATE: (duplicates.STEP, "near_duplicate"),
    CONTAMINATED: (contamination.STEP, "contaminated"),
    LEAKS_SPLIT: (splits.STEP, split_leakage.REASON),
    SURPLUS: (MIX, "replay_surplus"),
}
_UNDECIDED = -1
_TOLD = 20_000  # pairs whose texts are read at once


@dataclass(slots=True)
class Decided:
    """What becomes of each record.

    Attributes:
        verdict: (records,) a split's number, or one of `REASONS`.
        kept: (records,) number of the record that stands for a duplicate; else its own.
        similarity: (records,) of a duplicate to that record.
        frames: word 5-grams of the templates that records fill, sorted.
        evidence: of contaminated and leaking records.
        funnel: name of each step, records before and after it.
    """

    verdict: npt.NDArray[np.int8]
    kept: Positions
    similarity: npt.NDArray[np.float32]
    frames: duplicates.Numbers = field(default_factory=lambda: np.empty(0, np.uint32))
    evidence: dict[int, Evidence] = field(default_factory=dict)
    funnel: list[tuple[str, int, int]] = field(default_factory=list)

    def left(self) -> Positions:
        """Numbers of the records that nothing has dropped so far."""
        return np.flatnonzero(self.verdict < min(REASONS))

    def drop(self, numbers: Any, reason: int) -> None:
        """Drop these records."""
        self.verdict[numbers] = reason

    def passed(self, step: str, before: int) -> None:
        """Enter a step into the funnel."""
        after = len(self.left())
        self.funnel.append((step, before, after))
        log.info("%s: %d of %d records go on", step, after, before)


def decide(parts: Parts, index: ContaminationIndex, settings: Curate) -> Decided:
    """Deduplicate, decontaminate, split and mix.

    Raises:
        BadInput: what is left is one group, so nothing is left to validate on.
    """
    count = parts.total
    decided = Decided(
        np.full(count, _UNDECIDED, np.int8), np.arange(count), np.ones(count, np.float32)
    )
    replay = parts.column("replay")
    _deduplicate(parts, replay, settings, decided)
    before = len(decided.left())
    _decontaminate(parts, index, decided)
    decided.drop(sorted(decided.evidence), CONTAMINATED)
    decided.passed(contamination.STEP, before)
    if len(decided.left()):
        _split(parts, replay, settings, decided)
        _mix(parts, replay, settings, decided)
    return decided


def _deduplicate(
    parts: Parts, replay: npt.NDArray[np.bool_], settings: Curate, decided: Decided
) -> None:
    """Exact, then near."""
    before = parts.total

    def sort_key(numbers: Positions) -> list[tuple[bool, str, int]]:
        # Numbers follow source and line.
        ids = parts.ids(numbers)
        return list(zip(replay[numbers].tolist(), ids, numbers.tolist(), strict=True))

    keys = parts.column("keys")
    groups = list(duplicates.same_content(keys))
    members = np.unique(np.concatenate([np.empty(0, np.int64), *groups]))
    rank = dict(zip(members.tolist(), sort_key(members), strict=True))
    for group in groups:
        first = min(group.tolist(), key=rank.__getitem__)
        decided.drop(group[group != first], DUPLICATE)
        decided.kept[group] = first
    decided.passed(duplicates.STEP, before)
    left = decided.left()
    decided.frames = _frames(parts, left, keys)
    if settings.duplicates.similarity is None:
        return
    sizes = np.concatenate([part.sets("shingles").sizes() for part in parts])
    candidates = left[sizes[left] >= duplicates.FEWEST_SHINGLES]
    compared = duplicates.Comparison(
        number=parts.total,
        band=parts.band,
        shingles=lambda numbers: parts.lists("shingles", numbers),
        words=lambda numbers: parts.lists("words", numbers),
        answers=lambda numbers: parts.sets("answers", numbers),
        structures=parts.column("structure"),
        sort_key=sort_key,
        contradict=lambda pairs, filled: _tell(
            parts, pairs, lambda one, other, i: facts.contradict(one, other, bool(filled[i]))
        ),
        frames=decided.frames,
        similarity=settings.duplicates.similarity,
    )
    clusters = duplicates.near_duplicates(compared, candidates)
    gone = np.flatnonzero(clusters.kept != np.arange(parts.total))
    before = len(left)
    decided.drop(gone, NEAR_DUPLICATE)
    decided.kept[gone] = clusters.kept[gone]
    decided.similarity[gone] = clusters.similarity[gone]
    decided.passed("near-duplicates", before)


def _frames(parts: Parts, left: Positions, keys: Hashes) -> duplicates.Numbers:
    """5-grams of the templates that records fill; the parts' bands are made without them."""

    def band(which: int) -> duplicates.Numbers:
        return parts.band(which) if which < duplicates.BANDS else parts.first("shingles")

    found = templates.frames(
        left,
        band,
        lambda numbers: parts.lists("shingles", numbers),
        lambda numbers: parts.lists("words", numbers),
        keys[:, 0],
    )
    if len(found):
        log.info("deduplicate: %d word 5-grams are of templates", len(found))
        for part in parts:
            bands = duplicates.bands_without(part.sets("shingles"), found, part.column("bands"))
            np.save(part.folder / "bands.npy", bands)
    return found


def _tell(
    parts: Parts, pairs: Positions, ask: Callable[[facts.Facts, facts.Facts, int], bool]
) -> npt.NDArray[np.bool_]:
    """`ask` of what the records of these pairs (2, pairs) tell, and of the pair's number."""
    found = np.zeros(pairs.shape[1], dtype=bool)
    for begin in range(0, len(found), _TOLD):
        some = pairs[:, begin : begin + _TOLD]
        told = {number: _told(record) for number, record in parts.records(np.unique(some))}
        for number, (one, other) in enumerate(some.T.tolist(), begin):
            found[number] = ask(told[one], told[other], number)
    return found


def _told(record: Record) -> facts.Facts:
    texts = turn_texts.turn_texts(record)
    if len(texts) < 2:
        return facts.Facts.of(texts, "", "")
    asked = turn_texts.user_turns(record)
    last = texts[asked[-1]] if asked else ""
    return facts.Facts.of(texts, last, turn_texts.learned_text(record))


def _decontaminate(parts: Parts, index: ContaminationIndex, decided: Decided) -> None:
    """Evidence of each record that holds a benchmark record; a shared text is told once."""
    words = sum((part.words() for part in parts), start=np.zeros(1, np.int64))
    found = index.decide(_overlaps(parts, decided), words)
    shared = Counter(of_record.overlap.origin for of_record in found.values())
    told = {0}
    for number, record in parts.records(np.array(sorted(found), dtype=np.int64)):
        origin = found[number].overlap.origin
        count = shared[origin] if origin else 1
        evidence = index.evidence(record, found[number], count)
        decided.evidence[number] = evidence
        if count > 1 and origin not in told:
            told.add(origin)
            log.warning(
                "%d records have the same %s, which holds a benchmark record (%s:%d): take that "
                "out of it, or all of them are dropped",
                count,
                evidence["place"],
                visible(evidence["benchmark"]),
                evidence["benchmark_line"],
            )


def _overlaps(parts: Parts, decided: Decided) -> dict[int, list[Overlap]]:
    found: dict[int, list[Overlap]] = {}
    for part in parts:
        for number, overlaps in part.overlaps().items():
            if decided.verdict[number] == _UNDECIDED:
                found[number] = overlaps
    return found


def _split(
    parts: Parts,
    replay: npt.NDArray[np.bool_],
    settings: Curate,
    decided: Decided,
) -> None:
    left = decided.left()
    before = len(left)
    # General data is for training only: what is chosen and tested is the task.
    decided.verdict[left[replay[left]]] = splits.TRAIN
    own = left[~replay[left]]
    positions, times = parts.column("position")[own], parts.column("time_split")[own]
    decided.verdict[own] = splits.assign_splits(positions, times, settings.splits)
    if settings.splits.max_overlap is not None:
        _protect(parts, settings.splits.max_overlap, decided)
    decided.passed(splits.STEP, before)


def _protect(parts: Parts, share: float, decided: Decided) -> None:
    """Drop what gives away a test record, then what of training gives away a validation record."""
    training, validation, test = (
        np.flatnonzero(decided.verdict == number) for number in range(len(splits.SPLITS))
    )

    def lacking(pairs: Positions) -> npt.NDArray[np.bool_]:
        return _tell(
            parts, pairs, lambda record, held_out, _: facts.lacks_own_content(record, held_out)
        )

    def leaks(records: Positions, held_out: Positions) -> list[split_leakage.Leak]:
        return split_leakage.leaks(parts, records, held_out, decided.frames, share, lacking)

    found = leaks(validation, test)
    validation = np.setdiff1d(validation, np.array([leak.record for leak in found], np.int64))
    held_out = np.sort(np.concatenate([validation, test]))
    of_training = leaks(training, held_out)
    if len(of_training) == len(training) or not len(validation):
        raise BadInput(
            "curate: every record of a split gives away a record of another: give records that "
            "belong together one `group`, or raise curate.splits.max_overlap"
        )
    found += of_training
    of_held_out = np.unique(np.array([leak.held_out for leak in found], np.int64))
    known = dict(zip(of_held_out.tolist(), identities(parts, of_held_out), strict=True))
    for leak in found:
        decided.evidence[leak.record] = {
            "split": splits.SPLITS[decided.verdict[leak.held_out]],
            **{f"held_out_{name}": value for name, value in known[leak.held_out].items()},
            "overlap": round(leak.share, 4),
            "ngram": duplicates.SHINGLE,
        }
    decided.drop([leak.record for leak in found], LEAKS_SPLIT)


def _mix(parts: Parts, replay: npt.NDArray[np.bool_], settings: Curate, decided: Decided) -> None:
    """Of general data keep so much that it is the share of training that is set, by hash."""
    if not replay.any():
        return
    before = len(decided.left())
    training = decided.verdict == splits.TRAIN
    task = int((training & ~replay).sum())
    wanted = round(task * settings.replay.share / (1 - settings.replay.share))
    general = np.flatnonzero(training & replay)
    by_hash = general[np.argsort(parts.column("keys")[general, 0], kind="stable")]
    decided.drop(by_hash[wanted:], SURPLUS)
    decided.passed(MIX, before)


def identities(parts: Parts, numbers: Positions) -> Iterator[dict[str, Any]]:
    """Id, source and line of these records (ascending numbers)."""
    for identity, (source, line) in zip(parts.ids(numbers), parts.places(numbers), strict=True):
        yield {"id": identity, "source": source, "line": line}
