"""The kernels' C interface (csrc/api.h) for Python."""

from __future__ import annotations

import ctypes as c
from functools import cache
from typing import Any

from idiolect.core.errors import Unavailable
from idiolect.native.toolchain import build

ABI = 1


class Op(c.Structure):
    """`idl_op`: one operation of a recorded step."""

    _fields_ = [
        *((name, c.c_int32) for name in (
            "kind", "source", "target", "rows", "norm", "epilogue", "wkind", "n", "k", "layer", "heads", "kv_heads",
            "dim", "rotary", "causal", "window", "offset_rows",
        )),
        *((name, c.c_float) for name in ("eps", "scale", "offset")),
        *((name, c.c_void_p) for name in ("w", "a", "b", "c", "d")),
    ]  # fmt: skip


class Step(c.Structure):
    """`idl_step`: what changes from step to step."""

    _fields_ = [
        *((name, c.c_int32) for name in ("begin", "end", "n", "segments", "wanted", "table_stride")),
        *((name, c.c_void_p) for name in ("ids", "pos", "bounds", "lengths", "tables", "out_rows", "logits")),
        ("logits_stride", c.c_int64),
    ]


class Cache(c.Structure):
    """`idl_cache`: keys and values in pages."""

    _fields_ = [
        *((name, c.c_int32) for name in ("page_size", "pages", "layers", "kv_heads", "dim", "reserved")),
        ("k", c.c_void_p),
        ("v", c.c_void_p),
    ]


@cache
def library() -> Any:
    """The loaded kernels; built on first use. `Unavailable` says why there are none."""
    path = build()
    try:
        lib = c.CDLL(str(path))
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
        "idl_program_buffer": (p, [p, i]),
        "idl_program_run": (i, [p, p, p]),
        "idl_packed_bytes": (i64, [i, i, i]),
        "idl_pack_kind": (i, [i]),
        "idl_pack": (i, [i, p, i64, i, p, i, p]),
        "idl_unpack": (None, [i, p, i, p, i, p]),
        "idl_matmul": (None, [p, i, p, i, i, p, i, p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
