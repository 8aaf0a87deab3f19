"""`idiolect tune` and the options that serve what it made: what is refused, and a run from examples to an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect.cli import main
from idiolect.commands.settings import adapters
from idiolect.core.errors import BadInput, NotFound


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"Aye, {n} it is."}]}
        for n in range(12)
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "lorra"], "lora"),
        (["--option", "dropot=0.1"], "did you mean 'dropout'"),
        (["--option", "dropout"], "write NAME=VALUE"),
        (["--method", "ia3", "--rank", "4"], "unknown option 'ia3.rank'"),
        (["--steps", "3", "--epochs", "1"], "give one of them"),
        (["--set", "train.optimizer.lr=1"], "optimiser"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(
    arguments: list[str], says: str, chats: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "embedded", str(chats), *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") <= 2


def test_adapters_are_named_on_the_command_line(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert adapters((one, f"other={two}")) == {"one": one, "other": two}
    with pytest.raises(BadInput, match="two adapters are called 'one'"):
        adapters((one, f"one={two}"))
    with pytest.raises(NotFound, match="there is no adapter in"):
        adapters((str(tmp_path),))


@pytest.mark.slow
def test_from_examples_to_an_answer(
    chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--steps", "2", "--batch", "2", "--targets", "q,v", "--rank", "2", "--out", "run", "--json"]
    assert main(["tune", "embedded", str(chats), *arguments]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["serve"] == "idiolect up --no-docs --adapter run=run/adapter"
    ask = ["ask", "Say 3.", "--adapter", "run=run/adapter", "--max-tokens", "4", "--store", "store.sqlite", "--json"]
    assert main(ask) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"].endswith(":run") and answer["answer"]
