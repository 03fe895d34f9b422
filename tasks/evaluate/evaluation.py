"""One model on held-out data: every example's loss, some answers, and figures with intervals."""

import hashlib
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.evaluate import metrics, statistics
from tasks.model import base_model, encoding
from tasks.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Row = dict[str, Any]

_FORMAT = 3  # of kept measurements; a change of how anything is measured makes it 4
_DIGITS = 6
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The examples of one file that are measured, in order of the hash of their id.

    `prompts` holds the token ids of the first of them, for those that are also answered; `None`
    for a record that asks for no answer (a plain text).
    """

    name: str
    hash: str
    records: tuple[records.Record, ...]
    examples: tuple[encoding.Example, ...]
    prompts: tuple[list[int] | None, ...]


def evaluate(
    adapter: Path | None, benchmarks: list[Path], out: Path, settings: Settings
) -> dict[str, Any]:
    """Measure the base model, or what training made of it, on each file of `benchmarks`.

    Writes `out/examples.jsonl` (a line for each example: benchmark, id, group, nll, tokens, and
    for those answered prompt, reference, answer, rouge_l, exact) and, last, `out/metrics.json`.

    Args:
        adapter: a plain PEFT adapter folder or a whole model's, or None for the base model alone.
        benchmarks: files and folders; each file is one benchmark, named by its stem.
        out: folder for the results; made where missing.
        settings: `base` and `judge`.

    Returns:
        The content of `metrics.json`: `model`, `seconds`, and for each of `benchmarks` the number
        of `examples` and `generated` answers, and `loss` (nats a target token), `perplexity`,
        `rouge_l`, `exact_match`, each with `value`, `low` and `high`; `perplexity` is None where
        it is beyond every number, the latter two where fewer than `statistics.FEWEST_CLUSTERS`
        answers were generated: too few for a figure.

    Raises:
        BadInput: a benchmark is missing, malformed or holds nothing to measure, or the adapter
            is none, or was made for another model.
        PerpetuneError: the model gives no finite loss.
    """
    started = time.perf_counter()
    (out / "metrics.json").unlink(missing_ok=True)
    tokenizer = base_model.load_tokenizer(settings)
    wanted = [
        load_benchmark(path, name, tokenizer, settings, virtual_tokens=virtual_tokens(adapter))
        for name, path in name_benchmarks(benchmarks).items()
    ]
    _warn_of_another_base(adapter, settings)
    rows = measure(adapter, wanted, tokenizer, settings)
    _check_finite(rows, adapter, settings)
    seconds = time.perf_counter() - started
    return write(rows, "base" if adapter is None else str(adapter), seconds, out, settings)


def _check_finite(rows: Sequence[Row], adapter: Path | None, settings: Settings) -> None:
    broken = [row for row in rows if "not_finite" in row]
    if not broken:
        return
    kind = str(base_model.compute_dtype(settings.base)).removeprefix("torch.")
    whose = "the base model" if adapter is None else f"{adapter} on its base"
    remedy = "another copy of the weights"
    if kind == "float16":
        remedy = "base.dtype=bfloat16 or float32: numbers overflow in float16"
    elif adapter is not None:
        remedy = "`evaluate base`, which tells whose weights are damaged"
    raise PerpetuneError(
        f"{whose} gives no finite loss in {kind} on {sum(row['not_finite'] for row in broken):,} "
        f"of {sum(row['tokens'] for row in rows):,} tokens, in {len(broken)} of {len(rows)} "
        f"examples (the first: {broken[0]['id']} of {broken[0]['benchmark']}); try {remedy}"
    )


def _warn_of_another_base(adapter: Path | None, settings: Settings) -> None:
    """An adapter of another base can have its shapes, and then only its figures tell."""
    path = None if adapter is None else adapter / "adapter_config.json"
    if path is None or not path.is_file():
        return
    made_for = files.read_json(path).get("base_model_name_or_path")
    if made_for and made_for != settings.base.model:
        log.warning(
            "%s was made for %s, and is measured on %s: unless these are the same weights, its "
            "figures mean nothing",
            adapter,
            made_for,
            settings.base.model,
        )


def name_benchmarks(specs: Iterable[str | Path]) -> dict[str, Path]:
    """Every file behind `specs`, by the name of the benchmark that it is.

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
        settings: `judge` bounds the number of examples.
        generations: number of examples to answer; `judge.max_generations` where not given.
        virtual_tokens: room to leave in the model's context for what adapters put before a prompt.

    Raises:
        BadInput: a line is no record or has nothing to learn from, or no example is left.
    """
    judge = settings.judge
    length, config = _context_length(settings), base_model.load_config(settings)
    context = None if length is None else max(1, length - virtual_tokens)
    found = sorted(records.load([path]), key=lambda record: _hash(record.id))
    chosen: list[records.Record] = []
    examples: list[encoding.Example] = []
    empty = 0
    for record in found:
        if len(chosen) == judge.max_examples:
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
    answered = chosen[: judge.max_generations if generations is None else generations]
    room = None if context is None else max(1, context - judge.max_new_tokens)
    prompts = tuple(
        encoding.encode_prompt(record, tokenizer, room) if _asks(record) else None
        for record in answered
    )
    return Benchmark(name, files.md5(path), tuple(chosen), tuple(examples), prompts)


def _asks(record: records.Record) -> bool:
    """Whether the record asks for an answer, and has one to compare with: none of weight 0."""
    return record.target is not None and record.turns[-1].learn is not False


def measure(
    adapter: Path | None,
    benchmarks: Sequence[Benchmark],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Settings,
) -> list[Row]:
    """The lines of `examples.jsonl` for one model: benchmark after benchmark, in their order."""
    from tasks.evaluate import generation, scoring

    model = base_model.load_model(settings, adapter)
    name = "base" if adapter is None else adapter.name
    rows = []
    for benchmark in benchmarks:
        losses = scoring.token_losses(
            model, benchmark.examples, label=f"{benchmark.name}: loss of {name}"
        )
        asked = {at: prompt for at, prompt in enumerate(benchmark.prompts) if prompt is not None}
        answers = generation.answer(
            model,
            tokenizer,
            list(asked.values()),
            max_new_tokens=settings.judge.max_new_tokens,
            batch_size=settings.judge.batch_size,
            label=f"{benchmark.name}: answers of {name}",
        )
        answer_to = dict(zip(asked, answers, strict=True))
        for at, (record, example) in enumerate(
            zip(benchmark.records, benchmark.examples, strict=True)
        ):
            row: Row = {
                "benchmark": benchmark.name,
                "id": record.id,
                "group": record.group,
                "nll": round(scoring.summed(losses[at]), _DIGITS),
                "tokens": example.targets,
            }
            if broken := int((~losses[at].isfinite()).sum()):
                row["not_finite"] = broken
            if at in answer_to:
                # Answers are read without the reasoning before them, and so are references.
                reference = encoding.visible(record.target or "", tokenizer)
                row |= _compared(record, reference, answer_to[at])
            rows.append(row)
    return rows


def measure_once(
    adapter: Path | None,
    benchmarks: Sequence[Benchmark],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Settings,
) -> list[Row]:
    """`measure`, kept in the state folder under everything that it depends on, and read again."""
    key = files.content_key(
        _FORMAT,
        [version(package) for package in ("torch", "transformers", "peft")],
        [base_model.identity(settings), base_model.locate(settings).name],
        [str(base_model.compute_dtype(settings.base)), base_model.device().type],
        tokenizer.chat_template,
        adapter and files.file_hashes(adapter),
        [
            [each.name, each.hash, [row.input_ids for row in each.examples], each.prompts]
            for each in benchmarks
        ],
        [settings.judge.max_new_tokens, settings.judge.batch_size],
    )
    kept = settings.project.state_dir / "evaluations" / key / "examples.jsonl"
    if kept.is_file():
        log.info("%s was measured before: read from %s", adapter or "the base model", kept)
        return files.read_jsonl(kept)
    rows = measure(adapter, benchmarks, tokenizer, settings)
    files.write_jsonl(kept, rows)
    return rows


def write(
    rows: Sequence[Row], model: str, seconds: float, out: Path, settings: Settings
) -> dict[str, Any]:
    """Write `examples.jsonl` and `metrics.json` of one model into `out`; returns the latter."""
    summary = {
        "model": model,
        "benchmarks": {name: _summary(part, settings) for name, part in by_benchmark(rows).items()},
        "seconds": round(seconds, 1),
    }
    files.write_jsonl(out / "examples.jsonl", rows)
    files.write_json(out / "metrics.json", summary)
    return summary


def by_benchmark(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each benchmark, in their order."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["benchmark"], []).append(row)
    return parts


def interval(samples: Sequence[statistics.Sample], settings: Settings) -> statistics.Interval:
    """`statistics.ratio` as `judge` and `project.seed` say, rounded for reading."""
    exact = statistics.ratio(
        samples, settings.judge.resamples, settings.judge.confidence, settings.project.seed
    )
    return statistics.Interval(
        round(exact.value, _DIGITS), round(exact.low, _DIGITS), round(exact.high, _DIGITS)
    )


def _summary(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    loss = interval([_sample(rows, "nll", "tokens")], settings)
    answered = [row for row in rows if "answer" in row]
    means: dict[str, dict[str, float] | None] = {"rouge_l": None, "exact_match": None}
    if len(answered) >= statistics.FEWEST_CLUSTERS:
        for name, key in (("rouge_l", "rouge_l"), ("exact_match", "exact")):
            means[name] = _plain(interval([_sample(answered, key, None)], settings))
    return {
        "examples": len(rows),
        "generated": len(answered),
        "loss": _plain(loss),
        "perplexity": _perplexities(_plain(loss)),
        **means,
    }


def _sample(rows: Sequence[Row], above: str, below: str | None) -> statistics.Sample:
    return statistics.sample(
        [float(row[above]) for row in rows],
        [float(row[below]) if below else 1.0 for row in rows],
        [row["group"] for row in rows],
    )


def _plain(interval: statistics.Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _perplexities(losses: Mapping[str, float]) -> dict[str, float] | None:
    """None where a float has no name for it: JSON has none for infinity."""
    if max(losses.values()) > _LARGEST_EXPONENT:
        return None
    return {name: round(math.exp(loss), _DIGITS) for name, loss in losses.items()}


def _compared(record: records.Record, reference: str, answer: str) -> Row:
    return {
        "prompt": _asked(record),
        "reference": reference,
        "answer": answer,
        "rouge_l": round(metrics.rouge_l(answer, reference), _DIGITS),
        "exact": metrics.exact_match(answer, reference),
    }


def _asked(record: records.Record) -> str:
    """What a person reads as the prompt: all turns before the last answer."""
    turns = record.turns[:-1]
    if len(turns) == 1:
        return turns[0].text
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def virtual_tokens(adapter: Path | None) -> int:
    """How many tokens `adapter` puts before each sequence, where the context has to hold them."""
    path = None if adapter is None else adapter / "adapter_config.json"
    if path is None or not path.is_file():  # no adapter, or none that loading would take
        return 0
    return files.read_json(path).get("num_virtual_tokens") or 0


def _context_length(settings: Settings) -> int | None:
    # Not from the file, where architectures have names of their own for it.
    config = base_model.load_config(settings)
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def _hash(identity: str) -> bytes:
    return hashlib.sha256(identity.encode()).digest()
