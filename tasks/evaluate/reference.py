"""The reference of metrics, gates and diagnostics, as documentation: written from the registries.

python -m tasks.evaluate.reference > docs/reference/metrics-and-gates.md
"""

import inspect
import json

from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic
from tasks.evaluate.gates import GATES, Gate
from tasks.evaluate.metrics import METRICS, Metric

_HEAD = """\
# Metrics and gates

Written from their own code by `python -m tasks.evaluate.reference`. What is computed, and in which
order it is shown, is `evaluate.metrics`. Losses and answers are cached, figures are not: a metric
more, or another confidence, computes nothing with a model again.
"""
_DIAGNOSTICS = """\
## Diagnostics

What the course of the training and the answers show beyond the gates. A diagnostic decides nothing:
it says what its test has shown, with figures and a remedy, or is silent.
"""
_OWN = """\
## Your own

A metric, a gate or a diagnostic is one Python file with a line in params.yaml:
`project.plugins: [my_metric.py]`. The docstrings of `tasks/evaluate/metrics/__init__.py` and
`tasks/evaluate/gates/__init__.py` have an example each. A metric then appears in `metrics.json`,
the verdict, the review sheet, the model card, the plot, MLflow, `dvc metrics` and the terminal; a
gate in the verdict and on all its pages.
"""


def metrics_and_gates() -> str:
    """All metrics, gates and diagnostics as Markdown."""
    return "\n".join(
        [
            _HEAD,
            "## Metrics\n",
            *map(_metric, sorted(METRICS, key=lambda metric: metric.name)),
            "## Gates\n",
            *map(_gate, sorted(GATES, key=lambda gate: gate.name)),
            _DIAGNOSTICS,
            *map(_diagnostic, sorted(DIAGNOSTICS, key=lambda diagnostic: diagnostic.name)),
            _OWN,
        ]
    )


def _metric(metric: Metric) -> str:
    source = {"answers": "generated answers", "losses": "losses of the reference answers"}
    origin = f"from `{metric.derived_from}`" if metric.derived_from else source[metric.needs]
    facts = f"`{metric.name}`: {metric.about}; {origin}."
    return "\n\n".join([f"### {metric.label}", _described(metric), facts, *_caveat(metric)]) + "\n"


def _gate(gate: Gate) -> str:
    needs = ", ".join(sorted(need.replace("_", " ") for need in gate.needs))
    applies = f"Applies where there is a {needs}. " if needs else ""
    defaults = gate.settings().plain().items()
    keys = [f"`evaluate.gates.{key}` ({json.dumps(value)} by default)" for key, value in defaults]
    applies += f"Set by {', '.join(keys)}." if keys else "It has no setting of its own."
    return "\n\n".join([f"### `{gate.name}`", gate.sentence, _described(gate), applies]) + "\n"


def _diagnostic(diagnostic: Diagnostic) -> str:
    heading = diagnostic.subject[:1].upper() + diagnostic.subject[1:]
    return "\n\n".join([f"### {heading}", f"`{diagnostic.name}`", _described(diagnostic)]) + "\n"


def _described(member: object) -> str:
    return inspect.getdoc(type(member)) or ""


def _caveat(metric: Metric) -> list[str]:
    return [metric.caveat] if metric.caveat else []


if __name__ == "__main__":
    print(metrics_and_gates(), end="")  # noqa: T201
