"""Key pairs of deposit wallets and their addresses: secp256k1, Keccak-256, and the checksum in the letters' case."""

from __future__ import annotations

from dataclasses import dataclass

_CURVE_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A wallet.

    Args:
        private_key: 32 bytes.
        address: `0x` and 40 hexadecimal digits.
    """

    private_key: bytes
    address: str


def new_pair() -> KeyPair:
    """A fresh wallet."""
    from cryptography.hazmat.primitives.asymmetric import ec

    number = ec.generate_private_key(ec.SECP256K1()).private_numbers().private_value
    return pair_of(number.to_bytes(_CURVE_BYTES, "big"))


def pair_of(private_key: bytes) -> KeyPair:
    """The wallet of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    point = ec.derive_private_key(int.from_bytes(private_key, "big"), ec.SECP256K1()).public_key().public_numbers()
    public = point.x.to_bytes(_CURVE_BYTES, "big") + point.y.to_bytes(_CURVE_BYTES, "big")
    return KeyPair(private_key, checksummed(keccak(public)[-20:].hex()))


def checksummed(digits: str) -> str:
    """An address with the checksum of EIP-55.

    Example:
        >>> checksummed("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")  # doctest: +SKIP
        '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, marks, strict=False)
    )


def keccak(data: bytes) -> bytes:
    """Keccak-256, which is SHA-3 with another padding."""
    from Crypto.Hash import keccak as implementation

    return implementation.new(digest_bits=256, data=data).digest()
