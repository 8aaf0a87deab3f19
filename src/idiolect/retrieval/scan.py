"""Which files of a folder are documents: a walk that no link loop, secret folder or exclude rule can lead astray.

Not entered: hidden names (they hold keys, caches and version control), dependency and build folders, and links that
lead out of the folder. `.gitignore` is not read (people ignore their notes); `.idiolectignore` is, in gitignore's
syntax, in any folder of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idiolect.core.errors import BadInput, NotFound
from idiolect.retrieval.load import format_of

IGNORE_FILE = ".idiolectignore"
SKIPPED_FOLDERS = frozenset(("node_modules", "__pycache__", "venv", "site-packages", "__MACOSX"))
MAX_DEPTH = 64

Rule = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Found:
    """A document file. `file` is where to read it, `mtime_ns` and `size` what its stat said."""

    path: str  # relative to the folder, "/" as separator
    file: Path
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    found: dict[str, Found] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # path -> why it is not a document
    unreadable: list[str] = field(default_factory=list)  # folders that could not be listed: their files are unknown


def scan(root: Path, *, exclude: Sequence[str] = (), max_bytes: int = 64 << 20) -> Scan:
    """Walk `root` (a folder, or one file). `exclude` are patterns in gitignore's syntax, relative to `root`.

    Raises `NotFound` when `root` does not exist and `BadInput` when it cannot be listed or a pattern is malformed.
    """
    result = Scan()
    try:
        mode = root.stat().st_mode
    except OSError as error:
        if isinstance(error, PermissionError):
            raise BadInput(f"no permission to read {root}", hint="change its permissions") from None
        raise NotFound(f"there is no folder {root}", hint="give a folder of documents, or one file") from None
    if not stat.S_ISDIR(mode):
        _file(result, root, root.name, max_bytes)
        return result
    rules = [_rule(list(exclude), root)] if exclude else []
    _folder(result, root, root, "", rules, {_identity(root)}, max_bytes, 0)
    return result


def _folder(
    result: Scan,
    root: Path,
    folder: Path,
    prefix: str,
    rules: list[Rule],
    seen: set[tuple[int, int]],
    limit: int,
    depth: int,
) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        if not prefix:
            raise BadInput(f"cannot list {root}: {error.strerror}", hint="change its permissions") from None
        result.skipped[prefix] = f"cannot list the folder: {error.strerror}"
        result.unreadable.append(prefix)
        return
    if any(e.name == "pyvenv.cfg" for e in entries) and prefix:
        return
    own = folder / IGNORE_FILE
    if own.is_file():
        rules = [*rules, _rule(own.read_text("utf-8", errors="replace").splitlines(), folder)]
    for entry in entries:
        path = prefix + entry.name
        if entry.name.startswith(".") or any(rule(entry.path) for rule in rules):
            continue
        try:
            if entry.is_symlink():
                target = Path(entry.path).resolve()
                if not target.exists():
                    result.skipped[path] = "a link to nothing"
                    continue
                if not target.is_relative_to(root.resolve()):
                    result.skipped[path] = "a link that leads out of the folder"
                    continue
            if entry.is_dir():
                if entry.name in SKIPPED_FOLDERS:
                    continue
                identity = _identity(Path(entry.path))
                if identity in seen or depth >= MAX_DEPTH:
                    result.skipped[path + "/"] = (
                        "a folder that is already read under another name, or nested too deeply"
                    )
                    continue
                seen.add(identity)
                _folder(result, root, Path(entry.path), path + "/", rules, seen, limit, depth + 1)
            else:
                _file(result, Path(entry.path), path, limit)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, before Python 3.13
            result.skipped[path] = f"cannot look at it: {getattr(error, 'strerror', None) or error}"


def _file(result: Scan, file: Path, path: str, limit: int) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        result.skipped[path.encode("utf-8", "backslashreplace").decode()] = "its name is not valid text"
        return
    if format_of(path) is None:
        result.skipped[path] = "not a document type that can be read"
        return
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        result.skipped[path] = "not a regular file"
    elif status.st_size > limit:
        result.skipped[path] = f"{status.st_size / 1e6:.0f} MB, more than the limit of {limit / 1e6:.0f} MB"
    else:
        result.found[path] = Found(path, file, status.st_size, status.st_mtime_ns)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _rule(lines: list[str], base: Path) -> Rule:
    from gitignore_parser import parse_gitignore_str

    try:
        rule: Rule = parse_gitignore_str("\n".join(lines), base_dir=base)
        rule(str(base / "x"))  # a malformed pattern shows when it is used
    except Exception as error:  # the library lets `re.error` and ValueError through
        raise BadInput(f"malformed exclude pattern in {base}: {error}", hint="use gitignore's syntax") from None
    return rule
