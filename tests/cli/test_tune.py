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


def test_what_the_examples_are_is_said_before_they_are_learned(
    chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from idiolect import models
    from idiolect.train.blank import BlankConfig, blank
    from idiolect.train.vocabulary import TokenizerConfig, learn

    words = TokenizerConfig("bpe", size=300)
    model = blank(
        BlankConfig(width=32, layers=1, heads=2, context=64, tokenizer=words), learn(words, ["Aye, 1 it is."])
    )
    models.save(model, tmp_path / "base")
    long = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b " * 99}]}
    chats.write_text(chats.read_text() + "\n" + json.dumps(long))
    changes = [f"model.source={tmp_path / 'base'}", "train.steps=1", "data.too_long=truncate", "data.context=40"]
    arguments = ["sft-lora", "--preset", "tiny", "--data", str(chats), "--out", str(tmp_path / "run")]
    assert main(["train", *arguments, *(word for change in changes for word in ("--set", change))]) == 0
    said = capsys.readouterr().out
    assert "records" in said and said.index("padding saved") < said.index("training loss")
    assert "0 left out, 1 truncated" in said, "with the recipe's own settings"


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
