"""Candidate against champion: losses and answers on held-out data, gates, and the review sheet.

`evaluate` measures one model; `judge` holds a candidate against the base model and the champion
and says whether it passes. `comparison` and `model_card` show a verdict to people.
"""

from tasks.evaluate.card import model_card
from tasks.evaluate.comparison import comparison
from tasks.evaluate.evaluation import evaluate
from tasks.evaluate.verdict import check_benchmarks, judge

__all__ = ["check_benchmarks", "comparison", "evaluate", "judge", "model_card"]
