"""Traces of a served model in MLflow, as rows of a window of traffic.

What the root span of a trace took and gave is the conversation and the answer. Recognised are
OpenAI's chat and responses formats, MLflow's `ChatModel`, and plain texts. The row's answer is the
model's own (`answered_by: model`, which nobody trains on), unless a person has confirmed it by a
feedback of true, or has written what was expected.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput, first_line
from tasks.registry.connection import Connection
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Trace

_SESSION, _USER = "mlflow.trace.session", "mlflow.trace.user"
_TEXTS = ("prompt", "question", "query", "input", "inputs", "text", "message", "request")
_ANSWERS = ("answer", "response", "output", "outputs", "content", "text", "completion", "result")
_PAGE = 200


def read_traces(settings: Settings, since: int, until: int) -> Iterator[dict[str, Any]]:
    """The finished traces of `watch.traces` that began in this time, oldest first, as rows.

    A trace in which no conversation is recognised comes as a row that is no record, so that it is
    counted and named where the window is read.

    Args:
        settings: `watch.traces`, and where MLflow is.
        since: the first millisecond since 1970.
        until: the first one that does not belong to it any more.

    Raises:
        BadInput: there is no such experiment, or MLflow does not understand the filter.
        PerpetuneError: MLflow does not answer.
    """
    options = settings.watch.traces
    connection = Connection(settings)
    with connection.client() as client:
        experiment = connection.find_experiment(client, options.experiment or "")
    if experiment is None:
        raise BadInput(
            f"watch.traces.experiment: MLflow has no experiment {options.experiment!r}; name the "
            "one that your served model traces to"
        )
    wanted = f"timestamp_ms >= {since} AND timestamp_ms < {until}"
    if options.filter.strip():
        wanted += f" AND {options.filter.strip()}"
    token = None
    while True:
        with connection.client() as client:
            try:
                page = client.search_traces(
                    locations=[experiment],
                    filter_string=wanted,
                    max_results=_PAGE,
                    order_by=["timestamp_ms ASC"],
                    page_token=token,
                )
            except Exception as error:
                if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE":
                    raise BadInput(
                        f"watch.traces.filter: MLflow does not understand it: {first_line(error)}"
                    ) from None
                raise
        yield from (trace_row(trace) for trace in page if str(trace.info.state) != "IN_PROGRESS")
        token = page.token
        if not token:
            return


def trace_row(trace: "Trace") -> dict[str, Any]:
    """A trace as a line of traffic."""
    info = trace.info
    root = next((span for span in trace.data.spans if span.parent_id is None), None)
    asked = _messages(root.inputs if root else None)
    said = _answer(root.outputs if root else None)
    row: dict[str, Any] = {
        "id": info.trace_id,
        "timestamp": datetime.fromtimestamp(info.request_time / 1000, UTC).isoformat(),
        "state": str(info.state),
    }
    metadata = info.trace_metadata or {}
    group = metadata.get(_SESSION) or metadata.get(_USER)
    if group:
        row["group"] = group
    if metadata.get(_USER):
        row["user"] = metadata[_USER]
    if info.execution_duration is not None:
        row["latency"] = info.execution_duration / 1000
    expected, confirmed, scores = _judged(info.assessments or [])
    if scores:
        row["feedback"] = sum(scores) / len(scores)
    if not asked:
        return row | {"trace": "no conversation is recognised in the root span's inputs"}
    if expected is not None:
        said = {"role": "assistant", "content": expected}
    elif said is not None and not confirmed:
        row["answered_by"] = "model"
    return row | {"messages": [*asked, *([said] if said else [])]}


def _messages(value: Any) -> list[dict[str, Any]]:
    """The turns that a model was given."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}] if value.strip() else []
    if isinstance(value, list):
        given = [dict(item) for item in value if isinstance(item, Mapping) and "role" in item]
        return given if len(given) == len(value) else []
    if not isinstance(value, Mapping):
        return []
    lists = [value[key] for key in ("messages", "input") if isinstance(value.get(key), list)]
    texts = [value[key] for key in _TEXTS if isinstance(value.get(key), str)]
    inside = list(value.values()) if len(value) == 1 else []
    parts: list[Any] = [*lists, *texts, *inside]
    turns = next((found for part in parts if (found := _messages(part))), [])
    system = value.get("instructions") or value.get("system")
    if turns and isinstance(system, str):
        return [{"role": "system", "content": system}, *turns]
    return turns


def _answer(value: Any) -> dict[str, Any] | None:
    """The assistant's turn that came of it."""
    if isinstance(value, str):
        return {"role": "assistant", "content": value} if value.strip() else None
    if isinstance(value, list):
        return next((found for item in reversed(value) if (found := _answer(item))), None)
    if not isinstance(value, Mapping):
        return None
    if value.get("role") == "assistant":
        content = value.get("content")
        if isinstance(content, list):  # the responses format has parts
            content = "".join(str(part.get("text", "")) for part in content if _is_text(part))
        return {**value, "content": content or ""}
    for key in ("choices", "messages", "message", *_ANSWERS):
        if key in value and (found := _answer(value[key])):
            return found
    return None


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("text", "output_text")


def _judged(assessments: "list[Assessment]") -> tuple[str | None, bool, list[float]]:
    """What people expected, whether one confirmed the answer, and all scores."""
    expected: str | None = None
    confirmed = False
    scores: list[float] = []
    for found in assessments:
        human = str(getattr(found.source, "source_type", "")) == "HUMAN"
        if getattr(found, "valid", True) is False:
            continue
        if (wish := getattr(found, "expectation", None)) is not None:
            expected = wish.value if isinstance(wish.value, str) else expected
        elif (judged := getattr(found, "feedback", None)) is not None:
            value = judged.value
            confirmed = confirmed or (human and value is True)
            if isinstance(value, int | float):
                scores.append(float(value))
    return expected, confirmed, scores
