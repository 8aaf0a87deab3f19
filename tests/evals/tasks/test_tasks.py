"""Task files: what they say is checked, what they ask is right, and their hash changes with all that matters."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.config import from_dict
from idiolect.core.errors import BadInput, NotFound
from idiolect.evals import tasks
from idiolect.evals.tasks.config import TaskConfig
from idiolect.evals.tasks.searching import cranfield
from idiolect.evals.types import Choose, Chosen, Found, Generate, Generated, Roll, request_hash, unpacked

CHOICE: dict[str, Any] = {
    "task": "made",
    "kind": "choose",
    "data": {"path": "rows.jsonl"},
    "prompt": "Q: {{ q }}\nA:",
    "options": [" yes", " no"],
    "target": "right",
}


def rows(folder: Path, n: int = 6) -> None:
    lines = [json.dumps({"q": f"question {i}", "right": i % 2, "topic": "ab"[i % 2]}) for i in range(n)]
    (folder / "rows.jsonl").write_text("\n".join(lines))


def make(folder: Path, **changes: Any) -> Any:
    return tasks.from_config(from_dict(TaskConfig, {**CHOICE, **changes}), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows(tmp_path)
    return tmp_path


def test_a_question(folder: Path) -> None:
    item = list(make(folder).items())[3]
    assert item.request == Choose("Q: question 3\nA:", (" yes", " no"))
    assert (item.id, item.target) == ("3", 1)
    assert unpacked(json.loads(json.dumps({"kind": "choose", "context": "c", "options": ["a"]}))) == Choose("c", ("a",))


def test_grades(folder: Path) -> None:
    """Raw, per byte of the option without its space, per token."""
    task = make(folder, options=[" a", " bbbb"])
    item = list(task.items())[1]  # " bbbb" is right
    grade = task.grade(item, Chosen((-2.0, -4.0), (1, 4), (2, 5), (True, False)))
    assert (grade["accuracy"], grade["accuracy_bytes"], grade["accuracy_tokens"]) == (0.0, 1.0, 1.0)
    assert grade["_confidence"] == pytest.approx(1 / (1 + 2.718281828**-2))


def test_examples_come_before_and_never_hold_the_question(folder: Path) -> None:
    plain = make(folder, examples={"count": 2}, intro="Say.", system="S")
    for place, item in enumerate(plain.items()):
        context = item.request.context
        assert context.startswith("S\n\nSay.\n\nQ: question ") and context.endswith(f"Q: question {place}\nA:")
        assert context.count(f"question {place}\n") == 1
        assert context.count("Q:") == 3
    chat = next(iter(make(folder, examples={"count": 2}, intro="Say.", system="S", format="chat").items())).request
    assert [m.role for m in chat.context] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert chat.context[1].content.startswith("Say.") and chat.context[2].content == "no"
    assert chat.options == ("yes", "no")


def test_random_examples_depend_on_the_seed_and_on_nothing_else(folder: Path) -> None:
    def asked(**changes: Any) -> list[str]:
        task = make(folder, examples={"count": 2, "pick": "random", **changes})
        return [item.request.context for item in task.items()]

    assert asked(seed=1) == asked(seed=1) != asked(seed=2)
    whole = make(folder, examples={"count": 2, "pick": "random"})
    assert [i.request for i in whole.items(2)] == [i.request for i in whole.items()][:2]


def test_examples_of_the_same_topic(folder: Path) -> None:
    for place, item in enumerate(make(folder, examples={"count": 2, "same": "topic"}).items()):
        numbers = [int(part.split()[0]) for part in item.request.context.split("question ")[1:]]
        assert {n % 2 for n in numbers} == {place % 2}
    with pytest.raises(BadInput, match="5 examples are wanted and 2"):
        list(make(folder, examples={"count": 5, "same": "topic"}).items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"promt": "x"}, "prompt"),
        ({"kind": "chose"}, "choose"),
        ({"data": {"path": "rows.jsonl", "ordr": "file"}}, "order"),
        ({"examples": {"cont": 1}}, "count"),
        ({"target": ""}, "target"),
        ({"metrics": ["acuracy"]}, "accuracy"),
        ({"data": {}}, "data.path"),
    ],
)
def test_a_wrong_key_names_the_right_one(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        make(folder, **changes)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "{{ qq }}"}, "did you mean 'q'"),
        ({"options": "nothing"}, "nothing"),
        ({"options": "q"}, "list of texts"),
        ({"target": "7"}, "option 7 of 2"),
        ({"target": "'maybe'"}, "no option is 'maybe'"),
        ({"prompt": "{{ q"}, "prompt"),
        ({"prompt": "{{ q.__class__.__mro__ }}"}, "prompt"),
        ({"data": {"path": "gone.jsonl"}}, "there is no gone.jsonl"),
    ],
)
def test_a_wrong_template_says_where(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        list(make(folder, **changes).items())
    assert said in str(error.value)


def test_records_in_every_format(tmp_path: Path) -> None:
    want = [{"q": "one, two", "right": "0"}, {"q": "three", "right": "1"}]
    table = 'q,right\n"one, two",0\nthree,1\n'
    files = {
        "a.jsonl": "\n".join(map(json.dumps, want)),
        "a.json": json.dumps(want),
        "a.csv": table,
        "a.tsv": "q\tright\none, two\t0\nthree\t1\n",
        "bare.csv": table.split("\n", 1)[1],
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        for path in (name, f"{name}.gz"):
            columns = ["q", "right"] if name == "bare.csv" else []
            task = make(tmp_path, data={"path": path, "columns": columns}, target="right | int")
            assert [(i.request.context, i.target) for i in task.items()] == [
                ("Q: one, two\nA:", 0),
                ("Q: three\nA:", 1),
            ], path


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"q": ["one"], "right": [1]}), tmp_path / "a.parquet")
    (item,) = make(tmp_path, data={"path": "a.parquet"}).items()
    assert (item.request.context, item.target) == ("Q: one\nA:", 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"q": 1}\n{oops\n', "line 2"),
        ("a.jsonl", "[1]\n", "line 1 is a list"),
        ("a.csv", "q,right\n1\n", "1 columns instead of 2"),
        ("a.jsonl", "\n", "no records"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        list(make(tmp_path, data={"path": name}).items())


def test_grouped_and_shuffled(folder: Path) -> None:
    one = make(folder, data={"path": "rows.jsonl", "order": "shuffled", "seed": 3})
    assert sorted(i.id for i in one.items()) == [str(i) for i in range(6)]
    assert [i.id for i in one.items()] != [str(i) for i in range(6)]
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps({"q": "x", "a": a, "ok": a == "r"}) for a in "wr"))
    task = make(
        folder,
        data={"path": "pairs.jsonl", "group": "q"},
        let={"answers": "rows | map(attribute='a') | list", "right": "rows | map(attribute='ok') | list | index(true)"},
        options="answers",
    )
    (item,) = task.items()
    assert (item.request.options, item.target) == ((" w", " r"), 1)


# ---------------------------------------------------------------------------------------------------- identity

CHANGES: list[dict[str, Any]] = [
    {"prompt": "{{ q }}"},
    {"prompt": "Q: {{ q }}\nA: "},
    {"options": [" yes", " nope"]},
    {"target": "1 - right"},
    {"system": "x"},
    {"intro": "x"},
    {"format": "chat"},
    {"examples": {"count": 1}},
    {"examples": {"count": 1, "seed": 1}},
    {"examples": {"count": 1, "pick": "random"}},
    {"examples": {"count": 1, "separator": "\n"}},
    {"data": {"path": "rows.jsonl", "order": "shuffled"}},
    {"data": {"path": "rows.jsonl", "order": "shuffled", "seed": 1}},
    {"keep": "right == 1"},
    {"let": {"z": "q"}},
    {"metrics": ["accuracy_bytes"]},
    {"group": "{{ topic }}"},
    {"version": 2},
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(CHANGES), max_size=4), st.lists(st.sampled_from(CHANGES), max_size=4))
def test_equal_hashes_mean_equal_items(tmp_path_factory: pytest.TempPathFactory, a: Any, b: Any) -> None:
    """The hash is a function of what the task says, and two tasks with one hash ask the same."""
    folder = tmp_path_factory.getbasetemp() / "hashes"
    folder.mkdir(exist_ok=True)
    rows(folder)
    one, two = (make(folder, **{k: v for change in part for k, v in change.items()}) for part in (a, b))
    same = [(i.id, request_hash(i.request), i.target) for i in one.items()] == [
        (i.id, request_hash(i.request), i.target) for i in two.items()
    ]
    if one.hash == two.hash:
        assert same and one.config == two.config
    if not same:
        assert one.hash != two.hash


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_change_changes_the_hash(folder: Path, change: dict[str, Any]) -> None:
    assert make(folder).hash == make(folder).hash
    assert make(folder, **change).hash != make(folder).hash


def test_changed_data_changes_the_hash_and_words_for_people_do_not(folder: Path) -> None:
    before = make(folder).hash
    assert make(folder, about="other words", show=["q"], source="a web page").hash == before
    rows(folder, 5)
    assert make(folder).hash != before
    (folder / "shots.jsonl").write_text(json.dumps({"q": "e", "right": 0}))
    shots = {"count": 1, "data": {"path": "shots.jsonl"}}
    before = make(folder, examples=shots).hash
    (folder / "shots.jsonl").write_text(json.dumps({"q": "e", "right": 1}))
    assert make(folder, examples=shots).hash != before


def test_the_folder_is_no_part_of_the_hash(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rows(tmp_path / name)
        found.append(make(tmp_path / name).hash)
    assert found[0] == found[1]


# ------------------------------------------------------------------------------------------------- other kinds


def test_written_answers(folder: Path) -> None:
    changes = {"kind": "generate", "options": [], "target": "['yes', 'aye'][right]", "extract": "line"}
    task = make(folder, **changes, metrics=["exact_match", "same", "contains", "f1", "bleu", "chrf", "rouge_l", "edit"])
    item = list(task.items())[1]
    assert isinstance(item.request, Generate) and item.request.sampling.temperature == 0.0
    grade = task.grade(item, Generated("\n Aye. \nmore"))
    assert grade["exact_match"] == grade["contains"] == grade["answered"] == 1.0 and grade["same"] == 0.0
    assert 0 < grade["chrf"] < 1
    none = task.grade(item, Generated(""))
    assert none["answered"] == none["exact_match"] == none["f1"] == 0.0


def test_bleu_is_sacrebleu_of_the_corpus(folder: Path) -> None:
    import numpy as np

    sacrebleu = pytest.importorskip("sacrebleu")
    task = make(folder, kind="generate", target="'the cat sat on the mat near ' ~ q", metrics=["bleu"])
    said = [f"the cat sat on a mat near question {i}" for i in range(6)]
    items = list(task.items())
    grades = [task.grade(item, Generated(text)) for item, text in zip(items, said, strict=True)]
    columns = {name: np.array([g[name] for g in grades]) for name in grades[0]}
    want = sacrebleu.corpus_bleu(said, [[str(i.target) for i in items]]).score
    assert task.aggregate(columns)["bleu"] == pytest.approx(want)


def test_needles_stand_where_they_should(tmp_path: Path) -> None:
    (tmp_path / "hay.txt").write_text(" ".join(f"Sentence number {i} is here." for i in range(40)))
    text = {
        "task": "n",
        "kind": "needle",
        "data": {"path": "hay.txt"},
        "prompt": "{{ haystack }} What is {{ thing }}?",
        "needle": {
            "lengths": [50, 400],
            "depths": [0.0, 0.5, 1.0],
            "repeats": 2,
            "needle": "{{ thing }} is {{ number }}.",
            "things": ["red", "blue"],
        },
    }
    task = tasks.from_config(from_dict(TaskConfig, text), tmp_path)
    items = list(task.items())
    assert len(items) == 12 and len({i.id for i in items}) == 12
    for item in items:
        hay = item.request.prompt
        place = hay.index(item.meta["needle"]) / hay.index(" What is")
        assert abs(place - item.meta["depth"]) < 0.2
        assert abs(len(hay.split()) - item.meta["length"]) < 20
        assert task.grade(item, Generated(f"It is {item.target}"))["found"] == 1.0
        assert task.grade(item, Generated("I do not know"))["found"] == 0.0
    assert [i.request for i in items] == [i.request for i in task.items()]


def test_retrieval_collections(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": f"d{i}", "text": f"t{i}"}) for i in range(4)))
    (tmp_path / "queries.jsonl").write_text("\n".join(json.dumps({"_id": f"q{i}", "text": f"x{i}"}) for i in range(2)))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td1\t2\nq0\td2\t1\nq0\td3\t0\n")
    text = {"task": "b", "kind": "search", "data": {"path": str(tmp_path), "format": "beir"}}
    task: Any = tasks.from_config(from_dict(TaskConfig, text))
    (item,) = task.items()  # q1 has no judgement
    assert item.target == {"d1": 2, "d2": 1} and item.request.corpus == task.corpus
    best, worst = (task.grade(item, Found(ids)) for ids in (("d1", "d2"), ("d3", "d0")))
    assert best["ndcg@10"] == best["mrr"] == best["map"] == best["recall@100"] == 1.0
    assert worst["ndcg@10"] == worst["mrr"] == 0.0


def test_cranfield_names_queries_by_position(tmp_path: Path) -> None:
    (tmp_path / "cran.all.1400").write_text(
        ".I 1\n.T\na wing\n.A\nx\n.B\ny\n.W\na wing\n in a stream\n.I 2\n.T\n.A\n.W\n"
    )
    (tmp_path / "cran.qry").write_text(".I 001\n.W\nwhat wing\n.I 004\n.W\nwhat stream\n")
    (tmp_path / "cranqrel").write_text("2 1 2 \n1 1 -1 \n2 2 3\n")
    documents, queries, relevant = cranfield(tmp_path)
    assert [(d.id, d.title, d.text) for d in documents] == [("1", "a wing", "in a stream")]
    assert queries == {"1": "what wing", "2": "what stream"} and relevant == {"2": {"1": 1}}


# ---------------------------------------------------------------------------------------------------- the suite


def test_every_packaged_task_reads() -> None:
    names = tasks.names()
    assert {"arc", "mmlu", "hellaswag", "commonsenseqa", "gsm8k", "wikitext", "needle", "cranfield", "demo"} <= set(
        names
    )
    for path in tasks.SUITE.glob("*.yaml"):
        config = tasks.read(path)
        assert config.task == path.stem and config.about and config.source, path
    with pytest.raises(NotFound, match="did you mean 'hellaswag'"):
        tasks.load("helaswag")


@pytest.mark.parametrize("name", ["demo", "demo_written", "demo_text", "sentiment", "translation"])
def test_tasks_with_data_of_their_own(name: str) -> None:
    items = list(tasks.load(name).items())
    assert len({i.id for i in items}) == len(items) >= 5
    if isinstance(items[0].request, Choose):
        targets = [i.target for i in items]
        assert len(set(targets)) == len(items[0].request.options), "the right option must not always stand in one place"
    else:
        assert isinstance(items[0].request, (Generate, Roll))


def test_tasks_without_data_say_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--data"):
        list(tasks.load("mmlu").items())
    with pytest.raises(NotFound, match="check the folder"):
        list(tasks.load("mmlu", tmp_path).items())


def test_formats_of_published_data(tmp_path: Path) -> None:
    """The packaged tasks read the files as they are published."""
    for part in ("mmlu/test", "mmlu/dev", "hellaswag", "commonsenseqa", "gsm8k", "arc"):
        (tmp_path / part).mkdir(parents=True, exist_ok=True)
    (tmp_path / "mmlu/test/law_test.csv").write_text('"A, b?",1,2,3,4,C\n')
    (tmp_path / "mmlu/dev/law_dev.csv").write_text("".join(f"e{i},1,2,3,4,A\n" for i in range(5)))
    (item,) = tasks.load("mmlu", tmp_path).items()
    assert item.target == 2 and item.request.context.count("Answer: A\n") == 5
    assert item.request.context.startswith(
        "The following are multiple choice questions (with answers) about law.\n\ne0"
    )
    scene = {
        "activity_label": "Cooking",
        "ctx_a": "A man cooks.",
        "ctx_b": "he",
        "endings": ["eats [title] it.", "sleeps.", "runs.", "sings."],
        "label": 1,
    }
    (tmp_path / "hellaswag/hellaswag_val.jsonl").write_text(json.dumps(scene))
    (item,) = tasks.load("hellaswag", tmp_path).items()
    assert item.request == Choose("Cooking: A man cooks. He", (" eats. it.", " sleeps.", " runs.", " sings."))
    asked = {"stem": "Why?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]}
    row = json.dumps({"id": "i", "answerKey": "B", "question": asked})
    (tmp_path / "commonsenseqa/dev.jsonl").write_text(row)
    (tmp_path / "arc/ARC-Challenge-Test.jsonl").write_text(row)
    (item,) = tasks.load("commonsenseqa", tmp_path).items()
    assert item.request == Choose("Question: Why?\nA. x\nB. y\nAnswer:", (" A", " B")) and item.target == 1
    for name in ("arc_challenge", "commonsenseqa_cloze"):
        (item,) = tasks.load(name, tmp_path).items()
        assert item.request == Choose("Question: Why?\nAnswer:", (" x", " y"))
    sums = [json.dumps({"question": f"q{i}", "answer": f"2*2=<<2*2=4>>4\n#### 1,00{i}"}) for i in range(6)]
    (tmp_path / "gsm8k/train.jsonl").write_text("\n".join(sums))
    (tmp_path / "gsm8k/test.jsonl").write_text(sums[0])
    (item,) = tasks.load("gsm8k", tmp_path).items()
    assert item.target == "1000" and "<<" not in item.request.prompt and item.request.prompt.count("####") == 5
    assert tasks.load("gsm8k", tmp_path).grade(item, Generated("so 1,000. #### 1000")) == {
        "answered": 1.0,
        "number": 1.0,
    }
