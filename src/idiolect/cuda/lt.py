"""Products with a GELU, or its derivative, in their epilogue, straight from cuBLASLt's C interface.

torch has no call for them, and kernels of their own pass over a feed-forward's inside again (H100, 131,072 rows, 768 to
3,072: forward 982 + 574 us apart, 1,300 together; backward 963 + 789 apart, 1,210 together). cuBLASLt is already in the
process with torch. The numbers below are constants of its header, the same since CUDA 11.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache, lru_cache
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor

GELU_AUX_BIAS, DGELU = 164, 192  # cublasLtEpilogue_t; GELU is the tanh form
_TRANS_A, _TRANS_B, _EPILOGUE, _BIAS, _AUX, _AUX_LD = 3, 4, 7, 8, 11, 12  # cublasLtMatmulDescAttributes_t
_COMPUTE_32F, _R_32F, _R_16BF, _MAX_WORKSPACE = 68, 0, 14, 1
WORKSPACE = 1 << 25  # bytes, what cuBLAS recommends on Hopper


class _Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = [
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """cuBLASLt as torch has loaded it; None where there is none."""
    if torch.version.cuda is None:
        return None
    try:
        return ctypes.CDLL(f"libcublasLt.so.{torch.version.cuda.split('.')[0]}")
    except OSError:
        return None


def _call(name: str, *args: object) -> None:
    found = library()
    assert found is not None
    if status := getattr(found, name)(*args):
        raise RuntimeError(f"{name}: cuBLAS status {status}")


class _Plan:
    """One shape of product with one epilogue: descriptors, and the algorithm that cuBLASLt thinks best."""

    def __init__(self, m: int, n: int, k: int, trans_a: bool, trans_b: bool, epilogue: int) -> None:
        """Column-major: D [m, n] = op(A) op(B)."""
        self.desc, preference = c_void_p(), c_void_p()
        _call("cublasLtMatmulDescCreate", byref(self.desc), c_int(_COMPUTE_32F), c_int(_R_32F))
        for key, value in ((_TRANS_A, trans_a), (_TRANS_B, trans_b), (_EPILOGUE, epilogue)):
            self.set(key, c_int32(int(value)))
        self.set(_AUX_LD, c_int64(m))
        self.set(_AUX, c_void_p(1 << 20))  # the choice depends on how pointers are aligned
        if epilogue == GELU_AUX_BIAS:
            self.set(_BIAS, c_void_p(1 << 20))
        self.a, self.b, self.d = c_void_p(), c_void_p(), c_void_p()
        sides = ((self.a, *((k, m) if trans_a else (m, k))), (self.b, *((n, k) if trans_b else (k, n))), (self.d, m, n))
        for layout, rows, columns in sides:
            _call(
                "cublasLtMatrixLayoutCreate",
                byref(layout),
                c_int(_R_16BF),
                c_uint64(rows),
                c_uint64(columns),
                c_int64(rows),
            )
        _call("cublasLtMatmulPreferenceCreate", byref(preference))
        size = c_size_t(WORKSPACE)
        _call("cublasLtMatmulPreferenceSetAttribute", preference, c_int(_MAX_WORKSPACE), byref(size), c_size_t(8))
        self.found, count = _Found(), c_int(0)
        handle = c_void_p(torch.cuda.current_blas_handle())
        layouts = (self.a, self.b, self.d, self.d)
        ask = library().cublasLtMatmulAlgoGetHeuristic  # type: ignore[union-attr]
        status = ask(handle, self.desc, *layouts, preference, c_int(1), byref(self.found), byref(count))
        self.known = status == 0 and count.value > 0
        _call("cublasLtMatmulPreferenceDestroy", preference)
        self.lock = Lock()

    def __del__(self) -> None:
        if (found := library()) is not None:
            found.cublasLtMatmulDescDestroy(self.desc)
            for layout in (self.a, self.b, self.d):
                found.cublasLtMatrixLayoutDestroy(layout)

    def set(self, key: int, value: ctypes._SimpleCData) -> None:
        size = c_size_t(ctypes.sizeof(value))
        _call("cublasLtMatmulDescSetAttribute", self.desc, c_int(key), byref(value), size)

    def run(self, a: Tensor, b: Tensor, out: Tensor, aux: Tensor, bias: Tensor | None = None) -> None:
        found = self.found
        space = torch.empty(max(found.workspace, 1), dtype=torch.uint8, device=out.device)
        one, zero = c_float(1.0), c_float(0.0)
        d = c_void_p(out.data_ptr())
        with self.lock:
            self.set(_AUX, c_void_p(aux.data_ptr()))
            if bias is not None:
                self.set(_BIAS, c_void_p(bias.data_ptr()))
            _call(
                *("cublasLtMatmul", c_void_p(torch.cuda.current_blas_handle()), self.desc, byref(one)),
                *(c_void_p(a.data_ptr()), self.a, c_void_p(b.data_ptr()), self.b, byref(zero), d, self.d, d, self.d),
                *(byref(found.algorithm), c_void_p(space.data_ptr()), c_size_t(found.workspace)),
                c_void_p(torch.cuda.current_stream().cuda_stream),
            )


@lru_cache(256)
def _plan(*shape: int) -> _Plan:
    return _Plan(*shape)  # type: ignore[arg-type]


def plan(operands: tuple[Tensor, ...], *shape: int) -> _Plan | None:
    """For bfloat16 operands whose rows begin at multiples of 16 bytes; None where there is no product."""
    if library() is None or any(size % 8 for size in (shape[0], shape[2])):
        return None
    if any(x.dtype != torch.bfloat16 or x.data_ptr() % 16 or not x.is_contiguous() for x in operands):
        return None
    found = _plan(*shape)
    return found if found.known else None


@torch.library.custom_op("idiolect::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """x w^T + b, and GELU's tanh form of it. x [N, D], w [H, D], b [H] -> both [N, H]."""
    (rows, dim), hidden = x.shape, w.shape[0]
    with torch.cuda.device(x.device):
        fast = plan((x, w, b), hidden, rows, dim, True, False, GELU_AUX_BIAS)
        if fast is None:
            before = F.linear(x, w, b)
            return before, F.gelu(before, approximate="tanh")
        before, after = (torch.empty(rows, hidden, dtype=x.dtype, device=x.device) for _ in range(2))
        fast.run(w, x, after, before, b)
        return before, after


@linear_gelu.register_fake
def _(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], w.shape[0]), x.new_empty(x.shape[0], w.shape[0])


@torch.library.custom_op("idiolect::gelu_backward", mutates_args=())
def gelu_backward(g: Tensor, w: Tensor, before: Tensor) -> Tensor:
    """(g w) gelu'(before): through gelu(before) w^T. g [N, D], w [D, H], before [N, H] -> [N, H]."""
    (rows, dim), hidden = g.shape, w.shape[1]
    with torch.cuda.device(g.device):
        fast = plan((g, w, before), hidden, rows, dim, False, False, DGELU)
        if fast is None:
            return torch.ops.aten.gelu_backward(g @ w, before, approximate="tanh")
        out = torch.empty_like(before)
        fast.run(w, g, out, before)
        return out


@gelu_backward.register_fake
def _(g: Tensor, w: Tensor, before: Tensor) -> Tensor:
    return torch.empty_like(before)
