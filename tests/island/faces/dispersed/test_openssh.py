"""OpenSSH public keys: the real ones are taken, all else is not."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dispersed.account.openssh import KeyRefused, parse


def _line(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _made(kind: str, *fields: bytes) -> str:
    return f"{kind} {base64.b64encode(b''.join(map(_string, (kind.encode(), *fields)))).decode()}"


ED = _line(ed25519.Ed25519PrivateKey.generate())
RSA = _line(rsa.generate_private_key(65537, 2048))
CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
EC = [_line(ec.generate_private_key(curve)) for curve in CURVES]
HARDWARE = [
    _made("sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:"),
    _made("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + b"k" * 64, b"ssh:"),
]


@pytest.mark.parametrize("line", [ED, RSA, *EC, *HARDWARE], ids=lambda line: str(line).partition(" ")[0])
def test_keys_that_are_taken(line: str) -> None:
    kind, encoded = line.split(" ")
    for text, comment in ((line, ""), (f"  {line} me@there \r\n", "me@there"), (f"{line}  a  b", "a  b")):
        key = parse(text)
        assert (key.kind, key.comment) == (kind, comment)
        assert key.text == f"{line} {comment}".strip()
        digest = hashlib.sha256(base64.b64decode(encoded)).digest()
        assert key.fingerprint == f"SHA256:{base64.b64encode(digest).decode()}".rstrip("=")


WRONG = {
    "nothing": "",
    "a word": "ssh-ed25519",
    "another type": ED.replace("ssh-ed25519 ", "ssh-dss "),
    "a type that lies": ED.replace("ssh-ed25519 ", "ssh-rsa "),
    "a small RSA key": _line(rsa.generate_private_key(65537, 1024)),
    "options": f'command="x" {ED}',
    "two lines": f"{ED}\n{ED}",
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "no padding": _made("ssh-ed25519", b"k" * 32).rstrip("=")[:-1],
    "a blank inside": ED.replace("AAAA", "AA AA"),
    "a tab": ED.replace(" ", "\t"),
    "a short key": _made("ssh-ed25519", b"k" * 31),
    "a long key": _made("ssh-ed25519", b"k" * 33),
    "more behind it": _made("ssh-ed25519", b"k" * 32, b"more"),
    "a number with a needless zero": _made("ssh-rsa", b"\x00\x01\x00\x01", b"\x00" + b"\xff" * 256),
    "a negative number": _made("ssh-rsa", b"\x01\x00\x01", b"\xff" * 256),
    "an even modulus": _made("ssh-rsa", b"\x01\x00\x01", b"\x7f" + b"\xfe" * 256),
    "an exponent of one": _made("ssh-rsa", b"\x01", b"\x7f" + b"\xff" * 256),
    "no exponent": _made("ssh-rsa", b"", b"\x7f" + b"\xff" * 256),
    "a giant": _made("ssh-rsa", b"\x03", b"\x7f" + b"\xff" * 8192),
    "another curve": _made("ecdsa-sha2-nistp256", b"nistp384", b"\x04" + b"k" * 64),
    "a pressed point": _made("ecdsa-sha2-nistp256", b"nistp256", b"\x02" + b"k" * 32),
    "no application": _made("sk-ssh-ed25519@openssh.com", b"k" * 32, b""),
    "a length that lies": "ssh-ed25519 " + base64.b64encode(_string(b"ssh-ed25519") + b"\xff\xff\xff\xff").decode(),
    "too long": ED + " " + "x" * 20_000,
    "a control character": ED + " \x1b[2J",
    "loose bits": ED[:-1] + ("B" if ED[-1] != "B" else "C") if ED.endswith("=") else ED + "=",
}


@pytest.mark.parametrize("what", WRONG)
def test_texts_that_are_not(what: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        parse(WRONG[what])
    assert str(caught.value)


@given(st.text(max_size=200) | st.binary(max_size=120).map(lambda blob: f"ssh-rsa {base64.b64encode(blob).decode()}"))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parse(text)
    except KeyRefused:
        pass
