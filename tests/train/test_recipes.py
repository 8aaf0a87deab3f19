"""Every packaged recipe runs, on a small base where the recipe's own is large."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import idiolect.align  # noqa: F401  (registers its objectives)
from idiolect import models, tune
from idiolect.train.blank import BlankConfig, blank
from idiolect.train.recipe import load, packaged
from idiolect.train.running import run
from idiolect.train.vocabulary import TokenizerConfig, learn

CHATS = [{"prompt": f"What is {i} and {i}?", "completion": f"It is {2 * i}."} for i in range(40)]
PAIRS = [
    {"prompt": f"What is {i} and {i}?", "chosen": f"It is {2 * i}.", "rejected": "Who can say such a thing?"}
    for i in range(40)
]
LABELLED = [
    {"text": f"Win {i} pounds now, call" if i % 2 else f"See you at {i} then", "label": "spam" if i % 2 else "ham"}
    for i in range(60)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random llama that reads characters."""
    folder = tmp_path_factory.mktemp("base") / "model"
    tokenizer = learn(TokenizerConfig("bpe", size=300), [" ".join(map(str, [CHATS, PAIRS]))])
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
        ("dpo", PAIRS, "adapter"),
        ("reward", PAIRS, "adapter"),
    ],
)
def test_recipe(base: Path, tmp_path: Path, name: str, records: list[dict[str, Any]], ends: str) -> None:
    data = write(tmp_path / "data.jsonl", records)
    changes = [f"model.source={base}", f"data.train=[{data}]", f"out={tmp_path / 'run'}", "data.cache=false"]
    if name == "dpo":
        changes.append("objective.cache=false")
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
    assert (tmp_path / "run" / "head").exists() == (name == "reward")


def test_classifier(tmp_path: Path) -> None:
    """On the embedded encoder; the result is a directory of transformers' sequence classification."""
    data = write(tmp_path / "data.jsonl", LABELLED)
    changes = [f"data.train=[{data}]", f"out={tmp_path / 'run'}", "data.cache=false", "train.steps=8", "data.limit=60"]
    result = run(load("classifier", preset="tiny", changes=[*changes, "train.optimiser.lr=2e-4"]))
    assert result.outcome.validation["accuracy"] > 0.8
    from idiolect.train import headed

    found = headed.load(tmp_path / "run" / "model")
    assert [c for c, _ in found.classify(["Win 900 pounds now, call", "See you at 7 then"])] == ["spam", "ham"]


def test_every_recipe_is_tried_here() -> None:
    tried = {"sft-full", "sft-lora", "sft-qlora", "dpo", "reward", "classifier", "gpt-shakespeare"}
    assert set(packaged()) == tried
