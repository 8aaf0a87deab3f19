"""Labelled text: {"text": ..., "label": a name or a number}."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.data.examples import Labelled
from idiolect.data.formats import FORMATS
from idiolect.data.formats.fields import text


@FORMATS.register("labelled")
def read_labelled(record: Mapping[str, Any]) -> Labelled:
    """{"text", "label"}: for classifiers (names or whole numbers) and regression (numbers)."""
    words = text(record, "text")
    label = record.get("label")
    if isinstance(label, bool):
        return Labelled(words, str(label).lower())
    if isinstance(label, str):
        if not label.strip():
            raise BadInput("'label' is empty", hint="give a class or a number")
        return Labelled(words, label.strip())
    if isinstance(label, int | float) and math.isfinite(label):
        return Labelled(words, float(label))
    raise BadInput(f"'label' is {label!r}", hint="give the name of a class, or a number")
