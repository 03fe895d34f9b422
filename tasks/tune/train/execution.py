"""How a base reads several sequences at once: found out on the loaded model, not looked up.

A pack (`tasks.tune.data.packing`) is right where attention alone looks beyond its token and goes
through transformers' interface. Whether a base is such a model is asked of the base itself: a few
short sequences of random tokens go through it packed and each alone, and losses and gradients by
the embedded tokens are compared; so is what a sequence of the pack owes to tokens that are not its
own, which has to be exactly nothing. So an architecture that nobody here has seen cannot be
silently wrong. What does not agree is read one sequence a row, checked in the same way, or refused.
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tasks.core import files
from tasks.core.errors import BadInput, first_line
from tasks.model import base_source, causality, peft_adapter
from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data import batching
from tasks.tune.data.attention import packed_attention
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.data.packing import Pack, Packed, Rows, pack, sequence_losses

log = logging.getLogger(__name__)

_LENGTHS = (7, 12, 15)
_SHARED = 9
"""With so many equal tokens all but the first begin, so that a pack holds them once."""
_FORMAT = 2  # of what is kept; a change of the check makes it 3
# Bases of at most so many parameters are compared in float32, as a copy.
_COPIED = 650_000_000
# Differences of losses and, as a share of the largest, of gradients, that rounding explains.
_ROUNDING = {torch.float32: (1e-4, 2e-3), torch.float64: (1e-4, 2e-3)}
_COARSE = (0.03, 0.45)

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
        self, groups: Sequence[Group], tokens: int, side_by_side: int, *, shared: bool
    ) -> list[list[Group]]:
        """Groups in parts of at most `tokens` tokens, one for each pass.

        Args:
            groups: at least one.
            tokens: bound of a part, what fills rows up counted in.
            side_by_side: packs that are computed at once.
            shared: equal beginnings are stored once, where sequences are packed.
        """
        if self.form == "packed":
            return batching.packs(groups, tokens, side_by_side, shared=shared)
        return batching.rows(groups, tokens if self.form == "padded" else 0)

    def lay(self, groups: Sequence[Group], device: torch.device, *, shared: bool = True) -> Packed:
        """What one pass reads."""
        examples = examples_of(groups)
        if self.form == "packed":
            return replace(pack(examples, device, shared=shared), groups=tuple(groups))
        return replace(Rows.of(examples, device), groups=tuple(groups))

    def tokens(self, groups: Sequence[Group], *, shared: bool) -> int:
        """Tokens that a pass of these groups computes."""
        if self.form == "packed":
            return batching.pack_length(groups, shared=shared)
        examples = sum(len(group.examples) for group in groups)
        return examples * max(group.longest for group in groups)

    def attention(
        self, base: PreTrainedModel, device_type: str | None = None
    ) -> AbstractContextManager[None]:
        """The context in which `base` reads what `lay` gives."""
        return packed_attention(base, device_type) if self.form == "packed" else nullcontext()


PACKED = Execution()


def draws_randomly(network: torch.nn.Module) -> bool:
    """Whether a pass in training draws random numbers."""
    return any(
        (isinstance(module, torch.nn.Dropout) and module.p > 0)
        or bool(getattr(module, "attention_dropout", 0))
        for module in network.modules()
    )


def presumed(config: PreTrainedConfig) -> Execution:
    """What is to be expected of a base that is not loaded."""
    known: Any = AutoModelForCausalLM._model_mapping
    model_class = known.get(type(config), None)
    return _presumed(model_class)


def _presumed(model_class: type[PreTrainedModel] | None) -> Execution:
    packs = model_class is None or model_class._supports_attention_backend
    return PACKED if packs else Execution("padded", lanes=False)


def of(base: PreTrainedModel, longest: int, settings: Settings) -> Execution:
    """`decide`, kept in the state folder for this base, these libraries and this length."""
    key = files.content_key(
        _FORMAT,
        [version(package) for package in ("torch", "transformers", "peft")],
        peft_adapter.fingerprint(base_source.locate(settings)),
        base.config.to_dict(),
        [str(base.dtype), base.device.type, getattr(base, "quantization_method", None)],
        longest,
    )
    kept = settings.project.state_dir / "executions" / f"{key}.json"
    if kept.is_file():
        return Execution(**files.read_json(kept))
    found = decide(base, longest)
    files.write_json(kept, asdict(found))
    return found


def decide(base: PreTrainedModel, longest: int) -> Execution:
    """Find out how `base` reads sequences rightly.

    Args:
        base: as it was loaded.
        longest: tokens of the longest sequence that it will read.

    Raises:
        BadInput: it does not read a sequence alone.
    """
    model, tolerance = _to_compare(base)
    sequences = _sequences(base, _LENGTHS)
    with _quiet(model):
        try:
            alone = [_read(model, Rows.of([sequence], base.device)) for sequence in sequences]
        except Exception as error:
            raise BadInput(
                f"base.model: {type(base).__name__} cannot be trained on plain tokens "
                f"({first_line(error)}); choose another base model"
            ) from error
        if not all(torch.isfinite(losses).all() for losses, _ in alone):
            # Nothing can be compared; training ends with its reason at the first step.
            return _presumed(type(base))
        seen = _Seen()
        reason = _why_not_packed(model, sequences, alone, tolerance, seen)
        reason = reason or _why_not_long(model, longest, tolerance[0], seen.windows)
        if not reason:
            return Execution(lanes=seen.lanes(model))
        log.info("%s reads one sequence a row: %s", type(base).__name__, reason)
        rows = Rows.of(sequences, base.device)
        if _agrees(_read(model, rows), alone, rows, tolerance):
            return Execution("padded", lanes=False, reason=reason)
    return Execution("alone", lanes=False, reason=reason)


@dataclass(slots=True)
class _Seen:
    """What was noted while a pack went through the model."""

    windows: set[int] = field(default_factory=set)
    """Sliding windows that layers asked for."""
    rows: set[int] = field(default_factory=set)
    """Tokens that linear layers read at once."""
    tokens: int = 0
    """Those of the pack."""

    @contextmanager
    def watching(self, model: PreTrainedModel) -> Iterator[None]:
        """Note the rows of every linear layer but the head."""
        head = model.get_output_embeddings()

        def note(_: Any, args: tuple[torch.Tensor, ...]) -> None:
            self.rows.add(args[0].numel() // args[0].shape[-1] if args else 0)

        hooks = [
            module.register_forward_pre_hook(note)
            for module in model.modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def lanes(self, model: PreTrainedModel) -> bool:
        """Whether every linear layer reads the row as it is, so that a part of it is a lane; those
        of experts read tokens sorted by expert."""
        experts = any(parameter.dim() == 3 for parameter in model.parameters())
        return not experts and self.rows <= {self.tokens}


_Read = tuple[torch.Tensor, torch.Tensor]
"""Summed loss of each sequence, and the gradient of all of them by what is embedded."""


def _why_not_packed(
    model: PreTrainedModel,
    sequences: Sequence[Example],
    alone: Sequence[_Read],
    tolerance: tuple[float, float],
    seen: _Seen,
) -> str:
    """In words, or nothing where a pack is read as its sequences alone."""
    if not model._supports_attention_backend:
        return "its attention does not go through transformers' interface"
    packed = pack(sequences, model.device)
    seen.tokens = packed.input_ids.numel()
    try:
        with (
            packed_attention(model, windows=seen.windows),
            seen.watching(model),
            causality.embedded(model) as found,
        ):
            losses = sequence_losses(model, packed)[0]
            strange = _from_others(losses, found, packed)
            gradient = torch.autograd.grad(losses.sum(), found)[0]
    except Exception as error:  # noqa: BLE001 (whatever an architecture does not take)
        return f"a pack fails in it ({first_line(error)})"
    if strange:
        return "its layers look at other sequences of a pack"
    if not _agrees((losses.detach(), gradient), alone, packed, tolerance):
        return "losses or gradients in a pack are not those of the sequences alone"
    return ""


@torch.no_grad()
def _why_not_long(model: PreTrainedModel, longest: int, tolerance: float, windows: set[int]) -> str:
    """The same for sequences of the length that training has, where a layer may reach further than
    short ones are long (windows, chunks, summaries of a hundred tokens); by their losses alone."""
    bounds = causality.bounds(model.config)
    unheeded = [bound for bound in bounds if bound not in windows]
    if unheeded and longest > min(unheeded):
        return f"its attention is bounded to {min(unheeded)} tokens in a way that packs do not know"
    if longest <= sum(_LENGTHS) or not causality.has_reach(model.config):
        return ""
    sequences = _sequences(model, (longest, *_LENGTHS[:2]))
    alone = [sequence_losses(model, Rows.of([sequence], model.device))[0] for sequence in sequences]
    try:
        with packed_attention(model):
            losses = sequence_losses(model, pack(sequences, model.device, shared=False))[0]
    except Exception as error:  # noqa: BLE001 (whatever an architecture does not take)
        return f"a pack of long sequences fails in it ({first_line(error)})"
    if _differs(losses, torch.cat(alone), tolerance):
        return "losses in a pack of long sequences are not those of the sequences alone"
    return ""


def _read(model: PreTrainedModel, packed: Packed) -> _Read:
    with causality.embedded(model) as found:
        losses = sequence_losses(model, packed)[0]
    return losses.detach(), torch.autograd.grad(losses.sum(), found)[0]


def _from_others(losses: torch.Tensor, found: list[torch.Tensor], packed: Pack) -> bool:
    """Whether the first or the last sequence of the row owes anything to tokens not its own."""
    ends = [segments[-1].stop for segments in packed.segments]
    for i in (ends.index(min(ends)), ends.index(max(ends))):
        gradient = torch.autograd.grad(losses[i], found, retain_graph=True)[0][0]
        own = torch.zeros(len(gradient), dtype=torch.bool)
        for segment in packed.segments[i]:
            own[segment.start : segment.stop] = True
        if bool(gradient[~own.to(gradient.device)].any()):
            return True
    return False


def _agrees(
    read: _Read, alone: Sequence[_Read], packed: Packed, tolerance: tuple[float, float]
) -> bool:
    """Whether sequences together lose what they lose alone, and owe it to the same tokens."""
    losses, gradient = read
    expected = torch.zeros_like(gradient)
    for i, (_, own) in enumerate(alone):
        if isinstance(packed, Pack):
            positions = torch.cat(
                [torch.arange(segment.start, segment.stop) for segment in packed.segments[i]]
            )[: own.shape[1]]
            expected[0].index_add_(0, positions.to(expected.device), own[0])
        else:
            expected[i, : own.shape[1]] = own[0]
    if _differs(losses, torch.cat([loss for loss, _ in alone]), tolerance[0]):
        return False
    if tolerance == _COARSE:
        # Rounding of half precision shows in single elements: all of them together count.
        apart = float((gradient - expected).float().norm() / expected.float().norm())
        return apart <= tolerance[1]
    return not _differs(gradient, expected, tolerance[1])


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


def _sequences(base: PreTrainedModel, lengths: Sequence[int]) -> list[Example]:
    """Sequences of random tokens, all of which are learned; the last two begin alike."""
    drawn = iter(causality.random_tokens(base.config, _SHARED + sum(lengths)))
    begin = [next(drawn) for _ in range(_SHARED)]
    found = []
    for i, length in enumerate(lengths):
        ids = [] if i == 0 else begin
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
