"""How each kind of relay is made: credentials, the user's text, and the plan that `build` and `keeper` follow.

A plan is plain JSON: `argv`, `environment` and `files` of the program, `capabilities` that it keeps (numbers), `port`
inside, `tunnel` (interface, address, mtu, network; None for proxies), `gauge` (see `gauges`), and what `relays` adds
about this machine.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from skerry.island.workers.vpn import openvpn, shadowsocks, uplinks, v2ray, wireguard

Transport = Literal["tcp", "udp"]
PROGRAMS = {"wg": "wireguard-go", "openvpn": "openvpn", "ss": "ss-server", "v2ray": "v2ray"}
TRANSPORTS: dict[str, tuple[Transport, ...]] = {
    "wg": ("udp",),
    "openvpn": ("udp",),
    "ss": ("tcp", "udp"),
    "v2ray": ("tcp",),
}
"""Of the endpoint; where there are two, they share the number of the port."""
_CAP_NET_ADMIN = 12


@dataclass(frozen=True, slots=True, repr=False)
class Recipe:
    """One relay with fresh credentials.

    Args:
        config: what the user gets, octaspace section 9.
        plan: see the module.
    """

    config: str
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a recipe needs to know.

    Args:
        protocol: of `v2ray`, None for the others.
        program: path of the server program.
        label: for links and certificates.
        host: IPv4 literal of the endpoint.
        port: of the endpoint.
        dns: name server for users and for the relay.
        uplink: `veth` or `slirp`.
        newer: whether the program's command line is that of its next generation (V2Ray 5).
    """

    protocol: str | None
    program: str
    label: str
    host: str
    port: int
    dns: str
    uplink: str
    newer: bool = False


def recipe(subkind: str, wanted: Wanted) -> Recipe:
    """Make one: every call makes new keys."""
    made = {"wg": _wireguard, "openvpn": _openvpn, "ss": _shadowsocks, "v2ray": _v2ray}[subkind](wanted)
    plan = made.plan
    plan["environment"] = {"PATH": uplinks.PATH, "LC_ALL": "C.UTF-8", **plan.get("environment", {})}
    plan["files"] = {
        "/etc/resolv.conf": f"nameserver {wanted.dns}\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
        "/etc/passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n",
        "/etc/group": "root:x:0:\n",
        **plan.get("files", {}),
    }
    return made


def _wireguard(wanted: Wanted) -> Recipe:
    server, client = wireguard.make_keys(), wireguard.make_keys()
    return Recipe(
        wireguard.client_config(client.private, server.public, host=wanted.host, port=wanted.port, dns=wanted.dns),
        {
            "argv": [wanted.program, "--foreground", wireguard.INTERFACE],
            "environment": {"LOG_LEVEL": "error", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"},
            # It insists on setting its interface's MTU itself.
            "capabilities": [_CAP_NET_ADMIN],
            "port": wireguard.PORT,
            "tunnel": {
                "interface": wireguard.INTERFACE,
                "address": wireguard.SERVER_ADDRESS,
                "mtu": wireguard.MTU,
                "network": wireguard.NETWORK,
            },
            "gauge": {
                "kind": "wireguard",
                "socket": f"/var/run/wireguard/{wireguard.INTERFACE}.sock",
                "request": wireguard.set_request(server.private, client.public),
            },
        },
    )


def _openvpn(wanted: Wanted) -> Recipe:
    # Loaded for the first relay: an island that starts needs none of it.
    from skerry.island.workers.vpn import certificates

    authority, key = certificates.make_authority(wanted.label), openvpn.make_static_key()
    return Recipe(
        openvpn.profile(authority, key, host=wanted.host, port=wanted.port),
        {
            "argv": [wanted.program, "--config", "/run/server.conf"],
            "files": {"/run/server.conf": openvpn.server_config(authority, key, dns=wanted.dns)},
            "capabilities": [],
            "port": openvpn.PORT,
            "tunnel": {
                "interface": openvpn.INTERFACE,
                "address": openvpn.SERVER_ADDRESS,
                "mtu": openvpn.MTU,
                "network": openvpn.NETWORK,
            },
            "gauge": {"kind": "openvpn", "socket": openvpn.MANAGEMENT},
        },
    )


def _shadowsocks(wanted: Wanted) -> Recipe:
    password = shadowsocks.make_password()
    return Recipe(
        shadowsocks.link(password, host=wanted.host, port=wanted.port, label=wanted.label),
        {
            "argv": [wanted.program, "-c", "/run/server.json"],
            "files": {"/run/server.json": shadowsocks.server_config(password)},
            **_proxy(wanted, shadowsocks.PORT, udp=True),
        },
    )


def _v2ray(wanted: Wanted) -> Recipe:
    from skerry.island.workers.vpn import certificates

    assert wanted.protocol is not None
    trojan = wanted.protocol == "trojan"
    secret = secrets.token_urlsafe(24) if trojan else str(uuid.uuid4())
    pair = certificates.make_self_signed(wanted.label) if trojan else None
    return Recipe(
        v2ray.link(wanted.protocol, secret, host=wanted.host, port=wanted.port, label=wanted.label),
        {
            "argv": [wanted.program, *(["run"] if wanted.newer else []), "-config", "/run/server.json"],
            "files": {"/run/server.json": v2ray.server_config(wanted.protocol, secret, pair)},
            **_proxy(wanted, v2ray.PORT, udp=False),
        },
    )


def _proxy(wanted: Wanted, port: int, *, udp: bool) -> dict[str, Any]:
    interface = uplinks.VETH if wanted.uplink == "veth" else uplinks.SLIRP
    return {
        "capabilities": [],
        "port": port,
        "tunnel": None,
        "gauge": {"kind": "interface", "interface": interface, "port": port, "udp": udp},
    }
