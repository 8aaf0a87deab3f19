"""A judged number cannot be shown, written or computed with apart from its validity."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest

from idiolect.core.canonical import canonical
from idiolect.core.errors import BadInput
from idiolect.evals.judges import Judged, Validity
from idiolect.evals.stats import bootstrap, kappa, wilson

VALID = Validity("gpt-x", 20, 3, 17, wilson(15, 17), kappa([1, 2, 3], [1, 2, 2], draws=20))
ESTIMATE = bootstrap([1.0, 2.0, 3.0, 5.0])


@pytest.mark.parametrize("value", [3.25, 7, ESTIMATE])
def test_every_way_of_printing_tells_the_validity(value: Any) -> None:
    one = Judged(value, VALID)
    spelled = "2.750" if value is ESTIMATE else f"{value:.3f}"
    ways = [str(one), repr(one), f"{one}", f"{one!r}", f"{one:.3f}", "%s" % one, f"{[one]}", f"{ {'x': one} }"]  # noqa: UP031
    for text in ways:
        assert "gpt-x" in text and "3 of 20 unparsable" in text and "swap-consistent" in text and "kappa" in text
    assert spelled in f"{one:.3f}"
    told = json.dumps(one.to_dict())
    assert '"judge": "gpt-x"' in told and '"unparsable": 3' in told


@pytest.mark.parametrize(
    "way",
    [
        float,
        int,
        round,
        math.floor,
        abs,
        json.dumps,
        canonical,
        np.float64,
        dataclasses.asdict,
        vars,
        sum,
        lambda x: x + 1,
        lambda x: x * 1.0,
        lambda x: x < 2,
        lambda x: "%f" % x,  # noqa: UP031
        lambda x: x.value,
        lambda x: x.__value,
        lambda x: np.asarray([x], dtype=float),
        lambda x: [0, 1][x],
        hash,
    ],
)
def test_it_is_no_number(way: Any) -> None:
    with pytest.raises((TypeError, AttributeError, BadInput)):
        way(Judged(1.0, VALID))


def test_what_is_computed_from_it_is_as_valid() -> None:
    other = Validity("b", 5, 0)
    one = Judged(4.0, VALID)
    half = one.map(lambda x: x / 2)
    assert half == Judged(2.0, VALID) and half != Judged(2.0, other)
    both = one.join(Judged(1.0, other), lambda x, y: x - y)
    assert both.validity == (VALID, other) and "gpt-x" in str(both) and "judge b" in str(both)
    assert one.join(one, lambda x, y: x + y).validity == (VALID,)


def test_what_was_not_measured_is_said() -> None:
    text = str(Judged(1.0, Validity("b", 5, 0)))
    assert "order not swapped" in text and "no labels to agree with" in text
    with pytest.raises(TypeError, match="validity"):
        Judged(1.0)


def test_no_subclass_and_no_copy_loses_it() -> None:
    with pytest.raises(TypeError, match="subclassed"):
        type("Bare", (Judged,), {"__str__": lambda self: "1.0"})
    one = Judged(1.0, VALID)
    assert copy.deepcopy(one) == one == pickle.loads(pickle.dumps(one))
    with pytest.raises(AttributeError):
        one.note = "x"  # type: ignore[attr-defined]
