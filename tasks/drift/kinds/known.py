"""The kind `a return of what was known`."""

from tasks.drift.kinds import KINDS, Shift


@KINDS.register
class Known:
    """The window differs from the main training data and resembles another regime of it."""

    name = "a return of what was known"
    remedy = "Nothing is to be done: the champion was trained on this kind of traffic as well."
    groups: frozenset[str] = frozenset()
    order = 0

    def recognise(self, shift: Shift) -> str | None:
        """Only where there is no drift."""
        others = [one for one in shift.regimes if one.name != shift.regime]
        differs = [one for one in others if one.p_value <= shift.alpha]
        if shift.drift or not differs:
            return None
        nearest = next(one for one in shift.regimes if one.name == shift.regime)
        names = ", ".join(f"{one.name} (p = {one.p_value:.3g})" for one in differs)
        return (
            f"The window differs from {names} and resembles {nearest.name} "
            f"(p = {nearest.p_value:.3g}), which the version was trained on, too."
        )
