"""The methods of adaptation: one registry, one contract (`contract`), one test suite.

What is here imports neither torch nor PEFT. Rates are those of the sources for models of some
billion parameters; `recommended_ranges` scales them to a narrower base.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports
from tasks.core.plugins import PluginRegistry
from tasks.tune.methods.method import Method
from tasks.tune.methods.settings import (
    BottleneckSettings,
    FeatureExtraction,
    Ia3,
    LowRank,
    MethodSettings,
    PTuning,
    VirtualTokens,
)

if TYPE_CHECKING:
    from tasks.tune.methods.adapters import PeftAdapter, peft_model
    from tasks.tune.methods.contract import AdaptedModel

__all__ = ["METHODS", "AdaptedModel", "Method", "MethodSettings", "PeftAdapter", "peft_model"]

__getattr__ = lazy_exports(
    __name__, {"AdaptedModel": "contract", "PeftAdapter": "adapters", "peft_model": "adapters"}
)

METHODS: PluginRegistry[Method] = PluginRegistry("method")

METHODS.add(
    Method(
        name="full",
        attaches="tasks.tune.methods.full_finetune:full",
        usual_rate=2e-5,
        rates=(1e-5, 5e-5),
        source="Devlin et al. 2018, https://arxiv.org/abs/1810.04805",
        writes="model",
    )
)
METHODS.add(
    Method(
        name="feature_extraction",
        attaches="tasks.tune.methods.full_finetune:feature_extraction",
        checks="tasks.tune.methods.full_finetune:check_chosen",
        settings=FeatureExtraction,
        usual_rate=1e-4,
        rates=(1e-5, 3e-4),
        source="Kumar et al. 2022, https://arxiv.org/abs/2202.10054",
        writes="model",
    )
)
METHODS.add(
    Method(
        name="lora",
        attaches="tasks.tune.methods.lora:lora",
        checks="tasks.tune.methods.lora:check",
        settings=LowRank,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Hu et al. 2021, https://arxiv.org/abs/2106.09685",
        batches_adapters=True,
    )
)
METHODS.add(
    Method(
        name="qlora",
        attaches="tasks.tune.methods.lora:lora",
        checks="tasks.tune.methods.lora:check",
        settings=LowRank,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Dettmers et al. 2023, https://arxiv.org/abs/2305.14314",
        quantised=True,
        batches_adapters=True,
    )
)
METHODS.add(
    Method(
        name="dora",
        attaches="tasks.tune.methods.lora_variants:dora",
        checks="tasks.tune.methods.lora:check",
        settings=LowRank,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Liu et al. 2024, https://arxiv.org/abs/2402.09353",
    )
)
METHODS.add(
    Method(
        name="adalora",
        attaches="tasks.tune.methods.lora_variants:adalora",
        checks="tasks.tune.methods.lora:check",
        settings=LowRank,
        usual_rate=1e-3,
        rates=(5e-4, 3e-3),
        source="Zhang et al. 2023, https://arxiv.org/abs/2303.10512",
    )
)
METHODS.add(
    Method(
        name="ia3",
        attaches="tasks.tune.methods.lora_variants:ia3",
        checks="tasks.tune.methods.lora_variants:check_ia3",
        settings=Ia3,
        usual_rate=3e-3,
        rates=(1e-3, 1e-2),
        source="Liu et al. 2022, https://arxiv.org/abs/2205.05638",
    )
)
METHODS.add(
    Method(
        name="bottleneck",
        attaches="tasks.tune.methods.bottleneck:bottleneck",
        settings=BottleneckSettings,
        usual_rate=3e-4,
        rates=(1e-4, 1e-3),
        source="Houlsby et al. 2019, https://arxiv.org/abs/1902.00751",
        loaded_with="tasks.model.bottleneck",
    )
)
METHODS.add(
    Method(
        name="prefix",
        attaches="tasks.tune.methods.prompts:prefix",
        checks="tasks.tune.methods.prompts:check",
        settings=VirtualTokens,
        usual_rate=5e-5,
        rates=(2e-5, 3e-4),
        source="Li & Liang 2021, https://arxiv.org/abs/2101.00190",
    )
)
METHODS.add(
    Method(
        name="prompt",
        attaches="tasks.tune.methods.prompts:prompt",
        checks="tasks.tune.methods.prompts:check",
        settings=VirtualTokens,
        usual_rate=1e-2,
        rates=(1e-3, 6e-2),
        source="Lester et al. 2021, https://arxiv.org/abs/2104.08691",
    )
)
METHODS.add(
    Method(
        name="ptuning",
        attaches="tasks.tune.methods.prompts:ptuning",
        checks="tasks.tune.methods.prompts:check",
        settings=PTuning,
        usual_rate=2e-3,
        rates=(2e-4, 1e-2),
        source="Liu et al. 2021, https://arxiv.org/abs/2103.10385 and 2110.07602",
    )
)
