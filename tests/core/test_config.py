"""Configurations: what is written is read back, and whatever is wrong is named."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core import config, yamls
from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, NotFound


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    rate: float = 1e-3
    name: str = "a"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "x")

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate is negative")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    many: list[Inner] = field(default_factory=list)
    table: Mapping[str, Inner] = field(default_factory=dict)
    mode: Literal["fast", "exact"] = "fast"
    colour: Colour = Colour.RED
    path: Path | None = None
    limit: int | None = None
    flag: bool = False
    either: int | str | None = None
    anything: Any = None


text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=True)
inners = st.builds(
    Inner,
    rate=st.floats(min_value=0, allow_nan=False),
    name=text,
    sizes=st.lists(st.integers()).map(tuple),
    pair=st.tuples(st.integers(), text),
)
outers = st.builds(
    Outer,
    inner=inners,
    many=st.lists(inners, max_size=2),
    table=st.dictionaries(text, inners, max_size=2),
    mode=st.sampled_from(["fast", "exact"]),
    colour=st.sampled_from(Colour),
    path=st.none() | st.just(Path("a/b")),
    limit=st.none() | st.integers(),
    flag=st.booleans(),
    either=st.none() | st.integers() | text,
    anything=st.recursive(
        st.none() | st.booleans() | st.integers() | numbers | text, lambda c: st.lists(c, max_size=3)
    ),
)


@given(outers)
def test_yaml_round_trip(value: Outer) -> None:
    assert config.from_dict(Outer, yamls.parse(config.dump(value))) == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | numbers | st.text(), lambda c: st.lists(c, max_size=3)))
def test_every_plain_value_survives_yaml(value: Any) -> None:
    try:
        text = yamls.emit(value)
        back = yamls.parse(text)
    except BadInput:  # YAML has no way to write some control characters and surrogates
        assert any(
            ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF or ord(c) > 0xFFFD for c in str(value)
        )
        return
    assert back == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3E4", 3e4),
        ("1.5", 1.5),
        (".inf", math.inf),
        ("-3", -3),
        ("010", 10),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("=", "="),
        ("true", True),
        ("~", None),
    ],
)
def test_scalars_mean_what_people_think(text: str, value: Any) -> None:
    assert yamls.parse(f"a: {text}") == {"a": value}
    assert type(yamls.parse(f"a: {text}")["a"]) is type(value)


def test_repeated_key_is_refused() -> None:
    with pytest.raises(BadInput, match="line 2.*stands twice"):
        yamls.parse("a: 1\na: 2\n")


def test_dates_and_tags_make_no_objects() -> None:
    with pytest.raises(BadInput):
        yamls.parse("a: !!python/object/apply:os.system ['true']")


@given(st.sampled_from(["inner.rate", "inner.sizes", "mode", "colour", "limit"]), st.data())
def test_a_misspelt_key_names_the_right_one(path: str, data: st.DataObject) -> None:
    *parents, name = path.split(".")
    cut = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:cut] + name[cut + 1 :]
    tree: Any = {wrong: 1}
    for parent in reversed(parents):
        tree = {parent: tree}
    with pytest.raises(BadInput) as caught:
        config.from_dict(Outer, tree)
    assert caught.value.param == ".".join([*parents, wrong])
    assert repr(name) in caught.value.hint


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"inner": {"rate": "fast"}}, "inner.rate"),
        ({"inner": {"rate": True}}, "inner.rate"),
        ({"inner": 3}, "inner"),
        ({"many": [{}, {"name": 4}]}, "many.1.name"),
        ({"table": {"k": {"sizes": ["1"]}}}, "table.k.sizes.0"),
        ({"inner": {"pair": [1]}}, "inner.pair"),
        ({"inner": {"sizes": "12"}}, "inner.sizes"),
        ({"mode": "fats"}, "mode"),
        ({"colour": "rod"}, "colour"),
        ({"limit": 1.5}, "limit"),
        ({"limit": "3"}, "limit"),
        ({"flag": 1}, "flag"),
        ({"path": 3}, "path"),
        ({"inner": {"rate": -1.0}}, "inner"),
    ],
)
def test_wrong_values_are_named_by_path(data: Any, param: str) -> None:
    with pytest.raises(BadInput) as caught:
        config.from_dict(Outer, data)
    assert caught.value.param == param
    assert param in caught.value.message


def test_own_checks_of_a_dataclass_keep_their_hint() -> None:
    @dataclass
    class Wrapped:
        sampling: Sampling = field(default_factory=Sampling)

    globals()["Sampling"] = Sampling
    with pytest.raises(BadInput) as caught:
        config.from_dict(Wrapped, {"sampling": {"top_p": 2.0}})
    assert caught.value.param == "sampling.top_p"
    assert "0 to 1" in caught.value.hint


def test_missing_option() -> None:
    @dataclass
    class Needs:
        folder: str

    with pytest.raises(BadInput, match="'folder' is missing"):
        config.from_dict(Needs, {})


@given(outers, inners)
def test_override_equals_the_yaml_with_that_value(outer: Outer, inner: Inner) -> None:
    rate = repr(inner.rate).replace("inf", ".inf")  # as YAML 1.2 spells it
    changed = config.override(outer, [f"inner.rate={rate}", f"inner.sizes={list(inner.sizes)}"])
    assert changed.inner.rate == inner.rate
    assert changed.inner.sizes == inner.sizes
    assert changed.inner.name == outer.inner.name
    assert changed.table == outer.table


def test_override_by_place_and_key_and_text() -> None:
    start = Outer(many=[Inner(), Inner()], table={"k": Inner()})
    done = config.override(
        start, ["many.1.name=b", "table.k.rate=2", "inner.name=3", "path=x/y", "either=7", "limit=null", "colour=blue"]
    )
    assert done.many == [Inner(), Inner(name="b")]
    assert done.table["k"].rate == 2.0
    assert (done.inner.name, done.path, done.either, done.colour) == ("3", Path("x/y"), 7, Colour.BLUE)
    assert start.many[1].name == "a"  # the old object is untouched


@pytest.mark.parametrize("change", ["", "mode", "=3", "mod=fast", "inner.rat=1", "many.0.name=x", "mode.x=1", "a: b=["])
def test_bad_overrides(change: str) -> None:
    with pytest.raises(BadInput):
        config.override(Outer(), [change])


def test_load_from_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("inner:\n  rate: 1e-4\n")
    assert config.load(Outer, file).inner.rate == 1e-4
    file.write_text("")
    assert config.load(Outer, file) == Outer()
    file.write_text("inner:\n  rat: 1\n")
    with pytest.raises(BadInput, match=r"run\.yaml: unknown option 'inner.rat'"):
        config.load(Outer, file)
    file.write_text("a: [1\n")
    with pytest.raises(BadInput, match=r"run\.yaml, line"):
        config.load(Outer, file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput):
        config.load(Outer, file)
    with pytest.raises(NotFound):
        config.load(Outer, tmp_path / "none.yaml")
