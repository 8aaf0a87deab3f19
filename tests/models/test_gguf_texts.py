"""Texts in a GGUF file's metadata: what was written is read, by either of the two ways."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idiolect.core.errors import CorruptFile
from idiolect.models.sources.gguf_file import ARRAY, STRING, Header

TEXTS = st.lists(st.text(max_size=6) | st.text("\0a", max_size=20) | st.text("ab", min_size=250, max_size=600))


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def file(values: list[str], told: int | None = None) -> bytes:
    count = len(values) if told is None else told
    array = struct.pack("<IIQ", ARRAY, STRING, count) + b"".join(map(text, values))
    return (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + text("a") + array + text("b") + struct.pack("<I", STRING) + text("end")
    )


@settings(max_examples=200)
@given(TEXTS)
@example(["", ""])
@example(["\0" * 7, "x"])
@example(["x" * 256, "y"])
@example(["x" * 255, "y"])
def test_texts_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    path.write_bytes(file(values) + b"\0" * 64)
    header = Header(path)
    assert header.fields == {"a": values, "b": "end"}


def test_an_array_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(file(["ab", "cd"], told=500))
    with pytest.raises(CorruptFile, match="truncated or damaged"):
        Header(path)
