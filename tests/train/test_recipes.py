"""The recipes for language models run, on a small base where the recipe's own is large (tests/align has the others)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect import models, tune
from idiolect.train.blank import BlankConfig, blank
from idiolect.train.recipe import load
from idiolect.train.running import run
from idiolect.train.vocabulary import TokenizerConfig, learn

CHATS = [{"prompt": f"What is {i} and {i}?", "completion": f"It is {2 * i}."} for i in range(40)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random llama that reads characters."""
    folder = tmp_path_factory.mktemp("base") / "model"
    tokenizer = learn(TokenizerConfig("bpe", size=300), [" ".join(map(str, CHATS))])
    models.save(
        blank(BlankConfig(width=64, layers=2, heads=2, context=256, tokenizer=TokenizerConfig()), tokenizer), folder
    )
    return folder


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


@pytest.mark.parametrize(
    ("name", "records", "ends"),
    [
        ("sft-full", CHATS, "model"),
        ("sft-lora", CHATS, "adapter"),
        ("sft-qlora", CHATS, "adapter"),
    ],
)
def test_recipe(base: Path, tmp_path: Path, name: str, records: list[dict[str, Any]], ends: str) -> None:
    data = write(tmp_path / "data.jsonl", records)
    changes = [f"model.source={base}", f"data.train=[{data}]", f"out={tmp_path / 'run'}", "data.cache=false"]
    steps = ["train.steps=25", "data.limit=40", "train.optimiser.lr=5e-3", "train.validate_every=5"]
    result = run(load(name, preset="tiny", changes=[*changes, *steps]))
    assert result.export == tmp_path / "run" / ends
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert result.outcome.progress.best is not None
    assert result.outcome.progress.best < first["loss"]
    assert (tmp_path / "run" / "report.html").exists()
    if ends == "adapter":
        again = models.load(base, dtype="float32", packed=False)
        tune.load(again, result.export)
    else:
        assert models.load(result.export).template is None
