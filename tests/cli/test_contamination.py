"""`idiolect contamination`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect import cli

LEAKED = "The quick brown fox jumps over the lazy dog while nine wizards quietly box their jugs of liquor at dawn"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text(f"Some other text.\n{LEAKED}\nAnd more.\n")
    rows = [
        {"question": LEAKED},
        {"question": "What is the name of the largest lake that no river here reaches"},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "train"), str(tmp_path / "test.jsonl")


def test_people_and_scripts(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["contamination", *files]) == 0
    said = capsys.readouterr().out
    assert "1 of 2 items share 8 to 13 words" in said and "test.jsonl:1  100% of its words" in said
    assert "a.txt:1 (word 3): the quick brown fox" in said
    assert cli.main(["contamination", *files, "--n", "9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["share"]["n"] == 2 and [i["found"] > 0 for i in told["items"]] == [True, False]


def test_mistakes_are_one_line(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    train, test = files
    for words, said in (
        ([train, test + "x"], "no file or folder"),
        ([train, test, "--field", "answer"], "answer"),
        ([train, test, "--n", "4"], "least"),
    ):
        assert cli.main(["contamination", *words]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and said in err


@pytest.mark.slow
def test_with_a_model(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["contamination", *files, "--model", "embedded"]) == 0
    assert "bits per byte saved against zlib" in capsys.readouterr().out
