"""Secrets at rest: sealed with a key that lies beside the database, so that a copy of the database alone tells nothing.

A sealed value is one version byte, eight bytes that name the key, twelve bytes of nonce, and AES-256-GCM's ciphertext
with its tag. The first nine bytes and the context are authenticated with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.island.engine.errors import Unreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAME = "vault.key"
_VERSION = b"\x01"
_KEY_BYTES = 32
_NAME_BYTES = 8
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = len(_VERSION) + _NAME_BYTES


class Vault:
    """Seals and opens short secrets, such as registry passwords.

    Args:
        data_dir: holds `vault.key`, which is made on the first `seal`, with mode 0600.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._lock = threading.Lock()
        self._cipher: tuple[bytes, AESGCM] | None = None

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt a secret; the same one sealed twice gives different bytes.

        Args:
            plain: the secret.
            context: where it belongs, such as `job:<id>`; it opens under no other.

        Raises:
            Unreadable: the key file is there but cannot be used.
        """
        name, cipher = self._open_cipher(make=True)
        header = _VERSION + name
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, plain, _bound(header, context))

    def open(self, sealed: bytes, context: str) -> bytes:
        """The secret again.

        Raises:
            Unreadable: no key file, another key, another context, or altered bytes; the message says which.
        """
        from cryptography.exceptions import InvalidTag

        if len(sealed) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise Unreadable("a sealed secret is cut short")
        if sealed[:1] != _VERSION:
            raise Unreadable("a secret was sealed by a later Skerry; upgrade to read it")
        header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        name, cipher = self._open_cipher(make=False)
        if header != _VERSION + name:
            raise Unreadable(
                f"a secret was sealed with another key than the one in {self._path}; restore that file, or enter the"
                " secret again"
            )
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound(header, context))
        except InvalidTag:
            raise Unreadable("a sealed secret was altered, or belongs to something else") from None

    def _open_cipher(self, *, make: bool) -> tuple[bytes, AESGCM]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        with self._lock:
            if self._cipher is None:
                key = self._read(make=make)
                self._cipher = _name_of(key), AESGCM(key)
            return self._cipher

    def _read(self, *, make: bool) -> bytes:
        try:
            if make and not self._path.exists():
                self._make()
            key = self._path.read_bytes()
        except FileNotFoundError:
            raise Unreadable(f"{self._path} is missing, and with it the key to every kept secret; restore it") from None
        except OSError as error:
            raise Unreadable(f"{self._path} cannot be used ({error.strerror}); change its owner or mode") from None
        if len(key) != _KEY_BYTES:
            raise Unreadable(f"{self._path} does not hold a key of {_KEY_BYTES} bytes; restore it from a backup")
        return key

    def _make(self) -> None:
        descriptor, fresh = tempfile.mkstemp(dir=self._path.parent, prefix=f".{NAME}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # Linking fails when another process was first; then its key counts.
            with contextlib.suppress(FileExistsError):
                os.link(fresh, self._path)
        finally:
            os.unlink(fresh)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # What is sealed with it may be committed at once, and must not outlive it in a power cut.
            os.fsync(directory)
        finally:
            os.close(directory)


def _name_of(key: bytes) -> bytes:
    return hashlib.sha256(b"skerry vault key\0" + key).digest()[:_NAME_BYTES]


def _bound(header: bytes, context: str) -> bytes:
    return header + context.encode(errors="surrogatepass")
