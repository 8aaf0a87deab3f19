"""Whole runs from recipes: they end in a model that others open, and survive what happens to processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models
from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.train.folder import read_metrics
from idiolect.train.recipe import Recipe, load, packaged
from idiolect.train.running import count, run
from idiolect.train.watch import Record
from idiolect.weights import quantise_model
from tests.train.tiny import model as tiny

TEXT = "It is a truth universally acknowledged, that a single man in possession of a good fortune,\n" * 40
SRC = str(Path(__file__).parents[2] / "src")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def recipe(text: Path, out: Path, *changes: str) -> Recipe:
    settings = [f"data.train=[{text}]", f"out={out}", "train.log_every=1", "data.cache=false", *changes]
    return load("gpt-shakespeare", preset="tiny", changes=settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def same(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def losses(folder: Path) -> list[tuple[str, int, float]]:
    return [(r["kind"], r["step"], r["loss"]) for r in read_metrics(folder / "metrics.jsonl")]


def test_quantised_matrices_are_counted_as_what_they_stand_for() -> None:
    model = tiny("llama")
    whole = count(model)
    quantise_model(model, "nf4")
    assert count(model) == whole
    model.requires_grad_(False)
    head = torch.nn.Linear(3, 2)
    assert count(model, head) == whole + 8
    assert count(model, head, learning=True) == 8


def test_a_run_ends_in_an_ordinary_model(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(recipe(text, out))
    assert result.outcome.progress.step == 30
    assert result.outcome.train["loss"] < 3.0
    model = models.load(out / "model", dtype="float32", packed=False)
    assert model.tokenizer.decode(model.tokenizer.encode(TEXT)) == TEXT
    for name, value in weights(out).items():
        assert torch.isfinite(value).all(), name
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "src=" not in page
    lineage = json.loads((out / "lineage.json").read_text())
    assert lineage["data"][0]["sha256"]
    assert load(out) == replace(recipe(text, out), out=str(out))  # config.yaml is the recipe
    assert [r[1] for r in losses(out) if r[0] == "step"] == list(range(1, 31))


def test_the_engine_serves_what_was_trained(text: Path, tmp_path: Path) -> None:
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    out = tmp_path / "run"
    run(recipe(text, out, "train.steps=200", "train.optimiser.lr=5e-3", "train.validate_every=0"))
    model = models.load(out / "model", dtype="float32")
    engine = Engine(model, EngineConfig(memory_bytes=16 << 20))
    prompt = model.tokenizer.encode("It is a truth ")
    (answer,) = engine.generate([prompt], Sampling(temperature=0, max_tokens=8))
    assert answer.text == "universa"


CHILD = """
import sys
sys.path.insert(0, {src!r})
import torch
torch.set_num_threads(1)
from idiolect.train.recipe import load
from idiolect.train.running import count, run
run(load("gpt-shakespeare", preset="tiny", changes=sys.argv[2:]), resume=sys.argv[1] == "resume")
"""


@pytest.mark.slow
def test_killed_and_resumed_is_never_stopped(text: Path, tmp_path: Path) -> None:
    changes = ["train.steps=60", "train.checkpoint_every=7", "train.validate_every=20"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(recipe(text, whole, *changes))
    arguments = [f"data.train=[{text}]", f"out={killed}", "train.log_every=1", "data.cache=false", *changes]
    script = CHILD.format(src=SRC)
    child = subprocess.Popen([sys.executable, "-c", script, "new", *arguments], stderr=subprocess.PIPE)
    metrics = killed / "metrics.jsonl"
    end = time.time() + 120
    while len(read_metrics(metrics)) < 17:
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        assert time.time() < end
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if child.stderr:
        child.stderr.close()
    assert not (killed / "model").exists()
    with metrics.open("a") as file:
        file.write('{"kind": "step", "step": 99, "lo')  # a row that the crash cut off
    result = run(recipe(text, killed, *changes), resume=True)
    assert result.outcome.progress.step == 60
    same(whole, killed)
    assert losses(killed) == losses(whole)


def test_ctrl_c_writes_a_checkpoint(text: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(recipe(text, whole))

    def interrupt(record: Record) -> None:
        if record.kind == "step" and record.step == 11:
            os.kill(os.getpid(), signal.SIGINT)

    result = run(recipe(text, stopped), watch=interrupt)
    assert result.outcome.stopped
    assert result.export is None
    assert 11 <= result.outcome.progress.step <= 12
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run(recipe(text, stopped), resume=True)
    same(whole, stopped)


def test_a_full_disk_is_one_line_and_loses_nothing(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(record: Record) -> None:
        if record.step == 12:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(Unavailable, match="no room left"):
            run(recipe(text, out, "train.checkpoint_every=5"), watch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["last.safetensors"]
    whole = tmp_path / "whole"
    run(recipe(text, whole, "train.checkpoint_every=5"))
    result = run(recipe(text, out, "train.checkpoint_every=5"), resume=True)
    assert result.outcome.progress.step == 30
    same(whole, out)


def test_a_folder_with_a_run_is_not_overwritten(text: Path, tmp_path: Path) -> None:
    run(recipe(text, tmp_path / "run", "train.steps=2"))
    with pytest.raises(BadInput, match="holds a run already"):
        run(recipe(text, tmp_path / "run", "train.steps=2"))


@pytest.mark.parametrize("change", ["model.blank.width=64", "data.block=16", "train.seed=4", "train.precision=bf16"])
def test_resuming_another_run_is_refused(text: Path, tmp_path: Path, change: str) -> None:
    run(recipe(text, tmp_path / "run", "train.steps=2"))
    with pytest.raises(BadInput, match="another run"):
        run(recipe(text, tmp_path / "run", "train.steps=4", change), resume=True)


def test_a_run_can_be_made_longer(text: Path, tmp_path: Path) -> None:
    run(recipe(text, tmp_path / "run", "train.steps=2"))
    longer = run(recipe(text, tmp_path / "run", "train.steps=4"), resume=True)
    assert longer.outcome.progress.step == 4


def test_changed_data_are_noticed(text: Path, tmp_path: Path) -> None:
    run(recipe(text, tmp_path / "run", "train.steps=2"))
    text.write_text(TEXT + "more\n")
    with pytest.raises(BadInput, match="another run"):
        run(recipe(text, tmp_path / "run", "train.steps=4"), resume=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.optimizer.lr=1", "optimiser"),
        ("model.blank.layer=3", "layers"),
        ("train.optimiser.name=adam", "adamw"),
        ("train.precision=fp16", "bf16"),
        ("data.holdoot=0.1", "holdout"),
    ],
)
def test_a_misspelt_key_names_the_right_one(text: Path, tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(BadInput) as error:
        recipe(text, tmp_path / "run", change)
    assert said in str(error.value)


def test_recipes_that_do_not_exist() -> None:
    with pytest.raises(NotFound, match="gpt-shakespeare"):
        load("gpt-shakespear")
    with pytest.raises(BadInput, match="tiny"):
        load("gpt-shakespeare", preset="tyny")


@pytest.mark.parametrize("name", sorted(packaged()))
def test_packaged_recipes_are_read(name: str, tmp_path: Path) -> None:
    from idiolect.core import config

    found = load(name, preset="tiny")
    assert found.summary
    again = tmp_path / "again.yaml"
    again.write_text(config.dump(found))
    assert load(again) == found


def test_an_unknown_objective(text: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="lm"):
        run(recipe(text, tmp_path / "run", "objective.name=ml"))


def test_no_data_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no data"):
        run(load("gpt-shakespeare", changes=[f"out={tmp_path / 'run'}"]))


def test_command_line(text: Path, tmp_path: Path, capfd: Any) -> None:
    from idiolect.cli import main

    out = tmp_path / "run"
    arguments = [
        "gpt-shakespeare",
        "--preset",
        "tiny",
        "--data",
        str(text),
        "--out",
        str(out),
        "--set",
        "train.steps=3",
    ]
    assert main(["train", *arguments, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["steps"] == 3
    assert main(["train", *arguments]) == 2
    assert "holds a run already" in capfd.readouterr().err
    assert main(["train", str(out), "--resume", "--set", "train.steps=4"]) == 0
    shown = capfd.readouterr().out
    assert "idiolect up --no-docs --model" in shown
    assert main(["train"]) == 0
    assert "gpt-shakespeare" in capfd.readouterr().out
    assert main(["train", "gpt-shakespeare"]) == 2
    assert "--data" in capfd.readouterr().err


def test_tensorboard_is_written(text: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(recipe(text, tmp_path / "run", "train.steps=2", "train.tensorboard=true"))
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
