"""The software around a computation: Python, libraries, and variables that change numbers."""

import functools
import importlib.metadata
import os
import platform
import re

from tasks.core.values import Value

# What threads, kernels and allocators of the numeric libraries read.
_NUMERIC = re.compile(
    r"(OMP|KMP|MKL|OPENBLAS|BLIS|NUMEXPR|ONEDNN|DNNL|ATEN|CUBLAS|CUDNN|NVIDIA_TF32|NCCL|TORCH"
    r"|PYTORCH)_\w+|CUDA_VISIBLE_DEVICES|PYTHONHASHSEED"
)


class Environment(Value):
    """What is installed, and what is set."""

    python: str
    system: str
    """Operating system and its C library."""
    libraries: dict[str, str]
    """Version of each installed distribution, by its normalised name."""
    variables: dict[str, str]
    """Environment variables of numeric libraries that are set."""


def environment() -> Environment:
    """That of this process."""
    set_here = {name: value for name, value in os.environ.items() if is_numeric(name)}
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=" ".join([platform.system(), *filter(None, platform.libc_ver())]),
        libraries=_libraries(),
        variables=dict(sorted(set_here.items())),
    )


def is_numeric(variable: str) -> bool:
    """Whether numeric libraries read an environment variable of this name."""
    return _NUMERIC.fullmatch(variable) is not None


@functools.cache
def _libraries() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a folder left behind by an interrupted installation has none
            # The first one found is what an import finds.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return dict(sorted(found.items()))
