"""`idiolect data inspect` says what training would read."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from idiolect.cli import build, main
from idiolect.commands.data import EXAMPLES
from tests.data.parts import jsonl


def test_inspect(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = jsonl(
        tmp_path / "x.jsonl", [{"prompt": "Hi", "completion": "Hello you"}, {"prompt": "Hi", "completion": " "}]
    )
    assert main(["data", "inspect", str(path)]) == 2
    assert "x.jsonl, line 2: 'completion' is empty" in capsys.readouterr().err
    picture = tmp_path / "x.svg"
    assert main(["data", "inspect", str(path), "--on-error", "skip", "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "⟦Hello you<|im_end|>⟧" in out
    assert "1: 'completion' is empty" in out
    assert picture.exists()
    assert main(["data", "inspect", str(path), "--on-error", "skip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 1
    assert main(["data", "inspect"]) == 2


@pytest.mark.parametrize("line", EXAMPLES.strip().splitlines())
def test_every_example_parses(line: str) -> None:
    command = line.strip().split("   ", maxsplit=1)[0].split(" | ")[0]
    build().parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
