"""Tokenizers: exact both ways, special tokens out of reach of text, clear errors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.text.gguf import from_gguf, score_merges
from idiolect.text.hf import HFTokenizer
from idiolect.text.pretokenizers import PRETOKENIZERS
from tests.text import tiny

pytest.importorskip("sentencepiece")

EXACT = ["chatml", "llama2", "llama3", "mistral", "gemma", "spm-gguf", "spm-gguf-noprefix", "bpe-gguf"]
TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [" ", "  ", "\n", "\t", "the", "▁", "<s>", "日本", "👩‍👩‍👧", "é", "e\u0301", "0", "\x00", "Ġ", "�"]
    ),
    max_size=12,
).map("".join)


@cache
def tokenizer(name: str) -> HFTokenizer:
    if name.startswith("spm-gguf"):
        return from_gguf(tiny.spm_fields(prefix=not name.endswith("noprefix")))
    if name == "bpe-gguf":
        return from_gguf(tiny.bpe_fields("gpt-2", [tiny.GPT2]))
    return HFTokenizer(json.loads(tiny.spec(name)), tiny.NAMED[name])


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None, max_examples=120)
@given(text=TEXTS)
def test_decode_of_encode_is_the_text(name: str, text: str) -> None:
    own = tokenizer(name)
    assume(name != "mistral" or not text.startswith(" "))  # Metaspace adds its space only where there is none
    ids = own.encode(text)
    assert own.decode(ids) == text
    stream = own.stream()
    pushed = [stream.push(i) for i in ids]
    assert "".join(pushed) + stream.flush() == text
    assert not any("\ufffd" in piece for piece in pushed) or "\ufffd" in text
    assert own.encode_batch([text, "x"]) == [ids, own.encode("x")]


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_stream_is_decode_for_any_ids(name: str, data: st.DataObject) -> None:
    own = tokenizer(name)
    ids = data.draw(st.lists(st.integers(0, len(own) - 1), max_size=30))
    stream = own.stream()
    assert "".join(map(stream.push, ids)) + stream.flush() == own.decode(ids)
    joined = b"".join(map(own.token_bytes, ids)).decode("utf-8", "replace")
    assert own.decode(ids) in (joined, joined.removeprefix(" "))
    kept = own.stream(continuing=True)
    assert "".join(map(kept.push, ids)) + kept.flush() == joined


@pytest.mark.parametrize("name", [*EXACT, "phi3"])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_text_never_reaches_a_special_token(name: str, data: st.DataObject) -> None:
    own = tokenizer(name)
    words = [*own.specials, *(s[:-1] for s in own.specials), *(s[1:] for s in own.specials), " ", "a", "\n"]
    text = "".join(data.draw(st.lists(st.sampled_from(words), max_size=8)))
    assume(name != "mistral" or not text.startswith(" "))
    ids = own.encode(text)
    allowed = {own.specials.get(own.named.get("unk_token", ""), -1)}
    assert not (set(ids) & set(own.specials.values())) - allowed
    assert own.decode(ids) == text


@pytest.mark.parametrize("name", EXACT)
def test_special_tokens_on_request(name: str) -> None:
    own = tokenizer(name)
    for text, token in own.specials.items():
        assert own.encode(text, special=True) == [token]
        assert own.token_bytes(token) == b"" and own.piece(token) == text
        assert own.decode([token]) == "" and own.decode([token], special=True) == text
        around = own.encode(f"a{text}b", special=True)
        assert around.count(token) == 1 and own.decode(around).replace(" ", "") == "ab"


def test_the_embedded_tokenizer(smol: Any) -> None:
    own = smol.tokenizer
    assert own.specials["<|im_end|>"] in own.eos_ids and not own.add_bos
    assert not set(own.encode("<|im_start|>user\n<|im_end|>")) & set(own.specials.values())
    for text in ("  a\n\n b", "日本語 👩‍👩‍👧 é e\u0301", "\x00\xff"):
        assert own.decode(own.encode(text)) == text


def test_added_tokens_that_are_not_special_stay_text() -> None:
    own = tokenizer("chatml")
    think = own.vocabulary["<think>"]
    assert "<think>" not in own.specials
    assert own.encode("<think>x")[0] == think and own.decode([think]) == "<think>"


def test_bos_is_put_once_and_only_where_the_model_uses_it() -> None:
    llama, chatml = tokenizer("llama2"), tokenizer("chatml")
    assert llama.add_bos and not chatml.add_bos and chatml.bos_id is not None
    assert llama.encode("a", bos=True) == [llama.bos_id, *llama.encode("a")]
    assert llama.encode("<s>a", bos=True, special=True).count(llama.bos_id) == 1
    assert chatml.encode("a", bos=True) == chatml.encode("a")
    assert llama.frame([9, 9, 9], limit=2) == [llama.bos_id, 9]


def test_every_end_of_turn_ends_a_generation() -> None:
    llama3 = tokenizer("llama3")
    assert llama3.eos_ids[0] == llama3.specials["<|eot_id|>"]
    assert llama3.specials["<|end_of_text|>"] in llama3.eos_ids
    more = HFTokenizer(json.loads(tiny.spec("llama2")), tiny.NAMED["llama2"], eos_ids=[77])
    assert more.eos_ids == (2, 77)


def test_words_that_are_control_tokens_in_the_vocabulary() -> None:
    """A whole-word vocabulary would give `</s>` its control id: the stretch is encoded by characters instead."""
    spec = {
        "version": "1.0",
        "added_tokens": [{"id": 1, "content": "</s>", "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "</s>": 1, "<": 2, "a": 3}, "unk_token": "[UNK]"},
    }
    own = HFTokenizer(spec)
    assert own.encode("a </s> a") == [3, 2, 0, 0, 0, 3]
    assert own.encode("a </s>", special=True) == [3, 1]
    assert own.encode_batch(["a </s>"]) == [[3, 2, 0, 0, 0]]


@pytest.mark.parametrize("name", EXACT)
def test_saved_and_read_again_is_the_same(name: str, tmp_path: Path) -> None:
    own = tokenizer(name)
    own.save(tmp_path)
    again = HFTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.fingerprint == own.fingerprint
    assert (again.bos_id, again.eos_ids, again.prefix, dict(again.specials)) == (
        *(own.bos_id, own.eos_ids, own.prefix),
        dict(own.specials),
    )
    assert again.encode("Hello  wörld\n日本 <s>") == own.encode("Hello  wörld\n日本 <s>")


def test_fingerprint_tells_tokenizers_apart() -> None:
    assert len({tokenizer(name).fingerprint for name in EXACT}) == len(EXACT)


def test_merges_from_scores_take_the_best_piece_first() -> None:
    tokens = ["<unk>", "a", "b", "c", "ab", "bc", "abc"]
    rules = score_merges(tokens, [0, 0, 0, 0, -2, -1, -3], [2, 1, 1, 1, 1, 1, 1])
    assert rules == [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]


# --------------------------------------------------------------------------------------------------- bad input


def test_lone_surrogate_is_one_clear_line() -> None:
    own = tokenizer("chatml")
    for call in (own.encode, lambda t: own.encode(t, special=True), lambda t: own.encode_batch([t])):
        with pytest.raises(BadInput, match="lone surrogate at character 2"):
            call("ab\ud800")


def test_unknown_pretokenizer_lists_the_known_ones() -> None:
    with pytest.raises(BadInput) as error:
        from_gguf({**tiny.bpe_fields("gpt-2", [tiny.GPT2]), "tokenizer.ggml.pre": "smol"})
    assert "'smol'" in error.value.message and all(name in error.value.hint for name in PRETOKENIZERS)


def _without(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if k != f"tokenizer.ggml.{key}"}


def test_metadata_that_do_not_fit_together() -> None:
    bpe, spm = tiny.bpe_fields("gpt-2", [tiny.GPT2]), tiny.spm_fields()
    bad = [
        _without(bpe, "tokens"),
        _without(bpe, "merges"),
        _without(spm, "scores"),
        {**bpe, "tokenizer.ggml.token_type": [1, 2]},
        {**bpe, "tokenizer.ggml.merges": ["nospace"]},
        {**bpe, "tokenizer.ggml.merges": ["zzzz qqqq"]},
        {**bpe, "tokenizer.ggml.tokens": [*bpe["tokenizer.ggml.tokens"][:-1], "!"]},
    ]
    for fields in bad:
        with pytest.raises(CorruptFile):
            from_gguf(fields)
    with pytest.raises(BadInput, match="rwkv"):
        from_gguf({**bpe, "tokenizer.ggml.model": "rwkv"})


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        HFTokenizer.from_file(tmp_path / "tokenizer.json")
    for text in ("{", "[]", "{}", '{"model": {"type": "BPE"}}', "\x00\x01"):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(CorruptFile):
            HFTokenizer.from_file(tmp_path / "tokenizer.json")
