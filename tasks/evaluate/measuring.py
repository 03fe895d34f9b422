"""Losses and answers of one system: computed once, then read from the state folder.

Losses and answers are cached, figures are not: a metric, a threshold or an interval may change
without anything being computed by a model again. The key of a cached file names all that it depends
on: the system, the tokens of the examples and, for answers, how they are generated. A file holds
one benchmark, because the last digits of a loss depend on which examples are computed together.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import files
from tasks.evaluate.benchmarks import Benchmark
from tasks.evaluate.items import Item
from tasks.evaluate.words import asked
from tasks.model import base_model, base_source, encoding, machine
from tasks.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Lines = list[dict[str, Any]]

_FORMAT = 5  # of cached files; a change of how anything is measured makes it 6
_DIGITS = 6


@dataclass(frozen=True)
class System:
    """The base model alone, or with what training made of it; the model is loaded when needed."""

    adapter: Path | None
    """A plain PEFT adapter folder or a whole model's; None: the base model."""
    tokenizer: "PreTrainedTokenizerBase"
    settings: Settings
    name: str
    """For progress bars."""
    described: str = ""

    @property
    def label(self) -> str:
        """Name in files: `base`, the path, or what `renamed` was told."""
        return self.described or ("base" if self.adapter is None else str(self.adapter))

    def renamed(self, name: str, label: str) -> "System":
        """The same under another name; what is loaded is not loaded again."""
        other = replace(self, name=name, described=label)
        if "model" in self.__dict__:
            other.__dict__["model"] = self.model
        return other

    @cached_property
    def model(self) -> Any:
        """The model, ready for inference."""
        return base_model.load_model(self.settings, self.adapter)

    @cached_property
    def identity(self) -> list[Any]:
        """All of the system that its losses and answers depend on."""
        return [
            _FORMAT,
            [version(package) for package in ("torch", "transformers", "peft")],
            [base_source.identity(self.settings), base_source.locate(self.settings).name],
            [str(machine.compute_dtype(self.settings.base)), machine.device().type],
            self.tokenizer.chat_template,
            self.adapter and files.file_hashes(self.adapter),
        ]


def measure(system: System, benchmarks: Sequence[Benchmark]) -> list[Item]:
    """The items of one system: benchmark after benchmark, in their order."""
    return [item for benchmark in benchmarks for item in _items(system, benchmark)]


def _items(system: System, benchmark: Benchmark) -> list[Item]:
    losses = _losses(system, benchmark)
    answers = _answers(system, benchmark)
    items = []
    measured = zip(benchmark.records, losses, benchmark.target_bytes, strict=True)
    for i, (record, loss, size) in enumerate(measured):
        answered: dict[str, Any] = {}
        if i in answers:
            answered = {
                "prompt": asked(record),
                "reference": encoding.visible(record.target or "", system.tokenizer),
                "answered": True,
                **answers[i],
            }
        items.append(
            Item(
                benchmark=benchmark.name,
                id=record.id,
                group=record.group,
                target_bytes=size,
                **loss,
                **answered,
            )
        )
    return items


def _losses(system: System, benchmark: Benchmark) -> Lines:
    """`nll`, `tokens` and, where there are some, `not_finite` tokens of each example."""

    def compute() -> Lines:
        from tasks.evaluate import scoring

        label = f"{benchmark.name}: loss of {system.name}"
        lines = []
        for losses in scoring.token_losses(system.model, benchmark.examples, label=label):
            line = {"nll": round(scoring.summed(losses), _DIGITS), "tokens": len(losses)}
            if broken := int((~losses.isfinite()).sum()):
                line["not_finite"] = broken
            lines.append(line)
        return lines

    examples = [[example.input_ids, example.learned] for example in benchmark.examples]
    return _cached(system, "losses", files.content_key(system.identity, examples), compute)


def _answers(system: System, benchmark: Benchmark) -> dict[int, dict[str, Any]]:
    """What items hold of the answers, by index of the example."""
    asked = {i: prompt for i, prompt in enumerate(benchmark.prompts) if prompt is not None}
    if not asked:
        return {}
    options = system.settings.evaluate

    def compute() -> Lines:
        from tasks.evaluate import generation

        answers = generation.answer(
            system.model,
            system.tokenizer,
            list(asked.values()),
            max_new_tokens=options.max_new_tokens,
            batch_size=options.batch_size,
            label=f"{benchmark.name}: answers of {system.name}",
        )
        return [
            {
                "answer": answer.text,
                "new_tokens": answer.tokens,
                "seconds": round(answer.seconds, _DIGITS),
                "at_once": answer.at_once,
            }
            for answer in answers
        ]

    generating = [options.max_new_tokens, options.batch_size]
    key = files.content_key(system.identity, list(asked.values()), generating)
    lines = _cached(system, "answers", key, compute)
    return dict(zip(asked, lines, strict=True))


def _cached(system: System, kind: str, key: str, compute: Callable[[], Lines]) -> Lines:
    path = system.settings.project.state_dir / "evaluations" / kind / f"{key}.jsonl"
    if path.is_file():
        log.info("%s of %s: read from %s", kind, system.name, path)
        return files.read_jsonl(path)
    lines = compute()
    files.write_jsonl(path, lines)
    return lines


def virtual_tokens(adapter: Path | None) -> int:
    """Number of tokens that `adapter` puts before each sequence, inside the context."""
    path = None if adapter is None else adapter / "adapter_config.json"
    if path is None or not path.is_file():  # no adapter, or none that loading would take
        return 0
    return files.read_json(path).get("num_virtual_tokens") or 0
