"""What was said before."""

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row


@FEATURES.register
class Conversation(FeatureGroup):
    """Number, roles and wording of the turns before the user's last one."""

    name = "conversation"
    sentence = "the earlier turns of the conversations"

    def features(self, pool: Pool) -> Features | None:
        """Wording and make-up side by side; a conversation of one turn is a value like others."""
        if not any(row.earlier for row in pool.rows):
            return None
        texts = [row.conversation for row in pool.rows]
        turns = np.array([_turns(row) for row in pool.rows], dtype=np.float32)
        parts = [
            vectors.wording(texts, pool.max_characters, pool.seed),
            *(vectors.scaled(turns[:, column : column + 1]) for column in range(turns.shape[1])),
        ]
        return Features(np.hstack(parts), np.ones(len(texts), dtype=bool), mean_difference)

    def text(self, row: Row) -> str | None:
        """The earlier turns."""
        return row.conversation or None


def _turns(row: Row) -> list[float]:
    called = sum(turn.role == "tool" or bool(turn.tool_calls) for turn in row.earlier)
    return [np.log1p(len(row.earlier)), float(bool(row.earlier)), np.log1p(called)]
