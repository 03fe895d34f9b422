"""Deduplicate: a record is not in the data already, or nearly."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.curate.ledger import Reason
from tasks.curate.run.shards import Columns, Shards
from tasks.curate.run.statuses import RecordStatus
from tasks.curate.step import GlobalRun, GlobalStep, KeptBatch, StepWorker, WorkerConfig
from tasks.curate.steps.duplicates import signatures, templates
from tasks.curate.steps.duplicates.comparison import Comparison
from tasks.curate.steps.duplicates.facts import contradict
from tasks.curate.steps.duplicates.near_duplicates import FEWEST_SHINGLES, find_near_duplicates
from tasks.curate.steps.duplicates.pairs import compare_facts
from tasks.curate.steps.duplicates.sets import Numbers
from tasks.curate.text.ngrams import Positions, Words

log = logging.getLogger(__name__)

_EVIDENCE = (
    ("kept_id", "the record that stays"),
    ("kept_source", "its file"),
    ("kept_line", "its line"),
    ("similarity", "Jaccard similarity of both; 1: the same"),
)


class ExactDuplicates(GlobalStep):
    """Of records that say the same, the one with the smallest id stays."""

    name = title = "deduplicate"
    summary = "Of records that say the same, the one with the smallest id stays."
    gives = ("keys", "bands", "structure", "shingles", "words", "answers")
    needs = ("keys", "replay", "bands", "shingles", "words")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """That another record says the same."""
        return (
            Reason(
                "duplicate",
                "Another record says the same; the one with the smallest id stays.",
                _EVIDENCE,
                remedy="Case, white space and what is masked do not count: keep a kind of "
                "personal data that tells records apart.",
            ),
        )

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker."""
        del config
        return _Fingerprints()

    def decide(self, run: GlobalRun) -> None:
        """Drop equal records; find the templates that the others fill."""
        statuses = run.statuses
        keys = run.shards.column("keys")
        groups = list(signatures.same_content(keys))
        members = np.unique(np.concatenate([np.empty(0, np.int64), *groups]))
        rank = dict(zip(members.tolist(), _sort_keys(run, members), strict=True))
        for group in groups:
            first = min(group.tolist(), key=rank.__getitem__)
            statuses.set(group[group != first], RecordStatus.DUPLICATE)
            statuses.kept[group] = first
        statuses.template_shingles = _template_shingles(run.shards, statuses.remaining(), keys)


class NearDuplicates(GlobalStep):
    """Of records that say nearly the same, the one with the smallest id stays."""

    name = ExactDuplicates.name
    title = "near-duplicates"
    summary = "Of records that say nearly the same, the one with the smallest id stays."
    needs = ("bands", "structure", "shingles", "words", "answers", "replay")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """That another record says nearly the same."""
        return (
            Reason(
                "near_duplicate",
                "Another record says nearly the same; the one with the smallest id stays.",
                _EVIDENCE,
                ("curate.duplicates.similarity",),
                "Raise the setting; null: only records that say the same are duplicates.",
            ),
        )

    def applies(self, run: GlobalRun) -> bool:
        """Whether near-duplicates are looked for."""
        return run.settings.duplicates.similarity is not None

    def decide(self, run: GlobalRun) -> None:
        """Drop all records of a cluster but one."""
        shards, statuses = run.shards, run.statuses
        similarity = run.settings.duplicates.similarity
        assert similarity is not None
        frames = statuses.template_shingles
        remaining = statuses.remaining()
        sizes = np.concatenate([shard.sets("shingles").sizes() for shard in shards])
        comparison = Comparison(
            number=shards.total,
            band=_own_bands(shards, frames, run.scratch),
            shingles=lambda numbers: shards.lists("shingles", numbers),
            words=lambda numbers: shards.lists("words", numbers),
            answers=lambda numbers: shards.sets("answers", numbers),
            structures=shards.column("structure"),
            sort_key=lambda numbers: _sort_keys(run, numbers),
            contradict=lambda pairs, filled: compare_facts(
                shards, pairs, lambda one, other, i: contradict(one, other, bool(filled[i]))
            ),
            frames=frames,
            similarity=similarity,
        )
        candidates = remaining[sizes[remaining] >= FEWEST_SHINGLES]
        clusters = find_near_duplicates(comparison, candidates)
        dropped = np.flatnonzero(clusters.kept != np.arange(shards.total))
        statuses.set(dropped, RecordStatus.NEAR_DUPLICATE)
        statuses.kept[dropped] = clusters.kept[dropped]
        statuses.similarity[dropped] = clusters.similarity[dropped]


class _Fingerprints(StepWorker):
    def columns(self, kept: KeptBatch) -> Columns:
        records, words = kept.records, kept.words.records
        keys = b"".join(signatures.content_key(record) for record in records)
        shingles = signatures.shingles(words)
        chats = np.array([record.kind == "chat" for record in records], dtype=bool)
        return Columns(
            arrays={
                "keys": np.frombuffer(keys, dtype=np.uint64).reshape(-1, 2),
                "bands": signatures.bands(shingles),
                "structure": np.array(
                    [signatures.structure_hash(record) for record in records], np.uint32
                ),
            },
            sets={
                "shingles": shingles,
                "words": signatures.single_words(words),
                "answers": signatures.single_words(_of_chats(kept.answers, chats)),
            },
        )


def _of_chats(answers: Words, chats: npt.NDArray[np.bool_]) -> Words:
    """The words of the chats' answers; a text is no answer."""
    lengths = np.diff(answers.starts)
    starts = np.concatenate(([0], np.cumsum(np.where(chats, lengths, 0))))
    return Words(answers.hashes[np.repeat(chats, lengths)], starts)


def _sort_keys(run: GlobalRun, numbers: Positions) -> list[tuple[bool, str, int]]:
    """What these records are ordered by: task data first, then by id, then by source and line."""
    ids = run.shards.ids(numbers)
    return list(zip(run.replay[numbers].tolist(), ids, numbers.tolist(), strict=True))


def _template_shingles(
    shards: Shards, remaining: Positions, keys: npt.NDArray[np.uint64]
) -> Numbers:
    """Word 5-grams of the templates that these records fill, sorted."""

    def band(which: int) -> Numbers:
        return shards.band(which) if which < signatures.BANDS else shards.first("shingles")

    found = templates.frames(
        remaining,
        band,
        lambda numbers: shards.lists("shingles", numbers),
        lambda numbers: shards.lists("words", numbers),
        keys[:, 0],
    )
    if len(found):
        log.info("deduplicate: %d word 5-grams are of templates", len(found))
    return found


def _own_bands(shards: Shards, frames: Numbers, scratch: Path) -> Callable[[int], Numbers]:
    """The bands of all records without what templates share; made once, in files of this step."""
    if not len(frames):
        return shards.band
    folder = scratch / "own-bands"
    folder.mkdir(parents=True)
    paths = []
    for number, shard in enumerate(shards):
        paths.append(folder / f"{number:06d}.npy")
        known = shard.column("bands")
        np.save(paths[-1], signatures.bands_without(shard.sets("shingles"), frames, known))

    def band(which: int) -> Numbers:
        return np.concatenate([np.asarray(np.load(path, mmap_mode="r")[which]) for path in paths])

    return band
