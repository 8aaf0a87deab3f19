"""CSV and TSV tables with a line of column names. The file is read into memory."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

from idiolect.core.errors import BadInput
from idiolect.data.readers import Record
from idiolect.data.readers.kept import Kept


class Table(Kept):
    """A record is a row, as a mapping from column names to texts.

    A table without names, as the SMS spam collection is published (`ham<tab>text`), is read as label and text when its
    first line has two columns, neither of which is called so.
    """

    def __init__(self, file: Path, shown: Path, delimiter: str) -> None:
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadInput(f"{shown} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
        # A tab-separated file has no quoting: a quotation mark in it is a character like any other.
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        usual = csv.field_size_limit(len(text) + 1)  # 131,072 characters otherwise
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
        rows: list[Record] = []
        names: list[str] = []
        begin = 1
        try:
            for row in reader:
                line, begin = begin, reader.line_num + 1
                if not any(cell.strip() for cell in row):
                    continue
                if not names:
                    names = [cell.strip() for cell in row]
                    if len(names) != 2 or {"text", "prompt", "label"} & set(names):
                        continue
                    names = ["label", "text"]
                if len(row) != len(names):
                    raise BadInput(
                        f"{shown}, line {line}: {len(row)} columns instead of {len(names)}",
                        hint=f"the columns are {', '.join(names)}; quote a text that holds {delimiter!r}",
                    )
                rows.append(Record(dict(zip(names, row, strict=True)), line))
        except csv.Error as error:
            raise BadInput(f"{shown}, line {reader.line_num}: {error}", hint="correct the quoting there") from None
        finally:
            csv.field_size_limit(usual)
        if not rows:
            raise BadInput(f"{shown} has no rows", hint="give a table with at least one example")
        super().__init__(rows)
