"""The section `watch`."""

from typing import Annotated

from pydantic import Field

from tasks.settings.section import Section, Unit


class Traces(Section):
    """Traces of MLflow that become windows; none are read as long as no experiment is named."""

    KEY = "watch.traces"

    experiment: str | None = None
    """Name of the experiment with the traces of the served model; null: none are read."""
    filter: str = ""
    """What of it is read, in MLflow's search syntax: `tag.channel = 'chat'`."""
    delay_minutes: Annotated[float, Field(ge=0), Unit("minutes")] = 10.0
    """Traces are read so long after they began; an answer that takes longer is not seen."""


class Watch(Section):
    """What happens to new traffic."""

    KEY = "watch"
    READ_BY = ("watch", "run")

    traffic: str = "data/traffic"
    """Folder of traffic windows: a file each, or a folder each, taken in the order of their
    names."""
    traces: Traces = Field(default_factory=Traces)
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of a drifted window's labelled records that becomes a benchmark, not training data."""
    benchmarks: str | None = None
    """Folder that this part joins; null: the first folder of `evaluate.benchmarks`."""
    min_labelled: Annotated[int, Field(ge=2)] = 20
    """Labelled records of drifted windows from which they join the data."""
    champion_rows: Annotated[int, Field(ge=0)] = 0
    """Rows of a window of which the champion's loss and confidence are compared; 0: none, and no
    model is loaded. For traffic with people's answers: the champion finds its own ones likely."""
    cooldown_hours: Annotated[float, Field(ge=0), Unit("hours")] = 6.0
    """Shortest time between two events that start a round. An alarm that no round has answered is
    told again after it."""
