"""How likely a model finds the answers of records, and how sure it is: what drift compares."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.evaluate.benchmarks import context_length
from tasks.evaluate.measuring import virtual_tokens
from tasks.model import base_model, encoding
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)


def score_records(
    source: Path,
    adapter: Path | None,
    out: Path,
    settings: Settings,
    *,
    most: int,
    chosen: Callable[[Record], bool] | None = None,
) -> int:
    """Write the records of a file, some of them with a model's loss and confidence in `meta`.

    `loss` is −log p(answer | prompt) in nats a token. `confidence` is the mean over the answer's
    tokens of the probability of the likeliest token, whatever the answer says (the maximum softmax
    probability of Hendrycks & Gimpel 2017). A record that carries one of them already keeps both as
    they are.

    Args:
        source: the file.
        adapter: a plain PEFT adapter folder or a whole model's; None: the base model alone.
        out: the file to write: every record of `source`, in its order.
        settings: `base`.
        most: records to measure at most, drawn by the hash of their content.
        chosen: which of them may be measured; None: all.

    Returns:
        How many were measured.

    Raises:
        BadInput: the file cannot be read, or the adapter is none.
    """
    found = records.load([source], labelled=False)
    tokenizer = base_model.load_tokenizer(settings)
    length, config = context_length(settings), base_model.load_config(settings)
    room = None if length is None else max(1, length - virtual_tokens(adapter))
    asked = [
        place
        for place, record in enumerate(found)
        if record.target
        and (chosen is None or chosen(record))
        and not {"loss", "confidence"} & record.meta.keys()
    ]
    asked.sort(key=lambda place: order_key(repr(found[place].content())))
    examples: dict[int, encoding.Example] = {}
    for place in asked:
        if len(examples) == most:
            break
        try:
            example = encoding.encode(found[place], tokenizer, room)
            base_model.check_ids(example.input_ids, config, f"{source}:{found[place].line}")
        except BadInput as error:
            log.warning("not measured: %s", error)
            continue
        if example.targets:
            examples[place] = example
    if examples:
        _measure(found, examples, adapter, settings)
    files.write_jsonl(out, (record.row() for record in found))
    return len(examples)


def _measure(
    found: list[Record],
    examples: dict[int, encoding.Example],
    adapter: Path | None,
    settings: Settings,
) -> None:
    from tasks.evaluate import scoring

    model = base_model.load_model(settings, adapter)
    some = list(examples.values())
    losses = scoring.token_losses(model, some, label="the champion's loss")
    sure = scoring.token_confidences(model, some, label="the champion's confidence")
    for place, loss, confidence in zip(examples, losses, sure, strict=True):
        scores = {
            "loss": round(scoring.summed(loss) / len(loss), 6),
            "confidence": round(float(confidence.nan_to_num().mean()), 6),
        }
        found[place] = replace(found[place], meta={**found[place].meta, **scores})
