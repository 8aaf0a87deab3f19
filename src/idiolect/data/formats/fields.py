"""Reading one field of a record, with an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean


def text(record: Mapping[str, Any], key: str, *, empty: bool = False) -> str:
    """The text under `key`. Missing, another type, or (unless `empty`) nothing but white space is `BadInput`."""
    if key not in record:
        raise BadInput(f"the key {key!r} is missing", hint=did_you_mean(key, map(str, record)))
    value = record[key]
    if value is None and empty:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{key!r} is no text but {type(value).__name__}", hint="put it in quotation marks")
    if not empty and not value.strip():
        raise BadInput(f"{key!r} is empty", hint="a model cannot learn from it; on_error=skip leaves such records out")
    return value
