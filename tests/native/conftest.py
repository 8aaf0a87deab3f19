"""The kernels, with every instruction set of this architecture; skipped where nothing can compile them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from idiolect.core.errors import Unavailable
from idiolect.native import library as native
from idiolect.native.program import Team
from idiolect.native.toolchain import variants


@pytest.fixture(scope="session")
def lib() -> Any:
    try:
        return native.library(every=True)
    except Unavailable as error:
        pytest.skip(error.message)


@pytest.fixture(params=list(variants(every=True)))
def isa(request: pytest.FixtureRequest, lib: Any) -> Iterator[str]:
    """Each instruction set that this processor has, in use while the test runs."""
    before = lib.idl_isa()
    if not lib.idl_use_isa(request.param.encode()):
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    lib.idl_use_isa(before)


@pytest.fixture(scope="session")
def team(lib: Any) -> Team:
    return Team(lib, 2)
