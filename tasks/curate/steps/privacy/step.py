"""Redact: nothing private is left in a record."""

from tasks.curate.ledger import FilterResult, Reason
from tasks.curate.settings import Privacy
from tasks.curate.step import Batch, Step, StepWorker, WorkerConfig
from tasks.curate.steps.privacy.personal_data import STEP, redact


class Redact(Step):
    """Personal data and secrets are masked, or their records dropped, by kind."""

    name = title = STEP
    summary = "Personal data and secrets are masked, or their records are dropped, by kind."

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """For kinds that are set to `drop`."""
        return (
            Reason(
                "personal_data",
                "The record holds personal data or a secret.",
                (("KIND", "number of places of each kind; never the text"),),
                ("curate.privacy",),
                "Set that kind to mask.",
            ),
        )

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker."""
        return _Redactor(config.settings.privacy)


class _Redactor(StepWorker):
    def __init__(self, settings: Privacy) -> None:
        super().__init__()
        self._settings = settings

    def filter(self, batch: Batch) -> FilterResult:
        result, found = redact(batch.records, self._settings)
        self.counts.update(found)
        return result
