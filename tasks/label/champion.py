"""What the champion says to rows without an answer, and how unlikely it finds answers."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import evaluate
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.label.windows import answered
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)

_FEWEST = 10  # `evaluate.max_examples` has to be that at least


@dataclass(frozen=True)
class Champion:
    """The model in force: a folder that training wrote."""

    adapter: Path
    settings: Settings

    def answers(self, records: Sequence[Record]) -> list[str]:
        """Its answer to each row, as evaluation generates it; of `evaluate.max_new_tokens` tokens.

        Raises:
            BadInput, PerpetuneError: as `tasks.evaluate.evaluate`.
        """
        # What stands for the answer is not read: the prompt ends before it.
        rows = [answered(record, "?", False) for record in records]
        found = self._measured(rows, generate=True)
        return [str(line.get("answer", "")) for line in found]

    def losses(self, records: Sequence[Record], answers: Sequence[str]) -> list[tuple[float, int]]:
        """−log p of each answer in nats, and its number of tokens.

        Raises:
            BadInput, PerpetuneError: as `tasks.evaluate.evaluate`.
        """
        pairs = zip(records, answers, strict=True)
        rows = [answered(record, answer or "?", False) for record, answer in pairs]
        found = self._measured(rows, generate=False)
        return [(float(line["nll"]), int(line["tokens"])) for line in found]

    def _measured(self, rows: Sequence[Record], *, generate: bool) -> list[dict[str, Any]]:
        if not rows:
            return []
        count = len(rows)
        options = self.settings.evaluate.replace(
            max_examples=max(count, _FEWEST),
            max_generations=count if generate else 0,
            metrics=["loss"],
            lm_eval={},
        )
        settings = self.settings.replace(evaluate=options)
        with tempfile.TemporaryDirectory(prefix="perpetune-label-") as folder:
            data = Path(folder) / "rows.jsonl"
            # Under numbers, so that each comes back under its own.
            lines = [row.row() | {"id": str(number)} for number, row in enumerate(rows)]
            files.write_jsonl(data, lines)
            evaluate.evaluate(self.adapter, [data], Path(folder) / "out", settings)
            measured = files.read_jsonl(Path(folder) / "out" / "examples.jsonl")
        by_number = {int(line["id"]): line for line in measured}
        if len(by_number) < count:
            missing = next(number for number in range(count) if number not in by_number)
            raise BadInput(
                f"{rows[missing].source}:{rows[missing].line}: the champion cannot be asked for "
                "this row (no token of an answer is left within its context); set "
                "label.asked_rows=0 and label.suggestions=false"
            )
        return [by_number[number] for number in range(count)]
