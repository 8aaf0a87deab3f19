"""A JSON file: an array of records, or JSON Lines under the name .json. It is held in memory."""

from __future__ import annotations

import json
from pathlib import Path

from idiolect.core.errors import BadInput
from idiolect.data.readers import Record, Records
from idiolect.data.readers.jsonl import Jsonl, refuse
from idiolect.data.readers.kept import Kept

SPACE = " \t\r\n"


def read_array(file: Path, shown: Path) -> Records:
    """The records of the file's array, with the lines on which they begin. Raises `BadInput` with line and column."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{shown} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    at = _skip(text, 0)
    if text[at : at + 1] == "{":
        return Jsonl(file, shown)  # objects one after another: lines
    if text[at : at + 1] != "[":
        raise BadInput(f"{shown} holds no JSON array", hint="write [{...}, {...}], or one object a line in a .jsonl")
    decoder = json.JSONDecoder(parse_constant=refuse)
    records: list[Record] = []
    line, counted = 1, 0
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]" or records:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise _wrong(text, at, shown, "nested too deep") from None
        except ValueError as error:
            raise _wrong(text, getattr(error, "pos", at), shown, getattr(error, "msg", str(error))) from None
        records.append(Record(value, line))
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise _wrong(text, at, shown, "expecting ',' or ']' after a record")
        at = _skip(text, at + 1)
    if rest := text[at + 1 :].strip():
        raise _wrong(text, text.index(rest, at + 1), shown, "there is more text after the array")
    if not records:
        raise BadInput(f"{shown} holds an empty array", hint="give a file with at least one example")
    return Kept(records)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _wrong(text: str, at: int, shown: Path, said: str) -> BadInput:
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return BadInput(f"{shown}, line {line}, column {column}: this is not JSON: {said}", hint="correct the file there")
