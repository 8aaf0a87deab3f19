"""`idiolect plan`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from idiolect import cli

CONFIG = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return str(path)


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, "7b")
    assert found["weights"]["weights, bf16"]["value"] == 14e9
    assert found["training"]["Chinchilla"]["value"] == 140e9


def test_serving(capsys: pytest.CaptureFixture[str], config: str) -> None:
    found = plan(capsys, config, "--serve", "--context", "2048", "--batch", "32", "--machine", "a100-40", "--mbu", "1")
    assert found["parameters"]["total"]["value"] == 6_738_415_616
    need = found["memory of serving"]
    assert need["keys and values"]["value"] == 2 * 32 * 2048 * 32 * 4096 * 2
    work = need["a step's work"]["value"]
    assert need["total"]["value"] == need["keys and values"]["value"] + 2 * 6_738_415_616 + work
    work = found["work of serving on NVIDIA A100 40 GB"]
    ttft, tpot = work["TTFT"]["value"], work["TPOT, seconds per token"]["value"]
    assert tpot > 2 * 6.7e9 / 1.55e12 and work["latency, TTFT + TPOT x n"]["value"] == ttft + tpot * 256


def test_tuning_and_training(capsys: pytest.CaptureFixture[str], config: str) -> None:
    sizes = {}
    for method in ("full", "lora", "qlora"):
        found = plan(capsys, config, "--tune", method, "--rank", "16")
        sizes[method] = found["memory of a training step"]["total"]["value"]
    assert found["LoRA"]["trained"]["value"] == 32 * 16 * 4 * (4096 + 4096)
    assert sizes["full"] - sizes["lora"] > 4 * 6.7e9 and sizes["lora"] - sizes["qlora"] > 9e9
    less = plan(capsys, config, "--train", "--checkpointing", "--tokens", "300b", "--machine", "h100")
    assert less["memory of a training step"]["total"]["value"] < sizes["full"]
    work = less["work of training on NVIDIA H100 SXM"]
    assert work["rule of thumb, 6 N D"]["value"] == pytest.approx(6 * 6_738_415_616 * 300e9)


def test_the_arithmetic_is_shown(capsys: pytest.CaptureFixture[str], config: str) -> None:
    assert cli.main(["plan", config, "--tune", "lora"]) == 0
    said = capsys.readouterr().out
    assert "32 x 4096 x 4096" in said and "6.738 G parameters" in said and "32 x 8 x (4096 + 4096)" in said


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["nothing-there"], "no file or folder"),
        (["CONFIG", "--machine", "a1000"], "a100"),
        (["CONFIG", "--flops", "1e12"], "--bandwidth"),
        (["CONFIG", "--machine", "h100", "--mfu", "2"], "share"),
        (["CONFIG", "--tune", "lora", "--targets", "qproj"], "q_proj"),
        (["CONFIG", "--tune", "lora", "--rank", "0"], "1 or more"),
        (["CONFIG", "--weights", "nf5"], "nf4"),
        (["7b", "--tokens", "many"], "no number"),
        (["7b", "--tokens", "nan"], "tokens is nan"),
        (["7b", "--tokens", "-5"], "tokens is -5"),
        (["0b"], "size is 0b"),
        (["7b", "--tune", "qlora"], "--tune needs the shape of a model"),
        (["7b", "--context", "-1"], "context is -1"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], config: str, words: list[str], word: str) -> None:
    assert cli.main(["plan", *(config if w == "CONFIG" else w for w in words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and word in said


def test_a_damaged_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert cli.main(["plan", str(tmp_path)]) == 2
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(["plan", str(tmp_path)]) == 2
    assert "hidden_size" in capsys.readouterr().err


def test_a_plan_imports_no_torch(config: str) -> None:
    code = f"import sys; from idiolect import cli; cli.main(['plan', {config!r}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
