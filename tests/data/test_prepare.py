"""From a configuration to batches: caches that survive harm, parts that do not move, errors that help."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.data import Batching, DataConfig, Dataset, describe, prepare, split, tokenise
from idiolect.data.cache import fingerprint
from idiolect.data.picture import plot
from tests.data.parts import codec, jsonl, template, tokenizer, tokens

CHATS = [{"prompt": f"what is {i}?", "completion": f"it is {i}"} for i in range(40)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def model(**changes: Any) -> Any:
    return SimpleNamespace(**{"tokenizer": tokenizer(), "template": template(), "context": 128, **changes})


def test_tokens_are_kept_and_made_again_when_harmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path / "x.jsonl", CHATS)
    cache = tmp_path / "cache"
    first = tokenise(Dataset(path), codec(), cache=cache)
    memory = tokenise(Dataset(path), codec(), cache=False)
    assert isinstance(first.ids, np.memmap)
    assert first.ids.tolist() == memory.ids.tolist()
    assert first.counts == memory.counts
    folder = cache / fingerprint(Dataset(path), codec())

    calls: list[int] = []
    whole = type(codec()).rows
    monkeypatch.setattr(type(codec()), "rows", lambda self, e: calls.append(1) or whole(self, e))
    tokenise(Dataset(path), codec(), cache=cache)
    assert not calls, "the kept tokens were used"
    (folder / "ids").write_bytes((folder / "ids").read_bytes()[:-4])  # half written
    (cache / f".{folder.name}.dead.tmp").mkdir()  # left by a run that was killed
    again = tokenise(Dataset(path), codec(), cache=cache)
    assert len(calls) == len(CHATS)
    assert again.ids.tolist() == memory.ids.tolist()
    assert not list(cache.glob(".*.tmp"))
    shutil.rmtree(folder)
    assert tokenise(Dataset(path), codec(), cache=cache).ids.tolist() == memory.ids.tolist()


def test_the_cache_knows_what_it_depends_on(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", CHATS)
    keys = {
        fingerprint(Dataset(path), codec()),
        fingerprint(Dataset(path), codec("qwen2")),
        fingerprint(Dataset(path, limit=5), codec()),
        fingerprint(Dataset(path), codec(), "skip"),
    }
    jsonl(path, [*CHATS[:-1], {"prompt": "what is 39?", "completion": "it is 3g"}])
    assert len(keys | {fingerprint(Dataset(path), codec())}) == 5


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 60), fraction=st.floats(0.02, 0.9), seed=st.integers(0, 9), data=st.data())
def test_the_parts_do_not_move(count: int, fraction: float, seed: int, data: Any) -> None:
    items = tokens([3] * count)
    train, held = split(items, fraction, seed)
    assert sorted([*train.index, *held.index]) == list(range(count))
    assert len(train)
    assert len(held)
    moved = items.hashes[data.draw(st.permutations(range(count)))]
    shuffled = tokens([3] * count)
    shuffled.hashes = np.concatenate([moved, moved[:1]])[:count]
    _, other = split(shuffled, fraction, seed)
    assert set(shuffled.hashes[other.index]) == set(items.hashes[held.index])


def test_a_part_has_its_size_and_equal_items_lie_on_one_side() -> None:
    items = tokens([2] * 4000)
    _, held = split(items, 0.1)
    assert 320 < len(held) < 480
    items.hashes = items.hashes // (7919 * 2)  # pairs of equal items
    train, held = split(items, 0.1)
    assert not set(train.hashes) & set(held.hashes)


def test_a_recipe_reads_and_prepares(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", CHATS)
    text = f"train: [{path}]\nholdout: 0.2\nbatching: {{examples: 4, prompt_weight: 0.1}}\n"
    (tmp_path / "data.yaml").write_text(text)
    made = config.load(DataConfig, tmp_path / "data.yaml")
    found = prepare(model(), made, seed=1)
    assert found.validation is not None
    assert found.items is not None
    assert found.held is not None
    assert len(found.items) + len(found.held) == 40
    (batch,) = found.train.step(0)
    assert batch.batch.segments == 4
    assert batch.weights.unique().tolist() == pytest.approx([0.0, 0.1, 1.0])
    assert sum(
        b.batch.segments for i in range(found.validation.steps_per_epoch) for b in found.validation.step(i)
    ) == len(found.held)


def test_files_of_validation_share_the_classes(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", [{"text": "a b", "label": n} for n in ("x", "y", "z", "z")])
    held = jsonl(tmp_path / "b.jsonl", [{"text": "b c", "label": n} for n in ("z", "y")])
    made = DataConfig(train=(str(train),), validation=(str(held),), balance=True)
    found = prepare(model(), made)
    assert found.classes == ("x", "y", "z")
    assert found.held is not None
    assert found.held.labels is not None
    assert found.held.labels.tolist() == [2, 1]
    assert len(found.train.order) == 3  # type: ignore[union-attr]
    jsonl(held, [{"text": "b", "label": "w"}])
    with pytest.raises(BadInput, match="no class 'w'"):
        prepare(model(), made)


def test_numbers_are_values_or_classes_as_asked(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"text": "a b", "label": n} for n in (2, 10, 2)])
    values = prepare(model(), DataConfig(train=(str(path),)))
    assert (values.classes, values.tokens[0].labels.tolist()) == ((), [2, 10, 2])  # type: ignore[union-attr]
    classes = prepare(model(), DataConfig(train=(str(path),), labels="classes"))
    assert (classes.classes, classes.tokens[0].labels.tolist()) == (("2", "10"), [0, 1, 0])  # type: ignore[union-attr]
    path = jsonl(tmp_path / "b.jsonl", [{"text": "a b", "label": n} for n in ("2", "no")])
    with pytest.raises(BadInput, match="'no' is no number"):
        prepare(model(), DataConfig(train=(str(path),), labels="values"))


def test_a_mixture_of_files(tmp_path: Path) -> None:
    a = jsonl(tmp_path / "a.jsonl", CHATS[:30])
    b = jsonl(tmp_path / "b.jsonl", [{"text": "plain text"}] * 10)
    found = prepare(model(), DataConfig(mix={str(a): 1.0, str(b): 1.0}))
    steps = [found.train.chosen(i) for i in range(found.train.steps_per_epoch)]  # type: ignore[union-attr]
    assert sum((s < 30).sum() for s in steps) == 20
    pairs = jsonl(tmp_path / "c.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    with pytest.raises(BadInput, match="preference data"):
        prepare(model(), DataConfig(mix={str(a): 1.0, str(pairs): 1.0}))


def test_windows_hold_the_end_of_the_text_out(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a b c d e f g. " * 200)
    found = prepare(model(), DataConfig(train=(str(path),), block=16, holdout=0.25))
    assert found.validation is not None
    ids = found.tokens[0].ids
    first = found.validation.step(0)[0].batch.ids[:16]
    assert first.tolist() == ids[int(len(ids) * 0.75) :][:16].tolist()
    with pytest.raises(BadInput, match="the model's context 128"):
        prepare(model(), DataConfig(train=(str(path),), block=256))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": ()}, "no data to train on"),
        ({"mix": {"x": 1.0}}, "both train and mix"),
        ({"holdout": 0.1, "validation": ("x",)}, "both validation and holdout"),
        ({"holdout": 1.5}, "between 0 and 1"),
        ({"context": 999}, "the model's is 128"),
        ({"context": 3}, "40 are longer than 3 tokens"),
        ({"balance": True}, "needs examples with classes"),
        ({"block": 8}, "of plain text"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = jsonl(tmp_path / "x.jsonl", CHATS)
    with pytest.raises(BadInput) as error:
        prepare(model(), DataConfig(**{"train": (str(path),), **changes}))
    assert says in str(error.value)
    assert error.value.hint


def test_skipped_and_long_examples_are_counted(tmp_path: Path) -> None:
    records = [*CHATS[:5], {"prompt": "p", "completion": ""}, {"prompt": "p", "completion": "long " * 200}, CHATS[0]]
    path = jsonl(tmp_path / "x.jsonl", records)
    with pytest.raises(BadInput, match=r"x.jsonl, line 6: 'completion' is empty"):
        prepare(model(), DataConfig(train=(str(path),)))
    found = prepare(model(), DataConfig(train=(str(path),), on_error="skip", batching=Batching(examples=2)))
    shown = describe(found.tokens[0], Dataset(path))
    assert (shown.records, shown.items, shown.dropped, shown.duplicates) == (8, 6, 1, 1)
    assert shown.skipped == {"'completion' is empty": 1}
    assert "line 6" in shown.first_skipped[0]
    assert shown.tokens == sum(found.tokens[0].lengths)
    assert shown.words is not None
    assert shown.words.high == 6
    assert abs(sum(shown.characters.values()) - 1) < 1e-9
    text = json.dumps(config.to_dict(shown))
    assert json.loads(text)["lengths"]["high"] == shown.lengths.high
    from rich.console import Console

    console = Console(record=True, width=120)
    with console.capture() as out:
        console.print(shown)
    assert "'completion' is empty" in out.get()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures(tmp_path: Path, kind: str) -> None:
    for made in (tokens([3, 9, 20]), tokens([3, 9, 5], ["x", "y", "x"]), tokens([3, 9], [0.5, 1.5])):
        path = plot(made, tmp_path / f"x.{kind}", context=20)
        assert path.read_bytes()[:8].startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    with pytest.raises(BadInput, match=r"x.gif"):
        plot(tokens([3]), tmp_path / "x.gif")


def test_a_step_knows_the_lines_of_its_examples(tmp_path: Path) -> None:
    a = jsonl(tmp_path / "a.jsonl", CHATS[:3])
    b = tmp_path / "b.json"
    b.write_text(json.dumps(CHATS[3:5], indent=1))
    for _ in range(2):  # made, and from the cache
        found = prepare(model(), DataConfig(train=(str(a), str(b)), shuffle=False))
        assert found.train.examples(0) == [  # type: ignore[union-attr]
            *(f"{a}, line {i}" for i in (1, 2, 3)),
            f"{b}, line 2",
            f"{b}, line 6",
        ]
