"""Whether the kernels of this package can run, and if not, why."""

from __future__ import annotations

import importlib.util

import torch

OLDEST = (8, 0)  # compute capability: bfloat16 in hardware (Ampere)


def missing(device: torch.device | str = "cuda") -> str:
    """Why the kernels cannot run on a device; "" where they can."""
    where = torch.device(device)
    if where.type != "cuda":
        return f"the model is on {where}"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if torch.cuda.get_device_capability(where) < OLDEST:
        return f"{torch.cuda.get_device_name(where)} is older than compute capability {OLDEST[0]}.{OLDEST[1]}"
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    return ""


def describe(device: torch.device | str = "cuda") -> str:
    """The card, and the versions that compile for it."""
    import triton

    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, triton {triton.__version__}"
