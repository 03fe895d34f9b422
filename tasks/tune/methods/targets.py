"""Which modules an adapter goes into, by words that hold for every architecture."""

import re
from typing import TYPE_CHECKING

from tasks.errors import BadInput
from tasks.settings import Targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How architectures call the parts of attention: one projection each, or fused ones.
_PARTS = {
    "q": r"q_proj|query|wq|q_lin|to_q",
    "k": r"k_proj|key|wk|k_lin|to_k",
    "v": r"v_proj|value|wv|v_lin|to_v",
    "o": r"o_proj|out_proj|dense|wo|out_lin|to_out",
}
_FUSED = r"c_attn|qkv_proj|query_key_value|Wqkv|qkv"


def target_modules(base: "PreTrainedModel", targets: Targets) -> str | list[str]:
    """`targets` as PEFT takes them: `all-linear`, or the last parts of modules' names.

    Raises:
        BadInput: the base's attention has no such projections under a known name.
    """
    if targets not in ("qv", "qkvo"):
        return targets
    inside = {
        name.rpartition(".")[2]
        for name, _ in base.named_modules()
        if re.search(r"attn|attention", name, re.IGNORECASE)
    }
    found = {name for part in targets for name in inside if re.fullmatch(_PARTS[part], name)} | {
        name for name in inside if re.fullmatch(_FUSED, name)
    }
    if not found:
        raise BadInput(
            f"tune.target_modules: {targets} has no projection of a known name in "
            f"{type(base).__name__}; name the modules, as in [c_attn]"
        )
    return sorted(found)
