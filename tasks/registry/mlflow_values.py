"""What a run keeps, brought into MLflow's shapes and within its limits."""

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from tasks.core.errors import BadInput

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param

PARAM_CHARACTERS = 6000
RUN_TAG_CHARACTERS = 8000
# What the registry's tables hold; a larger text fails on Postgres, though not on SQLite.
VERSION_CHARACTERS = 5000
NAME_CHARACTERS = 250
_DIGEST_CHARACTERS = 36
_ALLOWED = re.compile(r"[\w\-. /]")
_CODED = re.compile(r":([0-9A-F]{1,6}):")
_BATCH = 100


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """Data that a run has seen: `digest` is the hash that DVC gives to `source`."""

    name: str
    source: str
    digest: str
    context: Literal["training", "validation", "evaluation"]


def dataset_inputs(datasets: Iterable[DatasetRef]) -> "list[DatasetInput]":
    """The datasets as MLflow run inputs.

    Raises:
        BadInput: a digest is longer than MLflow keeps (36 characters, as long as DVC's longest).
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for ref in datasets:
        if len(ref.digest) > _DIGEST_CHARACTERS:
            raise BadInput(
                f"{ref.name}: the digest {ref.digest!r} is longer than {_DIGEST_CHARACTERS} "
                "characters; give the hash that DVC computes"
            )
        source = json.dumps({"uri": str(ref.source)})
        inputs.append(
            DatasetInput(
                Dataset(ref.name, ref.digest, source_type="local", source=source),
                [InputTag("mlflow.data.context", ref.context)],
            )
        )
    return inputs


def params(values: Mapping[str, Any]) -> "list[Param]":
    """Nested settings as MLflow parameters with dotted names; lists and null as JSON."""
    from mlflow.entities import Param

    return [
        Param(
            quoted(name),
            clip(value if isinstance(value, str) else json.dumps(value), PARAM_CHARACTERS),
        )
        for name, value in _flat(values)
    ]


def metrics(values: Mapping[str, Any], at: int, step: int = 0) -> "list[Metric]":
    """The numbers among nested `values` as MLflow metrics with dotted names.

    Args:
        values: figures; what is no finite number (text, null, NaN, a truth value) is left out.
        at: time in milliseconds since 1970.
        step: optimiser step that the figures belong to.
    """
    from mlflow.entities import Metric

    return [
        Metric(quoted(name), float(value), at, step)
        for name, value in _flat(values)
        if _is_number(value)
    ]


def curve(path: Path, at: int) -> "list[Metric]":
    """Every number in a trial's `curve.jsonl` as metric `curve/<name>` at the line's `step`.

    They have names of their own, because a trial's result is that of its best step, not its last.
    A last line that a crash has cut off is left out.
    """
    found: list[Metric] = []
    if not path.is_file():
        return found
    for line in path.read_bytes().splitlines():
        try:
            point = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        named = {f"curve/{name}": value for name, value in point.items() if name != "step"}
        found += metrics(named, at, int(point.get("step", 0)))
    return found


def quoted(name: str) -> str:
    """`name` as MLflow takes it as the name of a metric or parameter; unequal names stay unequal.

    MLflow allows letters, digits and `_-. /:`, a relative path in its shortest form, and 250
    characters. Every other character becomes its code point in hexadecimal between colons, as in
    `Q:26:A` for `Q&A`, and so does a colon. `unquoted` gives the name back, unless it was too
    long: then a hash of it replaces its end.
    """
    text = "".join(sign if _ALLOWED.fullmatch(sign) else _coded(sign) for sign in name)
    if posixpath.normpath(text) != text or text.startswith(("..", "/")) or text == ".":
        text = text.replace("/", _coded("/"))
        if text.startswith("."):
            text = _coded(".") + text[1:]
    if len(text) <= NAME_CHARACTERS:
        return text
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{text[: NAME_CHARACTERS - 40]}::{digest}"


def unquoted(name: str) -> str:
    """The name that `quoted` has made into `name`."""
    return _CODED.sub(lambda found: chr(int(found[1], 16)), name)


def _coded(sign: str) -> str:
    return f":{ord(sign):X}:"


def batches(items: list[Any], size: int = _BATCH) -> Iterator[list[Any]]:
    """`items` in portions that one call to MLflow may carry (100 parameters, 1000 metrics)."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def clip(text: str, limit: int, rest: str = "…") -> str:
    """`text`, or as much of it as leaves room for `rest` within `limit` characters."""
    return text if len(text) <= limit else text[: limit - len(rest)] + rest


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
