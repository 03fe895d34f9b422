"""The settings of each objective, without what it takes to compute one."""

from tasks.settings.section import Section


class ObjectiveSettings(Section):
    """The settings of one objective; one without any is `{name: supervised}`."""

    KEY = "tune.objective"

    name: str
    """The objective."""
