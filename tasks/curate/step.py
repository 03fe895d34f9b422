"""What a step of curation is: it declares its name, its reasons, the columns it gives and needs.

    class NearDuplicates(GlobalStep):
        name = "deduplicate"
        reasons = (Reason("near_duplicate", "Another record says nearly the same."),)
        ...

`run.steps` lists all steps in order; workers, driver, report and documentation read that list.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why records are dropped, for the ledger, the report, the data card and the documentation.

    Attributes:
        name: as the ledger has it.
        meaning: a sentence.
        evidence: what the ledger's evidence holds: key → what it is.
        keys: settings that decide it, as `curate.quality.max_tokens`; the first is named to users.
        remedy: a sentence: what to do where it is wrong; empty: nothing but the settings.
    """

    name: str
    meaning: str
    evidence: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def setting(self) -> str | None:
        """The setting to name to users; None: no setting decides it."""
        return self.keys[0] if self.keys else None
