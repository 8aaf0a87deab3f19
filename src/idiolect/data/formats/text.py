"""Raw text: {"text": ...}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.data.examples import Text
from idiolect.data.formats import FORMATS
from idiolect.data.formats.fields import text


@FORMATS.register("text")
def read_text(record: Mapping[str, Any]) -> Text:
    """{"text": ...}: every token is learned."""
    return Text(text(record, "text"), bool(record.get("first", True)), bool(record.get("last", True)))
