"""Validity: whether answers parse where their references do."""

import ast
import json
import warnings

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import unfenced

# What no prose has: a reference without one of these may parse as Python by chance ("read-only").
_STATEMENTS = (
    *(ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Call, ast.ClassDef, ast.For, ast.FunctionDef),
    *(ast.AsyncFunctionDef, ast.If, ast.Import, ast.ImportFrom, ast.Lambda, ast.Return, ast.Try),
    *(ast.While, ast.With, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp),
)


@METRICS.register
class ValidJson(Metric):
    """Share of answers that are JSON, of those whose reference is a JSON object or array.

    A Markdown fence around either does not count. `NaN` and `Infinity` are no JSON (RFC 8259).
    """

    name = "valid_json"
    label = "valid JSON"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)
    aspect = "form"
    caveat = "Valid JSON may still say the wrong thing."

    def score(self, item: Item) -> float | None:
        """None where the reference is no JSON object or array."""
        if not isinstance(_json(item.reference), dict | list):
            return None
        return float(isinstance(_json(item.answer), dict | list))


@METRICS.register
class ValidPython(Metric):
    """Share of answers that Python can parse, of those whose reference is Python code.

    The parser is that of the Python that runs Perpetune, and nothing is executed. A reference is
    code where it parses and holds a statement or a call: a word or two would parse as well. A
    Markdown fence around either does not count.
    """

    name = "valid_python"
    label = "valid Python"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)
    aspect = "form"
    caveat = "Python that parses may still do the wrong thing."

    def score(self, item: Item) -> float | None:
        """None where the reference is no Python."""
        reference = _python(item.reference)
        if reference is None or not any(isinstance(x, _STATEMENTS) for x in ast.walk(reference)):
            return None
        answer = _python(item.answer)
        return float(answer is not None and bool(answer.body))


def _json(text: str) -> object:
    """The value; None where there is none, or null."""
    try:
        return json.loads(unfenced(text), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _python(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, which are somebody else's
            return ast.parse(unfenced(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
