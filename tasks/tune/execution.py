"""How a base reads several sequences at once: found out on the loaded model, not looked up.

A pack (`tasks.tune.packing`) is right where attention alone looks beyond its token and goes through
transformers' interface. Whether a base is such a model is asked of the base itself: a few short
sequences of random tokens go through it packed and each alone, and losses and gradients by the
embedded tokens are compared; so is what a sequence of the pack owes to tokens that are not its own,
which has to be exactly nothing. So an architecture that nobody here has seen cannot be silently
wrong. What does not agree is read one sequence a row, checked in the same way, or refused.
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tasks import causality
from tasks.encoding import Example
from tasks.errors import BadInput
from tasks.tune import batching
from tasks.tune.packing import Packed, Rows, pack, packed_attention, sequence_losses

log = logging.getLogger(__name__)

_LENGTHS = (5, 12, 14, 7)
_SHARED = 9
"""With so many equal tokens the second and the third begin, so that a pack holds them once."""
# Bases of at most so many parameters are compared in float32, as a copy.
_COPIED = 650_000_000
# Differences of losses and, as a share of the largest, of gradients, that rounding explains.
_ROUNDING = {torch.float32: (1e-4, 2e-3), torch.float64: (1e-4, 2e-3)}
_COARSE = (0.03, 0.5)
# Examples of so many tokens together tell no more than the short sequences do.
_CHECKED = sum(_LENGTHS)

Form = Literal["packed", "padded", "alone"]


@dataclass(frozen=True, slots=True)
class Execution:
    """How training and its evaluations read sequences.

    Attributes:
        form: `packed`: in one row without padding; `padded`: one a row, filled up on the right;
            `alone`: each in a pass of its own.
        lanes: several adapters can share a pass.
        reason: why sequences are not packed.
    """

    form: Form = "packed"
    lanes: bool = True
    reason: str = ""

    def cut(
        self, examples: Sequence[Example], tokens: int, side_by_side: int, *, shared: bool
    ) -> list[list[Example]]:
        """Examples in parts of at most `tokens` tokens, one for each pass.

        Args:
            examples: at least one.
            tokens: bound of a part, what fills rows up counted in.
            side_by_side: packs that are computed at once.
            shared: equal beginnings are laid down once, where sequences are packed.
        """
        if self.form == "packed":
            return batching.packs(examples, tokens, side_by_side, shared=shared)
        return batching.rows(examples, tokens if self.form == "padded" else 0)

    def lay(
        self, examples: Sequence[Example], device: torch.device, *, shared: bool = True
    ) -> Packed:
        """What one pass reads."""
        if self.form == "packed":
            return pack(examples, device, shared=shared)
        return Rows.of(examples, device)

    def tokens(self, examples: Sequence[Example], *, shared: bool) -> int:
        """Tokens that a pass of these examples computes."""
        if self.form == "packed":
            return batching.row_length(examples, shared=shared)
        return len(examples) * max(len(example.input_ids) for example in examples)

    def attention(
        self, base: PreTrainedModel, device_type: str | None = None
    ) -> AbstractContextManager[None]:
        """The context in which `base` reads what `lay` gives."""
        return packed_attention(base, device_type) if self.form == "packed" else nullcontext()


PACKED = Execution()


def presumed(config: PreTrainedConfig) -> Execution:
    """What is to be expected of a base that is not loaded."""
    known: Any = AutoModelForCausalLM._model_mapping
    model_class = known.get(type(config), None)
    return _presumed(model_class)


def _presumed(model_class: type[PreTrainedModel] | None) -> Execution:
    packs = model_class is None or model_class._supports_attention_backend
    return PACKED if packs else Execution("padded", lanes=False)


def decide(base: PreTrainedModel, examples: Sequence[Example], tokens: int) -> Execution:
    """Find out how `base` reads sequences rightly.

    Args:
        base: as it was loaded.
        examples: what it will read.
        tokens: of a pack, at most.

    Raises:
        BadInput: it reads none of the forms as it reads a sequence alone.
    """
    model, tolerance = _to_compare(base)
    sequences = _sequences(base)
    with _quiet(model):
        try:
            alone = [_read(model, Rows.of([each], base.device)) for each in sequences]
        except Exception as error:
            raise BadInput(_refusal(base, error)) from error
        if not all(torch.isfinite(losses).all() for losses, _ in alone):
            # Nothing can be compared; training ends with its reason at the first step.
            return _presumed(type(base))
        reason = _why_not_packed(model, sequences, alone, tolerance)
        reason = reason or _why_not_on(model, _longest(examples, tokens), tolerance[0])
        if not reason:
            return Execution(lanes=_lanes(model, sequences))
        log.info("%s reads one sequence a row: %s", type(base).__name__, reason)
        rows = _read(model, Rows.of(sequences, base.device))
        if _differs(rows[0], torch.cat([losses for losses, _ in alone]), tolerance[0]):
            return Execution("alone", lanes=False, reason=reason)
        for i, (_, gradient) in enumerate(alone):
            if _differs(rows[1][i, : gradient.shape[1]], gradient[0], tolerance[1]):
                return Execution("alone", lanes=False, reason=reason)
    return Execution("padded", lanes=False, reason=reason)


_Read = tuple[torch.Tensor, torch.Tensor]
"""Summed loss of each sequence, and the gradient of all of them by what is embedded."""


def _why_not_packed(
    model: PreTrainedModel,
    sequences: Sequence[Example],
    alone: Sequence[_Read],
    tolerance: tuple[float, float],
) -> str:
    """In words, or nothing where a pack is read as its sequences alone."""
    if not model._supports_attention_backend:
        return "its attention does not go through transformers' interface"
    packed = pack(sequences, model.device)
    try:
        with packed_attention(model):
            losses, gradient = _read(model, packed)
            strange = _from_others(model, packed)
    except Exception as error:  # noqa: BLE001 (whatever an architecture does not take)
        return f"a pack fails in it ({_first_line(error)})"
    expected = torch.zeros_like(gradient[0])
    for path, (_, own) in zip(packed.paths, alone, strict=True):
        places = torch.cat([torch.arange(each.start, each.stop) for each in path])
        expected.index_add_(0, places[: own.shape[1]].to(expected.device), own[0])
    if strange:
        return "its layers look at other sequences of a pack"
    if _differs(losses, torch.cat([each for each, _ in alone]), tolerance[0]):
        return "losses in a pack are not those of the sequences alone"
    if _differs(gradient[0], expected, tolerance[1]):
        return "gradients in a pack are not those of the sequences alone"
    return ""


@torch.no_grad()
def _why_not_on(model: PreTrainedModel, examples: Sequence[Example], tolerance: float) -> str:
    """The same for examples of the length that training has, by their losses alone.

    What reaches further than short sequences are long (a window, summaries of a hundred tokens)
    shows here.
    """
    if sum(len(each.input_ids) for each in examples) <= _CHECKED:
        return ""
    windows: set[int] = set()
    try:
        with packed_attention(model, windows=windows):
            losses = sequence_losses(model, pack(examples, model.device, shared=False))[0]
    except Exception as error:  # noqa: BLE001 (whatever an architecture does not take)
        return f"a pack of long sequences fails in it ({_first_line(error)})"
    longest = max(len(each.input_ids) for each in examples)
    unheeded = [each for each in causality.bounds(model.config) if each not in windows]
    if unheeded and longest > min(unheeded):
        return f"its attention is bounded to {min(unheeded)} tokens in a way that packs do not know"
    alone = [sequence_losses(model, Rows.of([each], model.device))[0] for each in examples]
    if torch.isfinite(losses).all() and _differs(losses, torch.cat(alone), tolerance):
        return "losses in a pack of long sequences are not those of the sequences alone"
    return ""


def _longest(examples: Sequence[Example], tokens: int) -> list[Example]:
    """The longest example, and after it short ones that would feel its neighbourhood."""
    learned = [each for each in examples if each.targets]
    by_length = sorted(learned, key=lambda each: (-len(each.input_ids), each.id))
    found = by_length[:1]
    for example in reversed(by_length[1:]):
        left = tokens - sum(len(each.input_ids) for each in found)
        if len(found) > 2 or len(example.input_ids) > left:
            break
        found.append(example)
    return found


def _read(model: PreTrainedModel, packed: Packed) -> _Read:
    with causality.embedded(model) as found:
        losses = sequence_losses(model, packed)[0]
    return losses.detach(), torch.autograd.grad(losses.sum(), found)[0]


def _from_others(model: PreTrainedModel, packed: Any) -> bool:
    """Whether the first or the last sequence of the row owes anything to tokens not its own."""
    with causality.embedded(model) as found:
        losses = sequence_losses(model, packed)[0]
    ends = [path[-1].stop for path in packed.paths]
    for i in (ends.index(min(ends)), ends.index(max(ends))):
        gradient = torch.autograd.grad(losses[i], found, retain_graph=True)[0][0]
        own = torch.zeros(len(gradient), dtype=torch.bool)
        for each in packed.paths[i]:
            own[each.start : each.stop] = True
        if bool(gradient[~own.to(gradient.device)].any()):
            return True
    return False


def _lanes(model: PreTrainedModel, sequences: Sequence[Example]) -> bool:
    """Whether every linear layer reads the row as it is, so that a part of it is a lane."""
    if any(each.dim() == 3 for each in model.parameters()):
        return False  # experts, whose rows are sorted by expert
    packed = pack(sequences, model.device)
    expected, seen = packed.input_ids.numel(), set()
    head = model.get_output_embeddings()
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args: seen.add(args[0].numel() // args[0].shape[-1])
        )
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    try:
        with torch.no_grad(), packed_attention(model):
            sequence_losses(model, packed)
    finally:
        for hook in hooks:
            hook.remove()
    return seen <= {expected}


def _to_compare(base: PreTrainedModel) -> tuple[PreTrainedModel, tuple[float, float]]:
    """`base`, or a copy in float32 where it is small, and the differences to be expected."""
    dtype = base.dtype
    if getattr(base, "quantization_method", None) is not None:
        return base, _COARSE
    if dtype in _ROUNDING:
        return base, _ROUNDING[dtype]
    if base.num_parameters() <= _COPIED:
        return copy.deepcopy(base).float(), _ROUNDING[torch.float32]
    return base, _COARSE


def _sequences(base: PreTrainedModel) -> list[Example]:
    """Short sequences of random tokens, all of which are learned."""
    drawn = iter(causality.random_tokens(base.config, _SHARED + sum(_LENGTHS)))
    begin = [next(drawn) for _ in range(_SHARED)]
    found = []
    for i, length in enumerate(_LENGTHS):
        ids = begin[:length] if i in (1, 2) else []
        ids = [*ids, *(next(drawn) for _ in range(length - len(ids)))]
        found.append(Example(str(i), "", tuple(ids), (True,) * length))
    return found


def _differs(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    bound = tolerance * max(float(expected.abs().max()), 1e-12)
    difference = float((found - expected).abs().max())
    return not math.isfinite(difference) or difference > bound


@contextmanager
def _quiet(model: PreTrainedModel) -> Iterator[None]:
    """No dropout, which would differ from pass to pass."""
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        model.train(training)


def _refusal(base: PreTrainedModel, error: Exception) -> str:
    return (
        f"base.model: {type(base).__name__} cannot be trained on plain tokens "
        f"({_first_line(error)}); choose another base model"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
