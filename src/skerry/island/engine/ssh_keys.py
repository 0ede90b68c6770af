"""SSH keys: the island's own, and those of people who may log in. Loads asyncssh; import it late."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from skerry.island.engine.errors import Invalid
from skerry.island.store.layout import write_private

LONGEST_KEY = 16_384
SMALLEST_RSA = 2048
KINDS = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)


def host_key(directory: Path) -> asyncssh.SSHKey:
    """The island's key, made the first time; readable by its owner alone."""
    path = directory / "host_ed25519"
    directory.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        made = asyncssh.generate_private_key("ssh-ed25519", comment="skerry")
        write_private(path, made.export_private_key())
    return asyncssh.read_private_key(path)


def public_line(key: asyncssh.SSHKey) -> str:
    """The public half in OpenSSH's one-line form, without a comment."""
    kind, blob = key.export_public_key().decode().split()[:2]
    return f"{kind} {blob}"


def parse_public_key(text: str) -> tuple[str, str]:
    """(fingerprint, one-line form without comment) of an OpenSSH public key.

    Raises:
        Invalid: it is none, of an unknown kind, or an RSA key of less than 2048 bits.
    """
    words = text.strip().split(None, 2) if len(text) <= LONGEST_KEY else []
    if len(words) < 2 or words[0] not in KINDS or len(text.strip().splitlines()) != 1:
        raise Invalid(f"an SSH public key is one line such as 'ssh-ed25519 AAAA...', of one of {', '.join(KINDS)}")
    try:
        key = asyncssh.import_public_key(f"{words[0]} {words[1]}")
    except (asyncssh.KeyImportError, ValueError) as error:
        raise Invalid(f"this {words[0]} public key cannot be read: {error}") from None
    if words[0] == "ssh-rsa" and _rsa_bits(key) < SMALLEST_RSA:
        raise Invalid(f"an RSA key needs at least {SMALLEST_RSA} bits; make one with ssh-keygen -t ed25519")
    return key.get_fingerprint(), public_line(key)


def granted(public_keys: Mapping[str, str], offered: asyncssh.SSHKey) -> str | None:
    """The fingerprint of the granted key that was offered; each is compared, and each wholly."""
    found = None
    for fingerprint, line in public_keys.items():
        if hmac.compare_digest(binascii.a2b_base64(line.split()[1]), offered.public_data):
            found = fingerprint
    return found


def _rsa_bits(key: asyncssh.SSHKey) -> int:
    # string "ssh-rsa", mpint exponent, mpint modulus
    data = key.public_data
    at = 0
    for _ in range(2):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return int.from_bytes(data[at + 4 :], "big").bit_length()
