"""The settings of each method, without what it takes to attach one."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from tasks.settings.section import Section

Targets: TypeAlias = Literal["all-linear", "qv", "qkvo"] | list[str]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class MethodSettings(Section):
    """The settings of one method; a method without any is `{name: full}`."""

    KEY = "tune.method"

    name: str
    """The method."""


class LowRank(MethodSettings):
    """LoRA, and its variants QLoRA, DoRA and AdaLoRA."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank r of the update; for AdaLoRA, the average rank that it ends with."""
    alpha: Annotated[float, Field(gt=0)] | Literal["r", "2r"] = "2r"
    """LoRA's alpha, a number or by the rank: the update is scaled by alpha / r."""
    dropout: Dropout = 0.0
    """Dropout before the adapter."""
    target_modules: Targets = "all-linear"
    """Modules that are adapted: attention's `qv` or `qkvo`, `all-linear`, or names."""

    @property
    def scaling_alpha(self) -> int | float:
        """Alpha as a number, where it is set by the rank."""
        given = {"r": self.rank, "2r": 2 * self.rank}.get(str(self.alpha), self.alpha)
        return int(given) if given == int(given) else float(given)


class Ia3(MethodSettings):
    """IA³: factors for activations."""

    target_modules: Targets = "all-linear"
    """Names of modules; any other value means PEFT's choice for the architecture."""


class BottleneckSettings(MethodSettings):
    """A bottleneck adapter after each block."""

    bottleneck_size: Annotated[int, Field(ge=1, le=8192)] = 64
    """Width of the adapter (usual: 64 to 256)."""
    dropout: Dropout = 0.0
    """Dropout before the adapter."""


class VirtualTokens(MethodSettings):
    """Virtual tokens before each sequence: prompt tuning and prefix tuning."""

    virtual_tokens: Annotated[int, Field(ge=1, le=1000)] = 20
    """Number of virtual tokens (usual: 10 to 50)."""


class PTuning(VirtualTokens):
    """P-tuning."""

    ptuning_version: Literal["v1", "v2"] = "v2"
    """v1 learns the input's prompt through a small network, v2 a prompt in each layer."""


class FeatureExtraction(MethodSettings):
    """Some modules of the base, trained while the others are frozen."""

    trained_modules: Annotated[list[str], Field(min_length=1)] = ["lm_head"]
    """The output head (`lm_head`), or modules by the end of their names."""
