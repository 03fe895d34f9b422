"""What is measured on: the examples of each benchmark, chosen and encoded."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import records
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.evaluate import gates, lm_eval
from tasks.evaluate.items import GENERAL, TRAFFIC
from tasks.evaluate.metrics import selected
from tasks.model import base_model, encoding
from tasks.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_GENERAL_ROWS = 5  # one row of so many on the review sheet shows the general probe


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The examples of one file that are measured, in order of the hash of their id.

    `prompts` holds the token ids of the first of them, for those that are also answered; `None`
    for a record that asks for no answer (a plain text).
    """

    name: str
    records: tuple[records.Record, ...]
    examples: tuple[encoding.Example, ...]
    prompts: tuple[list[int] | None, ...]
    target_bytes: tuple[int, ...]
    """UTF-8 bytes of what is learned of each example, without control tokens."""


def check_benchmarks(settings: Settings) -> None:
    """Check that `compare` can read its benchmarks and knows its metrics, before any training.

    Raises:
        BadInput: as `compare`.
    """
    selected(settings.evaluate.metrics)
    gates.check(settings)
    lm_eval.check(settings)
    load_benchmarks(settings, base_model.load_tokenizer(settings), 0)


def load_benchmarks(
    settings: Settings, tokenizer: "PreTrainedTokenizerBase", virtual_tokens: int
) -> list[Benchmark]:
    """The benchmarks of `evaluate.benchmarks`, then the general probe, if one is set.

    Raises:
        BadInput: as `load_benchmark`; or the general probe is missing, or its name is taken.
    """
    named = name_benchmarks(settings.evaluate.benchmarks)
    probe = _general_probe(settings)
    taken = {TRAFFIC: "the newest window of traffic"}
    if probe:
        taken[GENERAL] = "evaluate.general_probe"
    for name, owner in taken.items():
        if name in named:
            raise BadInput(
                f"{named[name]}: the name {name} belongs to {owner}; rename this benchmark"
            )
    found = [
        load_benchmark(path, name, tokenizer, settings, virtual_tokens=virtual_tokens)
        for name, path in named.items()
    ]
    if probe:
        # Its gate needs losses only: no more answers than the review sheet shows.
        shown = min(
            settings.evaluate.max_generations, settings.evaluate.review_examples // _GENERAL_ROWS
        )
        found.append(
            load_benchmark(
                probe,
                GENERAL,
                tokenizer,
                settings,
                generations=shown,
                virtual_tokens=virtual_tokens,
            )
        )
    return found


def name_benchmarks(specs: Iterable[str | Path]) -> dict[str, Path]:
    """Every file behind `specs`, by the name of its benchmark: its stem.

    Raises:
        BadInput: a path does not exist, or two files have one name.
    """
    named: dict[str, Path] = {}
    for path in records.expand(specs):
        name = Path(path.name.removesuffix(".gz").removesuffix(".zst")).stem
        if name in named:
            raise BadInput(f"{named[name]} and {path}: two benchmarks named {name}; rename one")
        named[name] = path
    return named


def load_benchmark(
    path: Path,
    name: str,
    tokenizer: "PreTrainedTokenizerBase",
    settings: Settings,
    *,
    generations: int | None = None,
    virtual_tokens: int = 0,
) -> Benchmark:
    """Choose and encode the examples of one file.

    Args:
        path: the file.
        name: name of the benchmark.
        tokenizer: the base model's.
        settings: `evaluate` bounds the number of examples.
        generations: number of examples to answer; by default `evaluate.max_generations`.
        virtual_tokens: room to leave in the model's context for what adapters put before a prompt.

    Raises:
        BadInput: a line is no record or has nothing to learn from, or no example is left.
    """
    options = settings.evaluate
    length, config = context_length(settings), base_model.load_config(settings)
    context = None if length is None else max(1, length - virtual_tokens)
    found = sorted(records.load([path]), key=lambda record: order_key(record.id))
    chosen: list[records.Record] = []
    examples: list[encoding.Example] = []
    empty = 0
    for record in found:
        if len(chosen) == options.max_examples:
            break
        example = encoding.encode(record, tokenizer, context)
        if example.targets == 0:
            empty += 1
            continue
        base_model.check_ids(example.input_ids, config, f"{path}:{record.line}")
        chosen.append(record)
        examples.append(example)
    cut = sum(example.answer_cut > 0 for example in examples)
    if cut:
        log.warning(
            "%s: %d answers are cut to the %d tokens that the base reads", path, cut, context
        )
    if empty:
        log.warning("%s: %d examples without a token to predict are left out", path, empty)
    if not chosen:
        raise BadInput(f"{path}: no example has a token to predict; a benchmark needs answers")
    answered = chosen[: options.max_generations if generations is None else generations]
    room = None if context is None else max(1, context - options.max_new_tokens)
    prompts = tuple(
        encoding.encode_prompt(record, tokenizer, room) if _asks(record) else None
        for record in answered
    )
    sizes = tuple(_target_bytes(example, tokenizer) for example in examples)
    return Benchmark(name, tuple(chosen), tuple(examples), prompts, sizes)


def _target_bytes(example: encoding.Example, tokenizer: "PreTrainedTokenizerBase") -> int:
    targets = zip(example.input_ids[1:], example.learned[1:], strict=True)
    ids = [token for token, learned in targets if learned]
    return len(str(tokenizer.decode(ids, skip_special_tokens=True)).encode(errors="replace"))


def _asks(record: records.Record) -> bool:
    """Whether the record asks for an answer, and has one to compare with: none of weight 0."""
    return record.target is not None and record.turns[-1].learn is not False


def _general_probe(settings: Settings) -> Path | None:
    if settings.evaluate.general_probe is None:
        return None
    path = Path(settings.evaluate.general_probe)
    if not path.is_file():
        raise BadInput(
            f"evaluate.general_probe: {path}: no such file; name another, or null for no such gate"
        )
    return path


def context_length(settings: Settings) -> int | None:
    """Tokens that the base reads at most; None where it does not say."""
    # Not from the file, where architectures have names of their own for it.
    config = base_model.load_config(settings)
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None
