"""Contamination: training records that hold a benchmark record, with the evidence for a person.

Word n-grams as in Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C), but one
n-gram in common is no verdict: most such flags are false. What counts is the share of the
benchmark's passage (`passages`) that the record has, measured

- in n-grams (13 words, or the whole passage where it is shorter) anywhere in the record: copies,
  whole or in part, whatever surrounds them;
- in 5-grams at one place of the record, at least seven words of them in a row: copies in which
  words were changed. Of a copy with every tenth word changed a third is left in 13-grams, and more
  than four fifths in 5-grams. Where both fall short, letters are compared without regard to where
  words end (`letters`), for copies that lost their hyphens, apostrophes or spaces;
- in single words at one place, whatever their order, of passages of a dozen words and more: copies
  whose words were shuffled.

Words count by how rare they are (`rarity`): the share is one of bits, not of words, and whatever
matches has to be worth `curate.contamination.min_information` bits by itself (a tenth more where it
is not the whole prompt of a turn). So a common phrase is no leak, and three rare words may be one.

All turns are searched, with reasoning and tool calls, the system prompt, the definitions of tools,
and what each of them says without accents, escapes and encodings (`disguises`). A system prompt
that holds a benchmark record makes every record with it a leak; what many records' system prompt
has in common with a benchmark otherwise counts as one record's.

Boilerplate does not count towards the share, on either side of the division: words that more than
`COMMON` prompts, or a tenth of a benchmark's prompts (three at least), have in common, and
stretches of a passage that more than `COMMON` training records have, all of them from the same
word to the same word (copies of a leak are cut differently). Only a passage that is there from its
first word to its last is a leak in any case.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tasks.curate.ledger import Evidence
from tasks.curate.settings import Decontamination
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.contamination.deciding import Contamination, decide
from tasks.curate.steps.contamination.disguises import long_tokens
from tasks.curate.steps.contamination.evidence import collect_evidence
from tasks.curate.steps.contamination.letters import overlaps_by_letters
from tasks.curate.steps.contamination.matching import Matcher
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.curate.steps.contamination.passage_index import PassageIndex
from tasks.curate.steps.contamination.searched_texts import other_texts, texts_of_turns
from tasks.curate.text.ngrams import Positions
from tasks.curate.text.turn_texts import TurnWords, text_without_system
from tasks.records import Record

STEP = "decontaminate"


class ContaminationIndex:
    """What may not be seen, ready to be searched for; memory grows with the benchmarks only.

    Workers `match` their records and `count_words`; what they found in all records is then decided
    on at once. Example: a benchmark record of 15 words, and a training record that copies ten::

        benchmark   How many kilograms of fresh salmon does the old harbour restaurant serve every
                    single evening
        record      He asked me how many kilograms of fresh salmon does the old harbour cafe sell

        PassageIndex(...)       the prompt is passage 0; its eleven 5-grams lead to it
        match([record], ...)    the record has six of these anchors, so it is compared with
                                passage 0: no 13-gram is in common, but in 5-grams the words 0 to 9
                                → {0: [Overlap(passage=0, exact=(), close=((0, 10),))]}
        decide(..., counts)     these words are worth 112.3 of the passage's 178.9 bits: a share of
                                0.628, above max_paraphrase, and enough information
                                → {0: Contamination(share=0.628, bits=112.3, ngram=5, ...)}
        evidence(record, ...)   "how many kilograms of fresh salmon does the old harbour", beside
                                the benchmark's text
    """

    def __init__(self, benchmarks: Sequence[Benchmark], settings: Decontamination) -> None:
        self._settings = settings
        self._index = PassageIndex(benchmarks, settings.ngram)
        self._matcher = Matcher(self._index, settings)

    def count_words(self, words: TurnWords) -> Positions:
        """(vocabulary + 1,) how often records say each word of the benchmarks, and how many words
        they say."""
        hashes = words.turns.hashes
        return np.append(self._index.vocabulary.count(hashes), len(hashes))

    def match(self, records: Sequence[Record], words: TurnWords) -> dict[int, list[Overlap]]:
        """What the records of a batch have of passages, by their number; most have nothing."""
        found: dict[int, list[Overlap]] = defaultdict(list)
        if not self._index.passages:
            return found
        texts = [text_without_system(record) for record in records]
        for number, overlap in self._matcher.match(texts_of_turns(records, texts, words)):
            found[number].append(overlap)
        others = other_texts(records, texts)
        if others is not None:
            for number, overlap in self._matcher.match(others):
                found[number].append(overlap)
        for number in long_tokens(texts):
            for overlap in overlaps_by_letters(self._index, texts[number]):
                found[number].append(overlap)
        return found

    def decide(
        self, overlaps: Mapping[int, Sequence[Overlap]], counts: Positions | None = None
    ) -> dict[int, Contamination]:
        """The records that hold a passage, by number.

        Args:
            overlaps: what each record has of passages, by its number.
            counts: the sum of what `count_words` says of all records; None: nothing is known.
        """
        if counts is None:
            counts = np.zeros(len(self._index.vocabulary.words) + 1, dtype=np.int64)
        return decide(self._index, self._settings, overlaps, counts)

    def evidence(self, record: Record, found: Contamination, records: int = 1) -> Evidence:
        """As `collect_evidence`."""
        return collect_evidence(self._index, record, found, records)
