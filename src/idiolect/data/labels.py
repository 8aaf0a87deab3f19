"""Labels as a model wants them: numbers of named classes, or values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.data.tokens import Tokens

Kind = Literal["auto", "classes", "values"]


def settle(tokens: Tokens, kind: Kind = "auto", classes: Sequence[str] = ()) -> None:
    """Fix what the labels of `tokens` are. "auto": names are classes, numbers are values. `classes` gives the classes
    and their order (those of the training part, for a validation part). Raises `BadInput` for a label that does not
    fit."""
    if tokens.labels is None:
        return
    own = list(tokens.classes)
    if kind == "values" and own:
        try:
            values = np.array([float(name) for name in own])
        except ValueError:
            wrong = next(name for name in own if not _number(name))
            raise BadInput(f"the label {wrong!r} is no number", hint="regression needs numbers") from None
        tokens.labels, tokens.classes = values[tokens.labels.astype(np.int64)], ()
    elif kind == "classes" or classes or own:
        if not own:
            numbers, places = np.unique(tokens.labels, return_inverse=True)
            own = [f"{value:g}" for value in numbers]
            tokens.labels = places.astype(np.float64)
        wanted = list(classes) or own
        for name in own:
            if name not in wanted:
                raise BadInput(f"there is no class {name!r}", hint=did_you_mean(name, wanted))
        move = np.array([wanted.index(name) for name in own], np.float64)
        tokens.labels, tokens.classes = move[tokens.labels.astype(np.int64)], tuple(wanted)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
