"""Names of a package that are imported when first used (PEP 562): what only lists or plans imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def attribute(package: str, where: Mapping[str, str], name: str) -> Any:
    """`name` from the module of `package` that `where` gives for it; for a package's `__getattr__`.

    No module may be called like a name of `where`: importing it would put the module in the name's place.
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{package}.{where[name]}"), name)
