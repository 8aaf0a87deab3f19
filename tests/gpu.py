"""Where the tests of the GPU code run: on a CUDA device, or in Triton's interpreter (`TRITON_INTERPRET=1`, slow)."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

EXAMPLES = 40 if torch.cuda.is_available() else 4  # of a law; the interpreter is slow
# The interpreter multiplies no bfloat16 matrices.
DTYPES = [torch.float32, torch.bfloat16] if torch.cuda.is_available() else [torch.float32]
REASON = "no CUDA device: a machine with an NVIDIA GPU runs this"


def kernels() -> torch.device:
    """The device on which the Triton kernels can be called; skips where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None:
        return torch.device("cpu")
    pytest.skip(REASON)


def cuda() -> torch.device:
    """A real CUDA device; skips where there is none."""
    if not torch.cuda.is_available():
        pytest.skip(REASON)
    return torch.device("cuda")
