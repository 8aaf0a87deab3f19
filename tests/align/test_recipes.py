"""The recipes of this package, each a few steps on a few examples, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from idiolect.cli import main
from idiolect.train.headed import load
from tests.data.parts import jsonl

PAIRS = [
    {"prompt": f"Say {word}.", "chosen": f"Here it is: {word}.", "rejected": f"No {word} for you, go away."}
    for word in ("tree", "house", "river", "stone", "cloud", "road", "bird", "lamp", "door", "ship", "rain", "salt")
]
LABELLED = [
    {"text": r[key], "label": name} for r in PAIRS for key, name in (("chosen", "polite"), ("rejected", "rude"))
]


@pytest.mark.slow
def test_a_classifier_is_trained_and_opens_in_transformers(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = jsonl(tmp_path / "x.jsonl", LABELLED)
    arguments = ["train", "classify", "--preset", "tiny", "--data", str(path), "--out", str(tmp_path / "run"), "--json"]
    assert main([*arguments, "--set", "train.steps=20", "--set", "train.optimiser.lr=3e-4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["validation"]["accuracy"] == 1
    made = load(found["export"])
    assert [name for name, _ in made.classify(["Here it is: snow.", "No snow for you, go away."])] == ["polite", "rude"]
    transformers = pytest.importorskip("transformers")
    rival = transformers.AutoModelForSequenceClassification.from_pretrained(found["export"])
    words = transformers.AutoTokenizer.from_pretrained(found["export"])
    with torch.no_grad():
        answer = rival(**words(["Here it is: snow."], return_tensors="pt")).logits
    torch.testing.assert_close(made.scores(["Here it is: snow."]), answer, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["reward", "dpo-lora"])
def test_preferences_are_learned(recipe: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIRS)
    arguments = ["train", recipe, "--preset", "tiny", "--data", str(path), "--out", str(tmp_path / "run"), "--json"]
    assert main([*arguments, "--set", "train.steps=6", "--set", "train.optimiser.lr=1e-3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["validation"]["accuracy"] == 1
    assert found["validation"]["margin"] > 0
    if recipe == "reward":
        assert Path(found["export"]).name == "model", "the blocks that were trained are merged: one whole model"
        rewards = load(found["export"]).scores(["Here it is: snow.", "No snow for you, go away."])
        assert rewards.shape == (2, 1)
