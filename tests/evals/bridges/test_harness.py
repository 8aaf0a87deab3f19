"""lm-evaluation-harness and ours on one task file: the same prompts, the same choices, the same accuracy."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from idiolect.core.errors import BadInput, NotFound
from idiolect.evals.bridges.harness_task import harness_task
from idiolect.evals.types import Choose, Chosen, Task

TASK: dict[str, Any] = {
    "task": "tiny_capitals",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "fewshot_split": "train",
    "num_fewshot": 1,
    "fewshot_config": {"sampler": "first_n"},
    "description": "Capitals of countries.\n\n",
    "doc_to_text": "Question: What is the capital of {{country}}?\nAnswer:",
    "doc_to_choice": "{{cities}}",
    "doc_to_target": "{{cities.index(capital)}}",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    "metadata": {"version": 1.0},
}
CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Norway": "Oslo",
    "Iraq": "Baghdad",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cities = list(CAPITALS.values())
    rows = [
        {"country": c, "capital": CAPITALS[c], "cities": [cities[(i + k) % 6] for k in (1, 3, 0)]}
        for i, c in enumerate(CAPITALS)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shot = {"country": "Spain", "capital": "Madrid", "cities": ["Madrid", "Rome", "Bern"]}
    (tmp_path / "train.jsonl").write_text(json.dumps(shot))
    write(tmp_path, {})
    return tmp_path


def write(folder: Path, changes: dict[str, Any]) -> Path:
    data = {"data_files": {"test": str(folder / "test.jsonl"), "train": str(folder / "train.jsonl")}}
    said = {**TASK, "dataset_kwargs": data, **changes}
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in said.items() if v is not ...}))
    return file


def test_prompts_options_and_target(folder: Path) -> None:
    task = harness_task(folder / "tiny.yaml")
    assert isinstance(task, Task)
    items = list(task.items())
    assert len(items) == 6
    request = items[0].request
    assert isinstance(request, Choose)
    assert request.context == (
        "Capitals of countries.\n\nQuestion: What is the capital of Spain?\nAnswer: Madrid\n\n"
        "Question: What is the capital of France?\nAnswer:"
    )
    assert request.options == (" Tokyo", " Lima", " Paris") and items[0].target == 2
    assert harness_task(folder / "tiny.yaml", shots=0).hash != task.hash


def test_fields_lists_and_digits(folder: Path) -> None:
    rows = [{"q": "1 + 1 =", "answer": "1"}, {"q": "1 + 2 =", "answer": "0"}]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = {
        "doc_to_text": "q",
        "doc_to_choice": ["3", "2"],
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "description": ...,
    }
    task = harness_task(write(folder, said))
    first, second = task.items()
    assert isinstance(first.request, Choose)
    assert (first.request.context, first.request.options) == ("1 + 1 =", (" 3", " 2"))
    assert (first.target, second.target) == (1, 0)
    (item, _) = harness_task(write(folder, said | {"doc_to_target": 1, "target_delimiter": ""})).items()
    assert isinstance(item.request, Choose) and item.request.options == ("3", "2") and item.target == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"process_docs": "x"}, "process_docs"),
        ({"filter_list": []}, "filter_list"),
        ({"include": "other.yaml"}, "include"),
        ({"output_type": "generate_until"}, "generate_until"),
        ({"dataset_path": "allenai/ai2_arc"}, "no local file"),
        ({"metric_list": [{"metric": "mcc"}]}, "mcc"),
        ({"fewshot_config": {"sampler": "balanced"}}, "fewshot_config"),
        ({"doc_to_choice": "{{a}} {{b}}"}, "doc_to_choice"),
        ({"doc_to_target": ["a"]}, "doc_to_target"),
        ({"doc_to_text": 3}, "doc_to_text"),
        ({"doc_to_text": ...}, "doc_to_text"),
        ({"test_split": ...}, "test_split"),
        ({"test_split": "validation"}, "validation"),
        ({"repeats": 3}, "repeats"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(folder: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        harness_task(write(folder, changes))
    assert "\n" not in str(caught.value)


def test_files_that_are_none(folder: Path) -> None:
    with pytest.raises(NotFound):
        harness_task(folder / "missing.yaml")
    bad = folder / "bad.yaml"
    for text, match in [("a: [", "YAML"), ("- 1", "mapping"), ("doc_to_text: !function utils.f", "Python code")]:
        bad.write_text(text)
        with pytest.raises(BadInput, match=match):
            harness_task(bad)


# ------------------------------------------------------------------------------------------- beside lm-eval


@pytest.fixture(scope="module")
def system() -> Any:
    from idiolect.evals.systems import LocalConfig, LocalSystem

    made = LocalSystem(LocalConfig("embedded"), progress=False)
    yield made
    made.close()


@pytest.mark.parity
@pytest.mark.slow
def test_one_file_in_both(folder: Path, system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is in the rivals extra")
    from lm_eval.tasks import TaskManager

    from idiolect.core.store import Store
    from idiolect.evals.bridges.harness_model import harness_model
    from idiolect.evals.runs.run import run

    theirs = lm_eval.simple_evaluate(
        model=harness_model(system),
        tasks=["tiny_capitals"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    with Store.open(tmp_path / "store.sqlite") as store:
        ours = run(system, harness_task(folder / "tiny.yaml"), store)
    samples = sorted(theirs["samples"]["tiny_capitals"], key=lambda s: s["doc_id"])
    assert len(samples) == len(ours.rows) == 6
    for sample, row in zip(samples, ours.rows, strict=True):
        request, reply = row.item.request, row.reply
        assert isinstance(request, Choose) and isinstance(reply, Chosen)
        assert [tuple(a) for a in sample["arguments"]] == [(request.context, option) for option in request.options]
        values = [float(r[0]) for r in sample["filtered_resps"]]
        assert values == pytest.approx(list(reply.logprobs), abs=1e-3)
        assert sample["acc"] == row.grade["accuracy"] and sample["acc_norm"] == row.grade["accuracy_bytes"]
    mean = sum(row.grade["accuracy"] for row in ours.rows) / 6
    assert theirs["results"]["tiny_capitals"]["acc,none"] == pytest.approx(mean)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """`idiolect up` in a process of its own, with the floats that score here."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "idiolect", "up", "--no-docs", "--encoder", "none", "--dtype", "float32"]
    command += ["--set", "engine.runner=torch", "--port", str(port), "--store", str(tmp_path / "server.sqlite")]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 300
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz"):
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parity
@pytest.mark.slow
def test_lm_eval_over_http_is_lm_eval_in_process(
    folder: Path, system: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm-eval's own `local-completions` against our server, beside our adapter: every option's log-likelihood, every
    choice, every greedy mark."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lm_eval = pytest.importorskip("lm_eval", reason="pip install 'lm-eval[api]'")
    pytest.importorskip("tenacity", reason="pip install 'lm-eval[api]'")
    from lm_eval.tasks import TaskManager

    from idiolect.evals.bridges.harness_model import harness_model

    words = tmp_path / "words"
    words.mkdir()
    system.model.tokenizer.save(words)
    how: dict[str, Any] = {"tasks": ["tiny_capitals"], "log_samples": True, "bootstrap_iters": 0}
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    arguments = {"model": "SmolLM2-135M-Instruct", "base_url": f"{server}/completions", "tokenizer": str(words)}
    with urllib.request.urlopen(f"{server}/models") as listed:
        arguments["model"] = json.load(listed)["data"][0]["id"]
    found = [
        lm_eval.simple_evaluate(task_manager=manager, **how, **model)
        for model in (
            {"model": "local-completions", "model_args": arguments},
            {"model": harness_model(system)},
        )
    ]
    over, here = (sorted(f["samples"]["tiny_capitals"], key=lambda s: s["doc_id"]) for f in found)
    assert len(over) == len(here) == 6
    for a, b in zip(over, here, strict=True):
        one, two = ([float(r[0]) for r in s["filtered_resps"]] for s in (a, b))
        assert one == pytest.approx(two, abs=1e-3)
        assert one.index(max(one)) == two.index(max(two)) and a["acc"] == b["acc"] and a["acc_norm"] == b["acc_norm"]
        assert [str(r[1]) for r in a["filtered_resps"]] == [str(r[1]) for r in b["filtered_resps"]]
    assert found[0]["results"]["tiny_capitals"]["acc,none"] == found[1]["results"]["tiny_capitals"]["acc,none"]


@pytest.mark.parity
def test_writing_and_rolling_through_the_adapter(system: Any) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is in the rivals extra")
    from lm_eval.api.instance import Instance

    from idiolect.evals.bridges.harness_model import harness_model, sampling

    model = harness_model(system)
    said = {"until": ["\n"], "max_gen_toks": 8, "do_sample": False}
    ask = [Instance("generate_until", {}, (f"The capital of {c} is", said), 0) for c in ("France", "Japan")]
    texts = model.generate_until(ask)
    assert len(texts) == 2 and all("\n" not in text for text in texts)
    assert "Paris" in texts[0]
    (value,) = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("The sky is blue.",), 0)])
    pair = model.loglikelihood([Instance("loglikelihood", {}, ("The sky is", " blue."), 0)])
    assert value < pair[0][0] < 0
    with pytest.raises(BadInput, match="num_beams"):
        sampling({"num_beams": 2})
