"""API keys: made here, shown once, kept as hashes.

A key is 256 random bits, so a plain SHA-256 is as hard to invert as the key is to guess; a slow hash would only slow
the server. Checks compare in constant time against every live key. The file (mode 0600) is read again when it
changes, so that a key made or revoked on the command line counts at once in a running server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.core.files import atomic_write, lock

PREFIX = "idk-"


@dataclass(frozen=True, slots=True)
class Key:
    """A key's record; the key itself is not in it. `hint` is its first characters, to tell keys apart."""

    id: str
    name: str
    sha256: str
    hint: str
    created: float
    revoked: float | None = None


class Keys:
    """The keys of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """All keys, revoked ones too, oldest first."""
        with self._lock:
            try:
                stat = self.path.stat()
            except FileNotFoundError:
                self._stamp, self._keys = None, ()
                return ()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                self._keys, self._stamp = self._read(), stamp
            return self._keys

    def create(self, name: str) -> tuple[Key, str]:
        """A new key and its record. The key is returned here and nowhere else, ever."""
        if not name.strip():
            raise BadInput("a key needs a name", hint="say who or what will use it", param="name")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(6), name.strip(), _hash(secret), secret[: len(PREFIX) + 4], time.time())
        with lock(self.path.with_name(self.path.name + ".lock")):
            self._write((*self._read(), key))
        return key, secret

    def revoke(self, id: str) -> Key:
        """Revoke the key of this id or name."""
        with lock(self.path.with_name(self.path.name + ".lock")):
            keys = self._read()
            found = [k for k in keys if id in (k.id, k.name) and k.revoked is None]
            if not found:
                raise NotFound(f"no live key {id!r}", hint="list the keys first")
            if len(found) > 1:
                raise BadInput(f"{len(found)} live keys are named {id!r}", hint="give the id")
            gone = Key(**{**asdict(found[0]), "revoked": time.time()})
            self._write(tuple(gone if k.id == gone.id else k for k in keys))
        return gone

    def check(self, secret: str) -> Key | None:
        """The live key that `secret` is, or None. Takes the same time wherever a difference is."""
        digest, match = _hash(secret), None
        for key in self.all():
            if hmac.compare_digest(key.sha256, digest) and key.revoked is None:
                match = key
        return match

    def _read(self) -> tuple[Key, ...]:
        try:
            rows = json.loads(self.path.read_text())
            return tuple(Key(**row) for row in rows)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Unavailable(
                f"the key file {self.path} cannot be read: {error.strerror}", hint="give a file of yours"
            ) from None
        except (ValueError, TypeError) as error:
            raise CorruptFile(
                f"the key file {self.path} cannot be read: {error}", hint="restore or delete it"
            ) from None

    def _write(self, keys: tuple[Key, ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path, "w") as file:
            Path(file.name).chmod(0o600)
            file.write(json.dumps([asdict(key) for key in keys], indent=1))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
