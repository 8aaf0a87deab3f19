"""Raw text: {"text": ...}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.data.examples import Text
from idiolect.data.formats import FORMATS
from idiolect.data.formats.fields import text
from idiolect.data.readers.text import Part


@FORMATS.register("text")
def read_text(record: Mapping[str, Any]) -> Text:
    """{"text": ...}: every token is learned."""
    if isinstance(record, Part):
        return Text(text(record, "text"), record["first"], record["last"])
    return Text(text(record, "text"))
