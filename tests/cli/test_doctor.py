"""`idiolect doctor`: every finding is there, and every problem comes with what to do."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from idiolect.cli import main
from idiolect.commands import doctor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    main(["doctor", "--json"])
    return {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}


def test_everything_is_looked_at(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    expected = {"python", "torch", "threads", "gpu", "dtype", "runner", "ceilings", "cpu", "cache", "state", "disk"}
    assert expected | {"language model", "encoder"} == set(found)
    assert found["dtype"]["value"].split()[0] in ("float32", "bfloat16")
    assert found["runner"]["value"].startswith(("native", "torch"))


def test_without_a_compiler_the_runner_is_torch_and_says_why(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = findings(capsys)["runner"]
    assert found["state"] == "note" and "no C++ compiler" in found["value"] and "g++" in found["advice"]


def test_ceilings_are_measured_once_and_again_when_their_file_is_gone(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a compiler torch measures, so that this takes a second and builds nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "measured just now" in findings(capsys)["ceilings"]["value"]
    kept = findings(capsys)["ceilings"]["value"]
    assert "measured on 2" in kept and str(home / "cache" / "machine") in kept
    assert findings(capsys)["ceilings"]["value"] == kept
    shutil.rmtree(home / "cache" / "machine")
    assert "measured just now" in findings(capsys)["ceilings"]["value"]


def test_missing_weights_come_with_the_way_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert found["language model"]["state"] == "note"
    assert "idiolect models fetch" in found["language model"]["advice"]


def test_weights_that_are_here(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert found["language model"]["state"] == found["encoder"]["state"] == "ok"


def test_damaged_weights_are_not_called_here(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = cache / "packages"
    real = packages.resolve()
    packages.unlink()
    for file in real.rglob("*"):
        if file.is_file():
            own = packages / file.relative_to(real)
            own.parent.mkdir(parents=True, exist_ok=True)
            own.symlink_to(file)
    gguf = next(packages.rglob("*.gguf"))
    gguf.unlink()
    gguf.write_bytes(b"GGUF cut short")
    found = findings(capsys)
    assert (found["language model"]["state"], found["encoder"]["state"]) == ("note", "ok")


def test_a_flipped_bit_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from idiolect import models
    from idiolect.commands.models import folder
    from idiolect.models.sources import package

    own = folder(models.EMBEDDED_ENCODER)
    own.mkdir(parents=True)
    (own / "weights").write_bytes(b"0123")
    _, _, wanted = package.parse(models.EMBEDDED_ENCODER)
    hashes = {"weights": hashlib.sha256(b"0123").hexdigest()}
    manifest = {"sha256": wanted, "files": {"weights": 4}, "hashes": hashes}
    (own / package.MANIFEST).write_text(json.dumps(manifest))
    assert findings(capsys)["encoder"]["state"] == "ok"
    (own / "weights").write_bytes(b"0133")
    found = findings(capsys)["encoder"]
    assert found["state"] == "problem"
    assert str(own) in found["advice"]


def test_a_full_disk_and_a_folder_that_cannot_be_made(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 62)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM  disk" in out
    assert "free some space" in out
    shutil.rmtree(home)
    home.write_text("in the way")
    assert main(["doctor"]) == 1
    assert "set IDIOLECT_HOME" in capsys.readouterr().out
