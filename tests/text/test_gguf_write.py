"""A tokenizer written as GGUF metadata and read again is the tokenizer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idiolect.core.errors import BadInput
from idiolect.text.gguf import from_gguf
from idiolect.text.gguf_write import PROBE, to_gguf
from idiolect.text.hf import HFTokenizer
from tests.text import tiny

TEXTS = [
    PROBE,
    "",
    " ",
    "  two  spaces ",
    "\n\n\tx\r\n",
    "1 12 123 1234567890",
    "naïve 日本語 😀 ﷽",
    "<|im_end|> </s> [INST]",
    *tiny.corpus()[:10],
]


def tokenizer(family: str) -> HFTokenizer:
    if family.startswith("spm-gguf"):
        return from_gguf(tiny.spm_fields("noprefix" not in family))
    return HFTokenizer(json.loads(tiny.spec(family)), tiny.NAMED.get(family))


@pytest.mark.parametrize("family", ["chatml", "llama2", "spm-gguf", "spm-gguf-noprefix"])
def test_there_and_back(family: str) -> None:
    own = tokenizer(family)
    fields, _ = to_gguf(own, len(own) + 5)
    again = from_gguf(fields)
    assert len(again) == len(own) + 5 and again.eos_ids[:1] == own.eos_ids[:1]
    assert (again.bos_id, again.add_bos) == (own.bos_id, own.add_bos)
    assert set(again.specials) >= set(own.specials)
    for text in TEXTS:
        assert again.encode(text, bos=True) == own.encode(text, bos=True), text
        assert again.encode(text, special=True) == own.encode(text, special=True), text


def test_what_gguf_cannot_say_is_noted() -> None:
    own = tokenizer("mistral")
    fields, notes = to_gguf(own, len(own))
    assert "begins with a space" in notes[0] and from_gguf(fields).encode("a b") == own.encode("a b")


def test_what_has_no_name_is_refused() -> None:
    spec: dict[str, Any] = json.loads(tiny.spec("chatml"))
    pattern = {"type": "Split", "pattern": {"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [pattern, level]}
    own = HFTokenizer(spec, tiny.NAMED.get("chatml"))
    with pytest.raises(BadInput, match="no name for"):
        to_gguf(own, len(own))
    with pytest.raises(BadInput, match="they do not fit"):
        to_gguf(own, len(own) - 1)
