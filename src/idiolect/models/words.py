"""The words around the weights: tokenizer, chat template, sampling defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.core.call import Sampling
from idiolect.core.errors import CorruptFile, NotFound
from idiolect.models.source import Opened

if TYPE_CHECKING:
    from idiolect.text.hf import HFTokenizer


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or `CorruptFile` that names the file; {} when it is absent."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path} is not valid JSON: {error}", hint="get the file again") from None
    if not isinstance(value, dict):
        raise CorruptFile(f"{path} holds no JSON object", hint="get the file again")
    return value


def tokenizer_of(opened: Opened) -> HFTokenizer:
    """The source's tokenizer. `NotFound` when a folder has no tokenizer.json."""
    if opened.fields is not None:
        from idiolect.text.gguf import from_gguf

        return from_gguf(opened.fields)
    from idiolect.text.hf import HFTokenizer

    assert opened.folder is not None
    path = opened.folder / "tokenizer.json"
    if not path.exists():
        raise NotFound(
            f"{opened.folder} has no tokenizer.json",
            hint="save it there with transformers' AutoTokenizer(..., use_fast=True).save_pretrained",
        )
    config = read_json(opened.folder / "tokenizer_config.json")
    return HFTokenizer.from_file(path, config or None, eos_ids=eos_ids(opened))


def eos_ids(opened: Opened) -> list[int]:
    """The ids that end a generation, as generation_config.json or config.json list them."""
    found = generation_of(opened).get("eos_token_id", opened.config.get("eos_token_id"))
    ids = found if isinstance(found, list) else [found]
    return [int(i) for i in ids if i is not None]


def template_source(opened: Opened) -> str | None:
    """The chat template's text, from where each format keeps it."""
    if opened.fields is not None:
        value = opened.fields.get("tokenizer.chat_template")
        return str(value) if value else None
    assert opened.folder is not None
    own = opened.folder / "chat_template.jinja"
    if own.exists():
        return own.read_text(encoding="utf-8")
    older = read_json(opened.folder / "chat_template.json").get("chat_template")
    found = older or read_json(opened.folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several named templates
        by_name = {t.get("name"): t.get("template") for t in found if isinstance(t, Mapping)}
        found = by_name.get("default")
    return str(found) if found else None


def generation_of(opened: Opened) -> dict[str, Any]:
    """generation_config.json, unchanged; what the source advises, or {}, when there is none."""
    found = {} if opened.folder is None else read_json(opened.folder / "generation_config.json")
    return found or dict(opened.generation)


def sampling_of(generation: Mapping[str, Any]) -> Sampling:
    """Sampling defaults as the model's makers gave them; greedy when they say `do_sample: false`."""
    if generation.get("do_sample") is False:
        return Sampling(temperature=0.0)
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    return Sampling(**{n: generation[n] for n in names if generation.get(n) is not None})
