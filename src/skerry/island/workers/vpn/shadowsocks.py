"""Shadowsocks: the SIP002 link for the user, and the configuration of the server."""

from __future__ import annotations

import base64
import json
import secrets

METHOD = "chacha20-ietf-poly1305"
PORT = 8388
"""Inside the relay."""


def make_password() -> str:
    """A fresh password of 192 bits, fit for any link."""
    return secrets.token_urlsafe(24)


def link(password: str, *, host: str, port: int, label: str) -> str:
    """The link that clients read, octaspace section 9.3: `ss://` with method and password in base64url, unpadded.

    Args:
        password: the shared secret.
        host: IPv4 literal.
        port: of TCP and UDP.
        label: the name that clients show.

    Example:
        >>> link("p4ss", host="203.0.113.9", port=51804, label="octa-9539")
        'ss://Y2hhY2hhMjAtaWV0Zi1wb2x5MTMwNTpwNHNz@203.0.113.9:51804#octa-9539'
    """
    user = base64.urlsafe_b64encode(f"{METHOD}:{password}".encode()).decode().rstrip("=")
    return f"ss://{user}@{host}:{port}#{label}"


def server_config(password: str) -> str:
    """What `ss-server` reads.

    Args:
        password: the shared secret.
    """
    return json.dumps(
        {
            "server": "127.0.0.1",
            "server_port": PORT,
            "password": password,
            "method": METHOD,
            "mode": "tcp_and_udp",
            "timeout": 300,
            "no_delay": True,
        },
        indent=1,
    )
