"""Files of every kind give the same records; what is wrong in one is said with its line."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.data import Dataset
from idiolect.data.dataset import Skipped
from idiolect.data.examples import Labelled, Text
from idiolect.data.readers import open_records
from idiolect.data.readers.text import Documents
from tests.data.parts import jsonl

TEXTS = [{"text": "one"}, {"text": "zwei, “quoted”\tand more"}, {"text": "3"}]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))


def write(folder: Path, kind: str) -> Path:
    path = folder / f"data.{kind}"
    if kind == "jsonl":
        return jsonl(path, TEXTS)
    if kind == "json":
        path.write_text(json.dumps(TEXTS, indent=2))
    if kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(t) + "\n" for t in TEXTS).encode()))
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text"])
            writer.writeheader()
            writer.writerows(TEXTS)
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(arrow.Table.from_pylist(TEXTS), path, row_group_size=2)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "jsonl.gz", "csv", "parquet"])
def test_every_kind_of_file_reads_alike(tmp_path: Path, kind: str) -> None:
    data = Dataset(write(tmp_path, kind))
    assert [data[i] for i in (2, 0, 1)] == [Text(TEXTS[i]["text"]) for i in (2, 0, 1)]
    assert data.format == "text"


def test_folders_and_globs_are_read_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        jsonl(tmp_path / name, [{"text": name}])
    (tmp_path / "notes.docx").write_text("not data")
    names = [Text("a.jsonl"), Text("b.jsonl")]
    assert list(Dataset(tmp_path)) == list(Dataset(str(tmp_path / "*.jsonl"))) == names
    assert list(Dataset([tmp_path / "b.jsonl", tmp_path / "a.jsonl", tmp_path / "b.jsonl"])) == names[::-1]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.jsonl", b'{"text": "a"}\n\n{"text": \n', "x.jsonl, line 3"),
        ("x.jsonl", b'{"text": NaN}\n', "x.jsonl, line 1: this is not JSON: NaN"),
        ("x.jsonl", b'{"text": "\xff"}\n', "x.jsonl, line 1: this is not UTF-8"),
        ("x.jsonl", b'{"text": "a"}\n[1]\n', "x.jsonl, line 2: a record is a list"),
        ("x.jsonl", b'[\n{"text": "a"}]\n', "holds a JSON array"),
        ("x.json", b'[\n {"text": "a"},\n {"text" "b"}\n]', "x.json, line 3, column 10"),
        ("x.json", b'[{"text": "a"},\n]', "x.json, line 2, column 1"),
        (
            "x.json",
            b'[{"text": "a"},\n {"text": "b", "label": NaN}]',
            "x.json, line 2, column 2: this is not JSON: NaN",
        ),
        ("x.json", b'[{"text": "a"}', "expecting ','"),
        ("x.json", b'[{"text": "a"}]\n{}', "x.json, line 2, column 1: this is not JSON: there is more"),
        ("x.json", b'"text"', "holds no JSON array"),
        ("x.json", b"[]", "empty array"),
        ("x.csv", b"text,label\na,b\nc\n", "x.csv, line 3: 1 columns instead of 2"),
        ("x.csv", b'text,label\n"a,b\n', "x.csv, line 2"),
        ("x.csv", b"text,label\n", "has no rows"),
        ("x.jsonl", b"", "is empty"),
        ("x.docx", b"x", "is of no known kind"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as error:
        list(Dataset(tmp_path / name))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.hint or says == "is empty"


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        Dataset(tmp_path / "no.jsonl")
    with pytest.raises(NotFound, match="holds no data"):
        Dataset(tmp_path)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 99)[:-9])
    with pytest.raises(CorruptFile, match="damaged"):
        Dataset(tmp_path / "x.jsonl.gz")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    pytest.importorskip("pyarrow")
    with pytest.raises(CorruptFile, match="no Parquet file"):
        Dataset(tmp_path / "x.parquet")


def test_skipping_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": ""}\nnonsense\n{"text": "  "}\n{"text": "b"}\n')
    skipped = Skipped()
    assert [(i, e) for i, e in Dataset(path).examples("skip", skipped)] == [(0, Text("a")), (4, Text("b"))]
    assert skipped.reasons["'text' is empty"] == 2
    assert skipped.total == 3
    assert [f"line {n}" in text for n, text in zip((2, 3, 4), skipped.first, strict=True)] == [True] * 3


def test_the_sms_collection_is_read_without_names(tmp_path: Path) -> None:
    (tmp_path / "sms.tsv").write_text('ham\tOk lar... "joking\nspam\tWin £100, call now\n', "utf-8")
    assert list(Dataset(tmp_path / "sms.tsv")) == [
        Labelled('Ok lar... "joking', "ham"),
        Labelled("Win £100, call now", "spam"),
    ]


@settings(deadline=None, max_examples=60)
@given(documents=st.lists(st.text("ab\n é", min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_documents_are_cut_at_the_separator(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    documents = [d.strip("\n") for d in documents]
    path = tmp_path_factory.mktemp("docs") / "x.txt"
    path.write_text("\n===\n".join(documents), "utf-8")
    found = [r["text"] for r, _ in map(open_records(path, "===").__getitem__, range(len(documents)))]
    assert found == documents


def test_a_long_document_comes_in_parts_that_make_it_up(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    text = "".join(f"line {i} é\n" for i in range(500)) + "the end"
    path.write_text(text, "utf-8")
    parts = Documents(path, path, "", part=100)
    found = [parts[i].value for i in range(len(parts))]
    assert len(found) > 10
    assert "".join(p["text"] for p in found) == text
    assert [p["first"] for p in found] == [True] + [False] * (len(found) - 1)
    assert [p["last"] for p in found] == [False] * (len(found) - 1) + [True]
    assert all(len(p["text"].encode()) <= 100 for p in found)


def test_files_from_windows(tmp_path: Path) -> None:
    """A byte-order mark, carriage returns and blank lines."""
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a.jsonl").write_bytes(mark + b'{"text": "a"}\r\n\r\n   \r\n{"text": "b"}\r\n')
    (tmp_path / "b.jsonl").write_bytes(mark + b'\r\n{"text": "a"}\r\n{"text": "b"}')
    (tmp_path / "c.json").write_bytes(mark + b'[{"text": "a"},\r\n {"text": "b"}]\r\n')
    (tmp_path / "d.csv").write_bytes(mark + b"text\r\na\r\nb\r\n")
    for name in ("a.jsonl", "b.jsonl", "c.json", "d.csv"):
        assert list(Dataset(tmp_path / name)) == [Text("a"), Text("b")], name
    assert Dataset(tmp_path / "a.jsonl").place(1).endswith("line 4")
    (tmp_path / "e.txt").write_bytes(mark + b"a\r\n===\r\nb\r\n")
    assert [e.text for e in Dataset(tmp_path / "e.txt", separator="===")] == ["a", "b\r\n"]  # type: ignore[union-attr]


def test_nested_columns_of_parquet_are_what_they_were_in_json(tmp_path: Path) -> None:
    """Arrow fills objects up with the keys of others: neither a turn nor a call may get what it did not have."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def call(name: str, **arguments: object) -> dict[str, object]:
        return {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}],
        }

    asked = {"role": "user", "content": "Q"}
    chats = [
        {"messages": [asked, call("f", x=1), {"role": "tool", "content": "2", "tool_call_id": "1"},
                      {"role": "assistant", "content": "good"}]},
        {"messages": [asked, call("g", city="Wien", days=[1, 2])]},
        {"messages": [{"role": "system", "content": "S"}, asked, {"role": "assistant", "content": "good"}]},
    ]  # fmt: skip
    parquet.write_table(arrow.Table.from_pylist(chats), tmp_path / "x.parquet", row_group_size=2)
    found = list(Dataset(tmp_path / "x.parquet"))
    assert found == list(Dataset(jsonl(tmp_path / "x.jsonl", chats)))
    assert found[1].messages[1].tool_calls[0].arguments == '{"city": "Wien", "days": [1, 2]}'  # type: ignore[union-attr]
    pair = {
        "chosen": [asked, {"role": "assistant", "content": "a"}],
        "rejected": [asked, {"role": "assistant", "content": "b"}],
    }
    parquet.write_table(arrow.Table.from_pylist([{**pair, "prompt": None, "score": 1.5}]), tmp_path / "y.parquet")
    assert list(Dataset(tmp_path / "y.parquet")) == list(Dataset(jsonl(tmp_path / "y.jsonl", [pair])))


def test_a_long_cell_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"text\n{'a' * 200_000}\n")
    assert list(Dataset(tmp_path / "x.csv")) == [Text("a" * 200_000)]
    assert csv.field_size_limit() == 131_072


def test_a_file_that_became_shorter_is_one_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"text": "a"}, {"text": "b"}])
    data = Dataset(path)
    path.write_text('{"text": "a"}\n')
    with pytest.raises(BadInput, match="has become shorter"):
        data[1]


READ = """
import sys
from idiolect.data import Dataset
from idiolect.data.files import find
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
before = peak()
assert sum(len(example.text) for _, example in Dataset(sys.argv[1]).examples()) > 1e8
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ["x.jsonl", "x.txt"])
def test_reading_a_large_file_takes_little_memory(tmp_path: Path, name: str) -> None:
    """A file of 128 MB, of which no more than some pieces are ever held."""
    line = (b'{"text": "%s"}\n' if name == "x.jsonl" else b"%s\n===\n") % (b"a" * (1 << 16))
    with (tmp_path / name).open("wb") as out:
        for _ in range(2048):
            out.write(line)
    code = READ if name == "x.jsonl" else READ.replace("sys.argv[1])", "sys.argv[1], separator='===')")
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(run.stdout) < 70, "MB"
