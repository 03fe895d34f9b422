"""The kind `new format`."""

import statistics
from collections.abc import Callable

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent

_Measure = Callable[[str], float]


def _share_of(test: Callable[[str], bool], base: Callable[[str], bool]) -> _Measure:
    def measure(text: str) -> float:
        of = [sign for sign in text if base(sign)]
        return sum(map(test, of)) / len(of) if of else 0.0

    return measure


_MEASURES: dict[str, tuple[_Measure, Callable[[float], str]]] = {
    "characters": (len, "{:.0f}".format),
    "lines": (lambda text: text.count("\n") + 1, "{:.0f}".format),
    "upper-case letters": (_share_of(str.isupper, str.isalpha), percent),
    "characters that are no letters": (
        _share_of(lambda sign: not sign.isalpha(), lambda sign: not sign.isspace()),
        percent,
    ),
}
_NAMED = 2
_CLEAR = 0.15


@KINDS.register
class NewFormat:
    """Length, case, layout or punctuation of the prompts changed."""

    name = "new format"
    remedy = (
        "Look at the client that sends these prompts: if its template changed by mistake, repair "
        "it; if it is meant, label some of these rows and retrain."
    )
    groups = frozenset({"form"})
    order = 20

    def recognise(self, shift: Shift) -> str | None:
        """Names the measures that moved most, by the Kolmogorov–Smirnov distance."""
        from scipy.stats import ks_2samp

        before, now = shift.texts(lambda record: record.prompt)
        if not before or not now:
            return None
        found = []
        for name, (measure, shown) in _MEASURES.items():
            was, new = [measure(text) for text in before], [measure(text) for text in now]
            distance = float(ks_2samp(was, new, method="asymp").statistic)
            values = [shown(statistics.fmean(side)) for side in (was, new)]
            if distance >= _CLEAR and values[0] != values[1]:
                found.append((distance, f"{name} {moved(*values)}"))
        found.sort(key=lambda item: -item[0])
        if not found:
            return "Layout or make-up of the prompts changed a little in many rows."
        return f"On average: {', '.join(text for _, text in found[:_NAMED])}."
