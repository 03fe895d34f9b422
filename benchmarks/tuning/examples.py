"""The same training examples for every contender, in the order in which ours sees them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core.errors import BadInput
from tasks.model import base_model, base_source
from tasks.model.encoding import Example, encode
from tasks.records import Record
from tasks.settings import Settings
from tasks.tune.data.batching import draw, first_by_hash


@dataclass(frozen=True, slots=True)
class Material:
    """What a run trains on.

    `folder` is what `perpetune train` takes as data. `peer_train` and `peer_validation` hold the
    same examples as a peer reads them, in the order in which ours sees them; `peer_whole` holds the
    whole validation file. `tokens` and `targets` count, for each batch, the tokens that are no
    padding and those that the loss counts.
    """

    folder: Path
    peer_train: Path
    peer_validation: Path
    peer_whole: Path
    base: Path
    chat_template: str | None
    tokens: list[int]
    targets: list[int]
    longest: int

    def plain(self) -> dict[str, Any]:
        """JSON-able fields, for a job."""
        return {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}


def prepare(data: Path, folder: Path, settings: Settings) -> Material:
    """Take the examples of a run of `tune.max_steps` steps, each of them once.

    Args:
        data: holds `train.jsonl` and `validation.jsonl`.
        folder: where the files go.
        settings: `base`, `tune` and the project's seed matter.

    Raises:
        BadInput: there are too few examples.
    """
    tune = settings.tune
    tokenizer = base_model.load_tokenizer(settings)
    read = {each.id: each for each in records.load([data / "train.jsonl"])}
    encoded = [encode(record, tokenizer) for record in read.values()]
    fitting = [each for each in encoded if each.targets and len(each.input_ids) <= tune.max_length]
    count = tune.max_steps * tune.batch_size
    if len(fitting) < count:
        raise BadInput(f"{data}: {count} examples are needed, {len(fitting)} are there")
    drawn = draw(fitting, count, tune.source_weights, settings.project.seed)
    validating = {each.id: each for each in records.load([data / "validation.jsonl"])}
    whole = [encode(record, tokenizer, tune.max_length) for record in validating.values()]
    judged = first_by_hash(whole, tune.validation_examples)
    folder.mkdir(parents=True, exist_ok=True)
    _keep(data / "train.jsonl", {each.id for each in drawn}, folder / "train.jsonl")
    _keep(data / "validation.jsonl", {each.id for each in judged}, folder / "validation.jsonl")
    batches = [drawn[at : at + tune.batch_size] for at in range(0, count, tune.batch_size)]
    return Material(
        folder=folder.absolute(),
        peer_train=_peer(drawn, read, folder / "peer-train.jsonl"),
        peer_validation=_peer(judged, validating, folder / "peer-validation.jsonl"),
        peer_whole=_peer(whole, validating, folder / "peer-whole.jsonl"),
        base=base_source.locate(settings).absolute(),
        chat_template=getattr(tokenizer, "chat_template", None),
        tokens=[sum(len(each.input_ids) for each in batch) for batch in batches],
        targets=[sum(each.targets for each in batch) for batch in batches],
        longest=max(len(each.input_ids) for each in drawn),
    )


def _keep(source: Path, ids: set[str], out: Path) -> None:
    with source.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as kept:
        kept.writelines(line for line in lines if json.loads(line)["id"] in ids)


def _peer(examples: list[Example], read: dict[str, Record], out: Path) -> Path:
    """Prompt and completion as turns, or text; with what ours makes of it, to compare."""
    with out.open("w", encoding="utf-8") as file:
        for example in examples:
            content = read[example.id].content()
            row: dict[str, Any] = {"ours": example.input_ids, "learned": example.learned}
            if "messages" in content:
                *prompt, answer = content["messages"]
                row |= {"prompt": prompt, "completion": [answer]}
            else:
                row |= {"text": content["text"]}
            file.write(json.dumps(row) + "\n")
    return out.absolute()
