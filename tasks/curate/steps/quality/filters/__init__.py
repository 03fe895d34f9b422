"""Quality filters: one class says what it drops, why, and which settings decide it.

A filter is one file, here or outside of the repository; CONTRIBUTING.md has an example. Its setting
is then in `curate.quality`, its reason in the ledger, the report and the data card.

The ratios follow the rules by which MassiveText and C4 were cleaned (Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher", appendix A1; Raffel et al.
2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
2.2), with bounds for answers, which are shorter than the web pages those were made for. Rules for
web pages apply to texts only. Those that source code, lists or tables break by nature (mean word
length, words with letters, bullets, ellipses) are off unless a setting turns them on.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tasks.core.plugins import PluginRegistry
from tasks.curate.ledger import Reason
from tasks.settings.section import Section

if TYPE_CHECKING:
    from tasks.curate.ledger import Evidence
    from tasks.curate.steps.quality.measurements import Measurements
    from tasks.records import Record

SECTION = "curate.quality"
"""Where the settings of filters are."""

S = TypeVar("S", bound=Section)


class Filter(ABC, Generic[S]):
    """One reason to drop a record. A filter has no state: workers share none.

    Attributes:
        name: the reason, as the ledger has it: letters in lower case, digits and `_`.
        meaning: a sentence for report, data card and documentation.
        settings: class of the settings that decide it; their docstrings are its documentation.
            Filters of one family may share a class.
        evidence: the keys that `check` gives, and what they hold.
        remedy: a sentence: what to do where records are dropped that should stay.
        order: filters are asked in ascending order, then by name, and the first that finds
            something gives the reason. With the default a filter comes last, so that it changes no
            other reason.
    """

    name: str
    meaning: str
    settings: type[S]
    evidence: Mapping[str, str] = {}
    remedy: str = ""
    order: int = 1000

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that decide it; the first one is named to users."""
        return tuple(f"{SECTION}.{key}" for key in self.settings.model_fields)

    @property
    def reason(self) -> Reason:
        """The filter's reason, as every step declares its own."""
        return Reason(self.name, self.meaning, tuple(self.evidence.items()), self.keys, self.remedy)

    def is_on(self, settings: S) -> bool:
        """Whether these settings turn the filter on."""
        return True

    def validate(self, settings: S) -> None:
        """Called once for each worker, before the first record.

        Raises:
            BadInput: the settings name something that there is not.
        """

    @abstractmethod
    def check(self, record: "Record", settings: S, measured: "Measurements") -> "Evidence | None":
        """The evidence for dropping `record`, JSON-able; None: it stays.

        Args:
            record: never changed.
            settings: the section, with the filter's own keys.
            measured: what was counted for all filters at once, such as tokens.
        """


FILTERS: PluginRegistry[Filter[Any]] = PluginRegistry(
    "filter", "tasks.curate.steps.quality.filters"
)
