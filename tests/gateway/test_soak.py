"""The soak of benchmarks/soak.py for twenty seconds, on the embedded model."""

from __future__ import annotations

import pytest

from benchmarks.soak import soak


@pytest.mark.slow
def test_no_page_leaks_and_no_token_is_wrong() -> None:
    seen, leak, prompts = soak(None, clients=16, seconds=20, tokens=16, seed=1)
    assert seen.wrong == []
    assert leak == 0
    assert prompts == 20 and seen.whole > 0 and seen.stopped > 0 and seen.hung_up > 0
