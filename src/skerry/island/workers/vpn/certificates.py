"""Certificates on the P-256 curve, made for one relay and thrown away with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# They end with their relay, not with a date; these are the first and last years that every program can read.
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Pair:
    """A certificate and its private key, both PEM with LF line ends."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A certificate authority with one server and one client; its own key is not kept.

    Args:
        certificate: the authority's, PEM.
        server: for the server's side, with `serverAuth`.
        client: for the client's side, with `clientAuth`.
    """

    certificate: str
    server: Pair
    client: Pair


def make_authority(name: str) -> Authority:
    """A fresh authority and what it signs.

    Args:
        name: the server's name; the others are derived from it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} CA")
    root = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(
        certificate=_pem(root),
        server=_leaf(name, subject, key, ExtendedKeyUsageOID.SERVER_AUTH),
        client=_leaf(f"{name} client", subject, key, ExtendedKeyUsageOID.CLIENT_AUTH),
    )


def make_self_signed(name: str) -> Pair:
    """A server certificate that vouches for itself, for clients that are told not to verify.

    Args:
        name: its subject and its only alternative name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key))


def _leaf(name: str, issuer: x509.Name, authority: ec.EllipticCurvePrivateKey, purpose: x509.ObjectIdentifier) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(name), issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not sign,
        crl_sign=not sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    # 64 is the longest that X.509 allows.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[-64:])])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
