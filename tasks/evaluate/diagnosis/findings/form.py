"""How much of a gain is form, not content."""

from collections import Counter

from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, Seen
from tasks.evaluate.diagnosis.contract import Said, difference
from tasks.evaluate.diagnosis.improvement import improvements
from tasks.evaluate.items import Item
from tasks.evaluate.results import in_words
from tasks.evaluate.words import words

_SHARE = 1 / 3
_LEVEL = 0.025
_REMEDY = (
    "Examples in the prompt may give the same form. To teach content, train for longer, with a "
    "higher rank or on better examples, and read the answers for it."
)


@DIAGNOSTICS.register
class Form(Diagnostic):
    """The answers look more like the references, and that is a good part of what they gained.

    Word overlap is measured twice: as F1, which a shorter answer raises, and as recall, the share
    of the reference's words that the answer has, which a shorter answer cannot raise. What F1
    gained beyond recall is form. Said where it is at least a third of the gain and passes a t test
    of the paired differences at 2.5 %, clustered by group, and the length came nearer to the
    reference's. Where no metric of content is shown to have improved, the metrics of form that have
    are named.
    """

    name = "form"
    subject = "gains of form"

    def find(self, seen: Seen) -> Said | None:
        """Compares with the reference system, on answered items."""
        return _shorter(seen) or _only_form(seen)


def _shorter(seen: Seen) -> Said | None:
    pairs = [
        pair
        for pair in seen.pairs(seen.measured.benchmarks, answered=True)
        if words(pair[0].reference)
    ]
    gain, content = difference(pairs, _f1), difference(pairs, _recall)
    form = difference(pairs, lambda item: _f1(item) - _recall(item))
    if gain is None or content is None or form is None or not gain.above():
        return None
    lengths = [_length([pair[which] for pair in pairs]) for which in (0, 1)]
    nearer = abs(lengths[0] - 1) < abs(lengths[1] - 1)
    if not nearer or not form.above() or form.value < _SHARE * gain.value:
        return None
    other = in_words(seen.measured.reference)
    head = (
        f"The answers have {lengths[0]:.1f} words for each word of the references, those of "
        f"{other} {lengths[1]:.1f}. Of the gain of {gain.value:.2f} in word overlap (F1), "
    )
    if content.above():
        return (
            f"{head}{form.value:.2f} is this form: the share of the references' words that the "
            f"answers have rose by {content.value:.2f} (standard error {content.error:.2f}).",
            _REMEDY,
        )
    return (
        f"{head}all is form: the share of the references' words that the answers have did not "
        f"clearly rise ({content.value:+.2f}, standard error {content.error:.2f}).",
        _REMEDY,
    )


def _only_form(seen: Seen) -> Said | None:
    content, form = improvements(seen, "content"), improvements(seen, "form")
    level = _LEVEL / max(1, len(form))
    improved = [label for label, change in form.items() if change.above(0.0, level)]
    if not improved or not content or any(change.above() for change in content.values()):
        return None
    unmoved = ", ".join(f"{label} {change.value:+.3f}" for label, change in content.items())
    return (
        f"The form of the answers is better than that of {in_words(seen.measured.reference)}'s "
        f"({', '.join(improved)}); no metric of their content is shown to be ({unmoved}).",
        _REMEDY,
    )


def _common(item: Item) -> int:
    return sum((Counter(words(item.answer)) & Counter(words(item.reference))).values())


def _f1(item: Item) -> float:
    return 2 * _common(item) / (len(words(item.answer)) + len(words(item.reference)))


def _recall(item: Item) -> float:
    return _common(item) / len(words(item.reference))


def _length(items: list[Item]) -> float:
    """Words of the answers for a word of the references."""
    return sum(len(words(item.answer)) for item in items) / sum(
        len(words(item.reference)) for item in items
    )
