"""OpenVPN: the single-file profile for the user, and the configuration of the server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.island.workers.vpn.certificates import Authority

INTERFACE = "tun0"
PORT = 1194
"""Inside the relay."""
NETWORK, SERVER_ADDRESS = "10.77.0.0/24", "10.77.0.1/24"
MTU = 1500
MANAGEMENT = "/run/openvpn.sock"
_CIPHERS = "AES-256-GCM:CHACHA20-POLY1305"


def make_static_key() -> str:
    """A fresh key for `tls-crypt`, 2048 bits in OpenVPN's own armour."""
    digits = secrets.token_hex(256)
    rows = "\n".join(digits[start : start + 32] for start in range(0, len(digits), 32))
    return f"-----BEGIN OpenVPN Static key V1-----\n{rows}\n-----END OpenVPN Static key V1-----\n"


def profile(authority: Authority, static_key: str, *, host: str, port: int) -> str:
    """The text of a client profile with everything inline, octaspace section 9.2.

    Args:
        authority: who signed both sides.
        static_key: for `tls-crypt`, with its armour.
        host: IPv4 literal.
        port: UDP port.
    """
    directives = (
        "client",
        "dev tun",
        "proto udp",
        f"remote {host} {port}",
        "resolv-retry infinite",
        "nobind",
        "persist-key",
        "persist-tun",
        "remote-cert-tls server",
        f"data-ciphers {_CIPHERS}",
        "verb 3",
    )
    return "".join(f"{line}\n" for line in directives) + (
        _block("ca", authority.certificate)
        + _block("cert", authority.client.certificate)
        + _block("key", authority.client.key)
        + _block("tls-crypt", static_key)
    )


def server_config(authority: Authority, static_key: str, *, dns: str) -> str:
    """What the server reads: one client, which sends everything through the tunnel.

    Args:
        authority: who signed both sides.
        static_key: for `tls-crypt`, with its armour.
        dns: address of a name server that clients are told.
    """
    directives = (
        "local 127.0.0.1",
        f"port {PORT}",
        "proto udp",
        f"dev {INTERFACE}",
        "dev-type tun",
        "topology subnet",
        "server 10.77.0.0 255.255.255.0",
        "ifconfig-noexec",
        "route-noexec",
        "dh none",
        "remote-cert-tls client",
        f"data-ciphers {_CIPHERS}",
        "persist-key",
        "persist-tun",
        "keepalive 10 60",
        "max-clients 4",
        'push "redirect-gateway def1"',
        f'push "dhcp-option DNS {dns}"',
        f"management {MANAGEMENT} unix",
        "verb 3",
    )
    return "".join(f"{line}\n" for line in directives) + (
        _block("ca", authority.certificate)
        + _block("cert", authority.server.certificate)
        + _block("key", authority.server.key)
        + _block("tls-crypt", static_key)
    )


def _block(name: str, text: str) -> str:
    return f"<{name}>\n{text.rstrip()}\n</{name}>\n"
