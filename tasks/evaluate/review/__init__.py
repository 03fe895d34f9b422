"""The blind review: which answers a person compares, in which order, and what the marks say.

`draw` chooses the items and hides which answer is whose; `count_marks` reads what the page exported
and un-blinds it with the key that was registered.
"""

from tasks.evaluate.review.marks import MarkCounts, count_marks
from tasks.evaluate.review.sheet import KEY_FILE, SIDES, ReviewItem, ReviewSheet, draw

__all__ = ["KEY_FILE", "SIDES", "MarkCounts", "ReviewItem", "ReviewSheet", "count_marks", "draw"]
