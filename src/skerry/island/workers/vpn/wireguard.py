"""WireGuard: keys, the wg-quick file for the user, and the request that sets up the server's interface."""

from __future__ import annotations

import base64
from dataclasses import dataclass

INTERFACE = "wg0"
PORT = 51820
"""Inside the relay."""
SERVER_ADDRESS, CLIENT_ADDRESS, NETWORK = "10.66.0.1/24", "10.66.0.2/32", "10.66.0.0/24"
MTU = 1420


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """One key pair, 32 bytes each."""

    private: bytes
    public: bytes


def make_keys() -> Keys:
    """A fresh pair on Curve25519."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    return Keys(key.private_bytes_raw(), key.public_key().public_bytes_raw())


def client_config(private: bytes, server_public: bytes, *, host: str, port: int, dns: str) -> str:
    """The text of a wg-quick file, octaspace section 9.1: these lines, in this order, with LF line ends.

    Args:
        private: the client's private key, 32 bytes.
        server_public: the server's public key, 32 bytes.
        host: IPv4 literal; some clients do not resolve names here.
        port: UDP port.
        dns: address of a name server; some clients replace this line and miss it otherwise.
    """
    return (
        "[Interface]\n"
        f"PrivateKey = {base64.b64encode(private).decode()}\n"
        f"Address = {CLIENT_ADDRESS}\n"
        f"DNS = {dns}\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {base64.b64encode(server_public).decode()}\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\n"
        f"Endpoint = {host}:{port}\n"
        "PersistentKeepalive = 25\n"
    )


def set_request(private: bytes, client_public: bytes) -> str:
    """The request that configures the server's interface through its control socket (the cross-platform userspace
    protocol of WireGuard): one peer, which may use one address.

    Args:
        private: the server's private key, 32 bytes.
        client_public: the client's public key, 32 bytes.
    """
    return (
        "set=1\n"
        f"private_key={private.hex()}\n"
        f"listen_port={PORT}\n"
        "replace_peers=true\n"
        f"public_key={client_public.hex()}\n"
        "replace_allowed_ips=true\n"
        f"allowed_ip={CLIENT_ADDRESS}\n"
        "\n"
    )
