"""What the steps of a run were computed on: with the same conditions they give the same bits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.core.processor import Processor, processor
from tasks.core.values import Value

if TYPE_CHECKING:
    import torch

    from tasks.tune.train.pack_executor import PackExecutor
    from tasks.tune.train.run import Run


class Conditions(Value):
    """Conditions of consecutive steps.

    On one machine, with the same libraries, steps under equal conditions give equal bits.
    """

    steps: int
    """How many steps."""
    processor: Processor
    capability: str
    """The instructions that PyTorch's own kernels use."""
    device: str
    """`cpu`, or the accelerator's name and number of multiprocessors."""
    dtype: str
    """Type of the frozen weights."""
    threads: int
    """Those of a matrix product, over all packs that are computed at once."""
    processes: int
    """Those that share each batch."""
    adapters: int
    """Those that share each pass through the base."""
    form: str
    """How a pass reads sequences: `packed`, `padded`, `alone`."""

    def then(self, later: "Conditions") -> "Conditions | None":
        """Both as one, where only the number of steps differs."""
        joined = self.model_copy(update={"steps": self.steps + later.steps})
        return joined if later.model_copy(update={"steps": joined.steps}) == joined else None


def conditions_of(run: "Run", packs: "PackExecutor", *, adapters: int) -> Conditions:
    """The conditions of one step in this process.

    Args:
        run: in training.
        packs: what computes its passes.
        adapters: those that share each pass.
    """
    import torch

    return Conditions(
        steps=1,
        processor=processor(),
        capability=torch.backends.cpu.get_cpu_capability(),
        device=_device_name(run.parameters[0].device),
        dtype=str(run.dtype).removeprefix("torch."),
        threads=packs.threads,
        processes=packs.processes.count,
        adapters=adapters,
        form=packs.execution.form,
    )


def extended(earlier: Sequence[dict[str, Any]], step: Conditions) -> list[dict[str, Any]]:
    """The conditions of a run, as its checkpoint keeps them, after one more step."""
    if earlier:
        joined = Conditions.from_json(earlier[-1]).then(step)
        if joined is not None:
            return [*earlier[:-1], joined.to_json()]
    return [*earlier, step.to_json()]


def _device_name(device: "torch.device") -> str:
    import torch

    if device.type != "cuda":
        return device.type
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.multi_processor_count} multiprocessors"
