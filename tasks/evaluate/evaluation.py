"""One system on held-out data."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.evaluate import aggregation, lm_eval
from tasks.evaluate.benchmarks import load_benchmark, name_benchmarks
from tasks.evaluate.items import Item
from tasks.evaluate.measuring import System, measure, virtual_tokens
from tasks.evaluate.metrics import selected
from tasks.evaluate.results import Evaluation
from tasks.model import base_model, machine
from tasks.settings import Settings

log = logging.getLogger(__name__)


def evaluate(
    adapter: Path | None, benchmarks: list[Path], out: Path, settings: Settings
) -> Evaluation:
    """Measure the base model, or what training made of it, on each file of `benchmarks`.

    Writes `out/examples.jsonl` (a line for each example: benchmark, id, group, nll, tokens, for
    those answered prompt, reference, answer, and the score by each metric that has one) and, last,
    `out/metrics.json`. Losses and answers come from the cache (`tasks.evaluate.measuring`) where
    they are in it.

    Args:
        adapter: a plain PEFT adapter folder or a whole model's, or None for the base model alone.
        benchmarks: files and folders; each file is one benchmark, named by its stem.
        out: folder for the results; made where missing.
        settings: `base` and `evaluate`.

    Returns:
        The scores of every benchmark. A score is None where it is beyond every number, or where
        fewer than `statistics.FEWEST_CLUSTERS` answers were generated.

    Raises:
        BadInput: a benchmark is missing, malformed or holds nothing to measure, or the adapter
            is none, or was made for another model, or there is no such metric.
        PerpetuneError: the model gives no finite loss, or lm-evaluation-harness fails.
    """
    started = time.perf_counter()
    (out / "metrics.json").unlink(missing_ok=True)
    selected(settings.evaluate.metrics)
    lm_eval.check(settings)
    tokenizer = base_model.load_tokenizer(settings)
    loaded = [
        load_benchmark(path, name, tokenizer, settings, virtual_tokens=virtual_tokens(adapter))
        for name, path in name_benchmarks(benchmarks).items()
    ]
    _warn_of_another_base(adapter, settings)
    system = System(adapter, tokenizer, settings, adapter.name if adapter else "base")
    items = measure(system, loaded)
    _check_finite(items, adapter, settings)
    more = lm_eval.measure(system)
    seconds = time.perf_counter() - started
    return aggregation.write(items, out, settings, model=system.label, seconds=seconds, more=more)


def _check_finite(items: Sequence[Item], adapter: Path | None, settings: Settings) -> None:
    broken = [item for item in items if item.not_finite]
    if not broken:
        return
    kind = str(machine.compute_dtype(settings.base)).removeprefix("torch.")
    whose = "the base model" if adapter is None else f"{adapter} on its base"
    remedy = "another copy of the weights"
    if kind == "float16":
        remedy = "base.dtype=bfloat16 or float32: numbers overflow in float16"
    elif adapter is not None:
        remedy = "`evaluate base`, which tells whose weights are damaged"
    raise PerpetuneError(
        f"{whose} gives no finite loss in {kind} on {sum(item.not_finite for item in broken):,} "
        f"of {sum(item.tokens for item in items):,} tokens, in {len(broken)} of {len(items)} "
        f"examples (the first: {broken[0].id} of {broken[0].benchmark}); try {remedy}"
    )


def _warn_of_another_base(adapter: Path | None, settings: Settings) -> None:
    """An adapter of another base may have the same shapes: only its figures would show it."""
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
