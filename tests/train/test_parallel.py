"""Two gloo processes train as one does: sharded over the data, over the matrices, stopped and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models
from idiolect.core.errors import BadInput
from idiolect.train.folder import read_metrics
from idiolect.train.plans import order, plan_of
from idiolect.train.ranks import Ranks
from idiolect.train.recipe import load
from idiolect.train.running import run
from tests.train import tiny

TEXT = "It is a truth universally acknowledged, that a single man in possession of a good fortune,\n" * 40
BASE = [
    "train.log_every=1",
    "data.cache=false",
    "data.windows=8",
    "train.validate_every=3",
    "train.schedule.name=constant",
]
LLAMA = ["model.blank.family=llama", "model.blank.kv_heads=2", "model.blank.width=32", "model.blank.heads=4"]
CASES: list[dict[str, Any]] = [
    {"name": "data", "changes": [*BASE, "data.windows=3", "data.batching.micro_tokens=32"], "stop": 3},
    {"name": "muon", "changes": [*BASE, "train.optimiser.name=muon", "data.batching.micro_tokens=64"], "stop": 0},
    {
        "name": "mixed",
        "changes": [
            *BASE,
            *LLAMA,
            "train.precision=mixed",
            "train.checkpointing=true",
            "data.batching.micro_tokens=64",
        ],
        "stop": 0,
    },
    {"name": "tensor", "changes": [*BASE, "train.tensor=2"], "stop": 3},
    {"name": "llama", "changes": [*BASE, *LLAMA, "train.tensor=2"], "stop": 0},
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes ran every case."""
    out = tmp_path_factory.mktemp("two")
    text = out / "text.txt"
    text.write_text(TEXT)
    cases = [{**case, "recipe": "gpt-shakespeare", "steps": 6} for case in CASES]
    (out / "cases.json").write_text(json.dumps(cases))
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(root / "tests" / "train" / "two_ranks.py"), str(text), str(out)],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_two_ranks_are_one(two: Path, case: dict[str, Any], tmp_path: Path) -> None:
    changes = [c for c in case["changes"] if not c.startswith("train.tensor")]
    places = [f"data.train=[{two / 'text.txt'}]", f"out={tmp_path / 'one'}", "train.steps=6"]
    one = run(load("gpt-shakespeare", preset="tiny", changes=[*places, *changes]))
    theirs = json.loads((two / "found.json").read_text())[case["name"]]
    near = 2e-3 if case["name"] == "mixed" else 1e-5
    assert theirs["validation"]["loss"] == pytest.approx(one.outcome.validation["loss"], rel=near)
    assert theirs["figures"] == one.figures
    rows = [r for r in read_metrics(two / case["name"] / "metrics.jsonl") if r["kind"] == "step"]
    mine = [r for r in read_metrics(tmp_path / "one" / "metrics.jsonl") if r["kind"] == "step"]
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert [r["loss"] for r in rows] == pytest.approx([r["loss"] for r in mine], rel=near)
    assert [r["tokens"] for r in rows] == [r["tokens"] for r in mine]
    assert [r["grad_norm"] for r in rows] == pytest.approx([r["grad_norm"] for r in mine], rel=max(1e-4, 10 * near))
    if case["name"] != "mixed":
        served = models.load(two / case["name"] / "model", dtype="float32", packed=False)
        for (name, value), other in zip(served.named_parameters(), one.model.parameters(), strict=True):
            torch.testing.assert_close(value.float(), other.float(), rtol=1e-3, atol=2e-4, msg=name)


def test_every_rank_gets_equally_many() -> None:
    micros = [tiny.pack([row]) for row in tiny.examples(5)]
    shares = []
    for rank in range(2):
        ranks = Ranks()
        ranks.rank, ranks.world = rank, 2
        shares.append(ranks.share(micros))
    assert [len(s) for s in shares] == [3, 3]
    assert sum(m.counted for s in shares for m in s) == sum(m.counted for m in micros)
    assert shares[1][-1].counted == 0


def test_fused_rows_are_dealt_out() -> None:
    index = order([4, 2, 2], 2)
    assert index.tolist() == [0, 1, 4, 6, 2, 3, 5, 7]
    assert index[index.argsort()].tolist() == list(range(8))


def test_a_family_without_a_plan_is_refused() -> None:
    from idiolect.models.llama import Llama

    with pytest.raises(BadInput, match="no tensor-parallel plan"):
        plan_of(Llama({**tiny.LLAMA, "model_type": "qwen3"}))
