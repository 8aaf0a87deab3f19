"""Files that are whole or absent: atomic writes, hashes, locks between processes, and where our own files live."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from idiolect.core.errors import NotFound, Unavailable
from idiolect.core.progress import Progress

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_error(error: OSError, path: Path) -> Unavailable:
    """What the operating system said about a write, as one clear line."""
    if error.errno in NO_ROOM:
        return Unavailable(f"no room left on the disk of {path}", hint="free some space and try again")
    return Unavailable(f"cannot write {path}: {error.strerror or error}", hint="check the folder and its permissions")


@contextmanager
def atomic_write(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """Write a file that appears at `path` only when the block ends well; before that the old one stays untouched.

    The bytes are on the disk (fsync of the file, then of its folder) before the name changes. `mode` is "wb", or
    "w" for UTF-8 text with "\\n" line ends. A full disk is `Unavailable`, and leaves no temporary file behind.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode is {mode!r}, not 'w' or 'wb'")
    path = Path(path)
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    text: dict[str, Any] = {"encoding": "utf-8", "newline": "\n"} if mode == "w" else {}
    try:
        with temp.open("x" if mode == "w" else "xb", **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != temp:
            raise  # about some other file that the block touched
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise NotFound(f"there is no folder {path.parent}", hint="create it first") from error
        raise disk_error(error, path) from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """`atomic_write` for a library that opens its file itself: yields a name beside `path` to write to, which becomes
    `path`, with its bytes on the disk, when the block ends well."""
    path = Path(path)
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temp
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        temp.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise NotFound(f"there is no folder {path.parent}", hint="create it first") from error
        if error.filename is not None and Path(error.filename) != temp:
            raise  # about some other file that the block touched
        raise disk_error(error, path) from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path | str, progress: Progress | None = None) -> str:
    """The hex SHA-256 of a file, read in pieces; `progress` is advanced by bytes."""
    hasher = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
            if progress is not None:
                progress.advance(len(piece))
    return hasher.hexdigest()


def sha256_kept(path: Path | str) -> str:
    """`sha256_file`, read only when the file is new or was changed since (its size, time or inode is another)."""
    file = Path(path).resolve()
    found = file.stat()
    stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
    kept = cache_dir() / "hashes" / hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    with suppress(OSError, ValueError):
        before, _, known = kept.read_text("ascii").rpartition(" ")
        if before == stamp and len(known) == 64:
            return known
    value = sha256_file(file)
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as out:
            out.write(f"{stamp} {value}".encode())
    return value


def cache_dir() -> Path:
    """Where what can be fetched again lives (weights). `$IDIOLECT_HOME/cache` when that is set; created if absent."""
    return _home("cache")


def state_dir() -> Path:
    """Where what cannot be made again lives (the store, indexes). `$IDIOLECT_HOME/state` when that is set."""
    return _home("state")


def _home(kind: str) -> Path:
    home = os.environ.get("IDIOLECT_HOME")
    if home:
        path = Path(home).expanduser() / kind
    else:
        import platformdirs

        dirs = platformdirs.PlatformDirs("idiolect", appauthor=False)
        path = dirs.user_cache_path if kind == "cache" else dirs.user_state_path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"cannot create the {kind} folder {path}: {error.strerror}", hint="set IDIOLECT_HOME to a folder of yours"
        ) from error
    return path


@contextmanager
def lock(path: Path | str, timeout: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock between processes (and threads). The operating system frees it when a process dies.

    `path` is the lock's own file; it is created and left in place. `timeout` seconds without getting it raise
    `Unavailable`; None waits for ever.
    """
    import filelock

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path, timeout=-1 if timeout is None else timeout, thread_local=False)
    try:
        held.acquire()
    except filelock.Timeout:
        raise Unavailable(f"another process holds {path}", hint="wait for it to end, or stop it") from None
    except OSError as error:
        raise disk_error(error, Path(path)) from error
    try:
        yield
    finally:
        held.release()
