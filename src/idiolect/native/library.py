"""The kernels' C interface (csrc/api.h) for Python."""

from __future__ import annotations

import ctypes as c
import threading
from typing import Any

import numpy as np

from idiolect.core.errors import Unavailable
from idiolect.native.toolchain import build

ABI = 5
NORMS = {"none": 0, "rms": 1, "layer": 2}
ACTIVATIONS = {"silu": 1, "swish": 1, "gelu": 2, "gelu_new": 3, "gelu_pytorch_tanh": 3, "relu": 4}
STORE, ADD, LOGITS = 0, 1, 2
EMBED, NORM, PREP, LINEAR, ROPE, ATTEND, GATHER, CHOOSE = 1, 2, 3, 4, 5, 6, 7, 8
Q4C, Q4, Q8C, Q8, Q8H, BF16, F32, F16 = range(8)


class Op(c.Structure):
    """`idl_op`: one operation of a recorded step."""

    _fields_ = [
        *(
            (name, c.c_int32)
            for name in (
                *("kind", "source", "target", "rows", "norm", "epilogue", "act", "pair", "column", "wkind", "n", "k"),
                *("layer", "heads", "kv_heads", "dim", "rotary", "causal", "window", "first"),
            )
        ),
        *((name, c.c_float) for name in ("eps", "scale", "offset")),
        *((name, c.c_void_p) for name in ("w", "a", "b", "c", "d")),
    ]


# `idl_choice`: how a row's token is chosen.
CHOICE = np.dtype(
    [
        *(("seed", "<u8"), ("choice", "<i8"), ("index", "<u8"), ("temperature", "<f4"), ("top_k", "<i4")),
        *(("top_p", "<f4"), ("min_p", "<f4"), ("wants", "<i4"), ("spare", "<i4")),
    ]
)


class Delta(c.Structure):
    """`idl_delta`: what an adapter does to one product."""

    _fields_ = [("rank", c.c_int32), *((name, c.c_void_p) for name in ("a", "b", "out", "into"))]


class Step(c.Structure):
    """`idl_step`: what changes from step to step."""

    _fields_ = [
        *((name, c.c_int32) for name in ("begin", "end", "n", "segments", "wanted", "table_stride")),
        *((name, c.c_void_p) for name in ("ids", "pos", "bounds", "lengths", "tables", "out_rows", "logits")),
        ("logits_stride", c.c_int64),
        *((name, c.c_void_p) for name in ("adapters", "deltas", "soft")),
        *((name, c.c_int32) for name in ("vocabulary", "ranks")),
        *((name, c.c_void_p) for name in ("choices", "chosen", "norms", "top_ids", "top_logprobs")),
        ("top_stride", c.c_int64),
    ]


class Cache(c.Structure):
    """`idl_cache`: keys and values in pages."""

    _fields_ = [
        *((name, c.c_int32) for name in ("page_size", "pages", "layers", "kv_heads", "dim", "int8")),
        *((name, c.c_void_p) for name in ("k", "v", "k_scales", "v_scales")),
    ]


_guard = threading.Lock()
_loaded: dict[str, Any] = {}


def library(every: bool = False) -> Any:
    """The loaded kernels; built on first use. `Unavailable` says why there are none. `every`: see `toolchain.build`."""
    with _guard:
        path = str(build(every))
        if path not in _loaded:
            _loaded[path] = _load(path)
        return _loaded[path]


def _load(path: str) -> Any:
    try:
        lib = c.CDLL(path)
    except OSError as error:
        raise Unavailable(f"the kernels at {path} cannot be loaded: {error}", hint="delete that file") from error
    lib.idl_abi.restype = c.c_int
    if lib.idl_abi() != ABI:
        raise Unavailable(f"the kernels at {path} have another interface", hint="delete that file")
    p, i, i64 = c.c_void_p, c.c_int, c.c_int64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "idl_isa": (c.c_char_p, []),
        "idl_use_isa": (i, [c.c_char_p]),
        "idl_team_new": (p, [i]),
        "idl_team_free": (None, [p]),
        "idl_program_new": (p, [p, p, i, p, i, i, i]),
        "idl_program_free": (None, [p]),
        "idl_program_quiesce": (None, [p]),
        "idl_program_buffer": (p, [p, i]),
        "idl_program_start": (i, [p, p, p]),
        "idl_program_wait": (None, [p]),
        "idl_program_run": (i, [p, p, p]),
        "idl_choose": (c.c_int32, [p, i, p, p, p, p]),
        "idl_uniform": (c.c_double, [c.c_uint64, i64, c.c_uint64]),
        "idl_packed_bytes": (i64, [i, i, i]),
        "idl_pack_kind": (i, [i]),
        "idl_pack": (i, [i, i, p, i64, i, p, i, p]),
        "idl_unpack": (None, [i, p, i, p, i, p]),
        "idl_matmul": (None, [p, i, p, i, i, p, i, p]),
        "idl_measure": (c.c_double, [i, i, c.c_double, p, i64]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if lib.idl_isa() is None:
        raise Unavailable("the kernels are for another processor", hint=f"delete {path}")
    return lib
