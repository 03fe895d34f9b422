"""Bottleneck adapters in training; `tasks.model.bottleneck` is the PEFT method."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core import files
from tasks.model.bottleneck import BottleneckConfig
from tasks.settings import Settings
from tasks.tune.methods.adapters import PeftAdapter, peft_model
from tasks.tune.methods.contract import AdaptedModel, Weights
from tasks.tune.methods.settings import BottleneckSettings
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def bottleneck(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """A bottleneck adapter after each block."""
    settings = tune.method.of(BottleneckSettings)
    config = BottleneckConfig(
        task_type="CAUSAL_LM",
        bottleneck_size=settings.bottleneck_size,
        bottleneck_dropout=settings.dropout,
    )
    with peft_model(base, config) as model:
        yield Bottleneck(model)


_CARD = """# A bottleneck adapter

PEFT itself does not have this method: it stops at this folder with `KeyError: 'BOTTLENECK'`, unless
Perpetune's module `tasks.model.bottleneck` was imported before, which makes the method known to it:

    import tasks.model.bottleneck
    from peft import PeftModel

    model = PeftModel.from_pretrained(base, folder)
"""


class Bottleneck(PeftAdapter):
    """A bottleneck adapter, whose folder says what it needs."""

    def write(self, folder: Path, weights: Weights, settings: Settings) -> None:
        """A folder that PEFT loads once it knows the method, as the folder's `README.md` says."""
        super().write(folder, weights, settings)
        files.write_text(folder / "README.md", _CARD)
