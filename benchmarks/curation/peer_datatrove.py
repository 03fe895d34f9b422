"""datatrove's n-gram decontamination over one file, run by a Python that has datatrove.

    python peer_datatrove.py corpus.jsonl passages.jsonl questions.jsonl --records 10000

Its own filter and its own hash, with runs of `\\w` as words instead of its default tokenizer, which
is several times slower. Times the filter alone: not the imports, reading, or building the index.
Prints {"seconds", "version", "flags"}: 1 for each record that is contaminated.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

_WORD = re.compile(r"\w+")
_NGRAM = 13
_FIELDS = ("text", "prompt", "completion")


class _Words:
    """What datatrove calls a word tokenizer."""

    def word_tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text)


def main() -> None:
    """Build the index, filter, print."""
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    parser.add_argument("--records", type=int, default=10_000)
    given = parser.parse_args()
    config = NGramsDecontConfig(n_grams=_NGRAM)
    step = NGramsDecontFilter(".", config)
    step.tokenizer = _Words()
    step._index_hashes = {}
    for path in given.benchmarks:
        for text in _texts(path):
            said = step.tokenizer.word_tokenize(simplify_text(text, config.norm_config))
            for gram in ngrams(said, _NGRAM):
                step._index_hashes[step.hash_func(" ".join(gram))] = path.stem
    texts = [text for text, _ in zip(_texts(given.corpus), range(given.records), strict=False)]
    documents = [Document(text=text, id=str(at)) for at, text in enumerate(texts)]
    began = time.perf_counter()
    flags = [step.filter(document) is not True for document in documents]
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "seconds": seconds,
                "version": version("datatrove"),
                "flags": [int(flag) for flag in flags],
            }
        )
    )


def _texts(path: Path) -> Iterator[str]:
    """The texts of the records; a line that is none is passed over, as in `planted.read_texts`."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                parts = (row.get(key) for key in _FIELDS)
                said = [part for part in parts if isinstance(part, str)]
                if said:
                    yield "\n".join(said)


if __name__ == "__main__":
    main()
