"""V2Ray: share links of its three protocols for the user, and the configuration of the server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from skerry.island.workers.vpn.certificates import Pair

PORT = 10808
"""Inside the relay."""


def link(protocol: str, secret: str, *, host: str, port: int, label: str) -> str:
    """The link that clients read, octaspace section 9.4; its scheme tells the protocol.

    Args:
        protocol: `trojan`, `vmess` or `vless`.
        secret: a password for `trojan`, a UUID for the others.
        host: IPv4 literal.
        port: TCP port.
        label: the name that clients show, and for `trojan` the name in the server's certificate.

    Example:
        >>> link("trojan", "p4ss", host="203.0.113.9", port=51805, label="octa-9539")
        'trojan://p4ss@203.0.113.9:51805?security=tls&sni=octa-9539&allowInsecure=1&type=tcp#octa-9539'
    """
    if protocol == "vmess":
        values = {
            "v": "2",
            "ps": label,
            "add": host,
            "port": str(port),
            "id": secret,
            "aid": "0",
            "scy": "auto",
            "net": "tcp",
            "type": "none",
            "host": "",
            "path": "",
            "tls": "",
        }
        return "vmess://" + base64.b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()
    query = (
        f"security=tls&sni={label}&allowInsecure=1&type=tcp"
        if protocol == "trojan"
        else "encryption=none&security=none&type=tcp"
    )
    return f"{protocol}://{quote(secret, safe='')}@{host}:{port}?{query}#{label}"


def server_config(protocol: str, secret: str, pair: Pair | None) -> str:
    """What `v2ray` reads: one way in, and out with the machine's own resolver.

    Args:
        protocol: `trojan`, `vmess` or `vless`.
        secret: a password for `trojan`, a UUID for the others.
        pair: the certificate of `trojan`.
    """
    inbound: dict[str, Any] = {"listen": "127.0.0.1", "port": PORT, "protocol": protocol}
    if protocol == "trojan":
        assert pair is not None
        inbound["settings"] = {"clients": [{"password": secret}]}
        certificate = {"certificate": pair.certificate.splitlines(), "key": pair.key.splitlines()}
        inbound["streamSettings"] = {
            "network": "tcp",
            "security": "tls",
            "tlsSettings": {"certificates": [certificate]},
        }
    elif protocol == "vmess":
        inbound["settings"] = {"clients": [{"id": secret, "alterId": 0}]}
    else:
        inbound["settings"] = {"clients": [{"id": secret}], "decryption": "none"}
    return json.dumps(
        {
            "log": {"loglevel": "warning"},
            "inbounds": [inbound],
            "outbounds": [{"protocol": "freedom", "settings": {"domainStrategy": "UseIPv4"}}],
        },
        indent=1,
    )
