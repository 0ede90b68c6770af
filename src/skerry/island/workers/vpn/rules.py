"""Packet filters of a relay, as nftables text: what its users reach, and what of it the machine lets through."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def inside(
    *, uplink: str, port: int, tunnel: tuple[str, str] | None, closed: Sequence[str], allowed: Sequence[str]
) -> str:
    """The filter in the relay's own network: it holds whatever the program in it may be talked into.

    Args:
        uplink: the interface that leads out.
        port: of the server, the only thing on loopback that may be spoken to.
        tunnel: interface and network of those who arrive through a tunnel; None for proxies.
        closed: addresses and blocks that must not be reached.
        allowed: those that may be, although they are closed.
    """
    into = back = ping = ""
    if tunnel is not None:
        name, network = tunnel
        into = f"""
        iifname "{name}" ip saddr != {network} drop
        iifname "{name}" oifname "{uplink}" jump leaving
        iifname "{uplink}" oifname "{name}" ct state established,related accept"""
        back = f"""
        oifname "{name}" accept"""
        ping = f"""
        iifname "{name}" icmp type echo-request accept"""
    return f"""table inet skerry {{
    {_addresses("closed", closed)}
    {_addresses("allowed", allowed)}
    chain leaving {{
        meta nfproto != ipv4 drop
        tcp flags syn tcp option maxseg size set rt mtu
        ct state established,related accept
        ip daddr @allowed accept
        ip daddr @closed reject with icmpx type admin-prohibited
        accept
    }}
    chain outgoing {{
        type filter hook output priority filter; policy drop;
        oifname "lo" meta l4proto {{ tcp, udp }} th dport {port} accept
        oifname "lo" meta l4proto {{ tcp, udp }} th sport {port} accept
        oifname "lo" ct state established,related accept{back}
        oifname "{uplink}" jump leaving
    }}
    chain through {{
        type filter hook forward priority filter; policy drop;{into}
    }}
    chain incoming {{
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state established,related accept{ping}
    }}
    chain leave {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{uplink}" masquerade
    }}
}}
"""


def outside(*, table: str, link: str, address: str, closed: Sequence[str], allowed: Sequence[str]) -> str:
    """The table on the machine's side of a veth pair: translates what comes out, and keeps it off the machine itself.

    It closes the same blocks again, where no program in the relay could open them.

    Args:
        table: its name, ours alone.
        link: our end of the pair.
        address: the relay's end.
        closed: as inside.
        allowed: as inside, and the addresses of the machine that may be reached.
    """
    return f"""table ip {table} {{
    {_addresses("closed", closed)}
    {_addresses("allowed", allowed)}
    chain honest {{
        type filter hook prerouting priority raw; policy accept;
        iifname "{link}" ip saddr != {address} drop
    }}
    chain incoming {{
        type filter hook input priority filter; policy accept;
        iifname "{link}" ip daddr != @allowed drop
    }}
    chain through {{
        type filter hook forward priority filter; policy accept;
        iifname "{link}" ip daddr != @allowed ip daddr @closed drop
    }}
    chain leave {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {address} oifname != "{link}" masquerade
    }}
}}
"""


def _addresses(name: str, blocks: Sequence[str]) -> str:
    elements = f" elements = {{ {', '.join(blocks)} }};" if blocks else ""
    return f"set {name} {{ type ipv4_addr; flags interval; auto-merge;{elements} }}"
