"""The methods of adaptation: one registry, one contract (`contract.py`), one test suite.

Rates are those of the sources for models of some billion parameters;
`tasks.tune.methods.recommended_ranges` scales them to a narrower base.
"""

from tasks.settings import Method as Name
from tasks.tune.methods.bottleneck import bottleneck
from tasks.tune.methods.contract import AdaptedModel, Method
from tasks.tune.methods.full_finetune import check_chosen, feature_extraction, full
from tasks.tune.methods.lora import alpha, lanes, lora
from tasks.tune.methods.lora import check as check_lora
from tasks.tune.methods.lora_variants import adalora, check_ia3, dora, ia3
from tasks.tune.methods.prompts import check as check_prompts
from tasks.tune.methods.prompts import prefix, prompt, ptuning

__all__ = ["METHODS", "AdaptedModel", "Method", "alpha", "lanes"]

_LORA = frozenset({"rank", "alpha", "dropout", "target_modules"})

METHODS: dict[Name, Method] = {
    "full": Method(
        name="full",
        attach=full,
        usual_rate=2e-5,
        rates=(1e-5, 5e-5),
        source="Devlin et al. 2018, https://arxiv.org/abs/1810.04805",
    ),
    "feature_extraction": Method(
        name="feature_extraction",
        attach=feature_extraction,
        check=check_chosen,
        usual_rate=1e-4,
        rates=(1e-5, 3e-4),
        source="Kumar et al. 2022, https://arxiv.org/abs/2202.10054",
        uses=frozenset({"trained_modules"}),
    ),
    "lora": Method(
        name="lora",
        attach=lora,
        check=check_lora,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Hu et al. 2021, https://arxiv.org/abs/2106.09685",
        uses=_LORA,
        shares=True,
    ),
    "qlora": Method(
        name="qlora",
        attach=lora,
        check=check_lora,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Dettmers et al. 2023, https://arxiv.org/abs/2305.14314",
        uses=_LORA,
        quantised=True,
        shares=True,
    ),
    "dora": Method(
        name="dora",
        attach=dora,
        check=check_lora,
        usual_rate=2e-4,
        rates=(1e-4, 3e-4),
        source="Liu et al. 2024, https://arxiv.org/abs/2402.09353",
        uses=_LORA,
    ),
    "adalora": Method(
        name="adalora",
        attach=adalora,
        check=check_lora,
        usual_rate=1e-3,
        rates=(5e-4, 3e-3),
        source="Zhang et al. 2023, https://arxiv.org/abs/2303.10512",
        uses=_LORA,
    ),
    "ia3": Method(
        name="ia3",
        attach=ia3,
        check=check_ia3,
        usual_rate=3e-3,
        rates=(1e-3, 1e-2),
        source="Liu et al. 2022, https://arxiv.org/abs/2205.05638",
        uses=frozenset({"target_modules"}),
    ),
    "bottleneck": Method(
        name="bottleneck",
        attach=bottleneck,
        usual_rate=3e-4,
        rates=(1e-4, 1e-3),
        source="Houlsby et al. 2019, https://arxiv.org/abs/1902.00751",
        uses=frozenset({"bottleneck_size", "dropout"}),
    ),
    "prefix": Method(
        name="prefix",
        attach=prefix,
        check=check_prompts,
        usual_rate=5e-5,
        rates=(2e-5, 3e-4),
        source="Li & Liang 2021, https://arxiv.org/abs/2101.00190",
        uses=frozenset({"virtual_tokens"}),
    ),
    "prompt": Method(
        name="prompt",
        attach=prompt,
        check=check_prompts,
        usual_rate=1e-2,
        rates=(1e-3, 6e-2),
        source="Lester et al. 2021, https://arxiv.org/abs/2104.08691",
        uses=frozenset({"virtual_tokens"}),
    ),
    "ptuning": Method(
        name="ptuning",
        attach=ptuning,
        check=check_prompts,
        usual_rate=2e-3,
        rates=(2e-4, 1e-2),
        source="Liu et al. 2021, https://arxiv.org/abs/2103.10385 and 2110.07602",
        uses=frozenset({"virtual_tokens", "ptuning_version"}),
    ),
}
