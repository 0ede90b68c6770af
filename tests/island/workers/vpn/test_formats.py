"""What users are given, character for character: octaspace section 9."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.workers.vpn import RelayError, certificates, openvpn, shadowsocks, v2ray, wireguard
from skerry.island.workers.vpn.recipes import PROGRAMS, TRANSPORTS, Wanted, recipe
from skerry.island.workers.vpn.values import check_id, check_label, check_protocol
from tests.island.workers.vpn.vpn_lab import ss_local

ID = "b831381d-6324-4d53-ad4f-8cda48b30811"
LONGEST_QR = 2953
VMESS = (
    "vmess://eyJ2IjoiMiIsInBzIjoib2N0YS05NTM5IiwiYWRkIjoiMjAzLjAuMTEzLjkiLCJwb3J0IjoiNTE4MDIiLCJpZCI6ImI4MzEzODFkLTYz"
    "MjQtNGQ1My1hZDRmLThjZGE0OGIzMDgxMSIsImFpZCI6IjAiLCJzY3kiOiJhdXRvIiwibmV0IjoidGNwIiwidHlwZSI6Im5vbmUiLCJob3N0Ijoi"
    "IiwicGF0aCI6IiIsInRscyI6IiJ9"
)


def test_wireguard() -> None:
    text = wireguard.client_config(bytes(32), b"\xff" * 32, host="203.0.113.7", port=51820, dns="1.1.1.1")
    assert text == (
        "[Interface]\n"
        "PrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "Address = 10.66.0.2/32\n"
        "DNS = 1.1.1.1\n"
        "\n"
        "[Peer]\n"
        "PublicKey = //////////////////////////////////////////8=\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\n"
        "Endpoint = 203.0.113.7:51820\n"
        "PersistentKeepalive = 25\n"
    )
    assert len(text) < LONGEST_QR


def test_wireguard_keys_belong_together() -> None:
    keys = wireguard.make_keys()
    assert X25519PrivateKey.from_private_bytes(keys.private).public_key().public_bytes_raw() == keys.public
    assert keys.private.hex() not in repr(keys)
    assert wireguard.make_keys().private != keys.private


def test_wireguard_gives_its_user_one_address() -> None:
    lines = wireguard.set_request(bytes(32), b"\xff" * 32).splitlines()
    assert lines[:2] == ["set=1", "private_key=" + "00" * 32]
    assert lines[4:] == ["public_key=" + "ff" * 32, "replace_allowed_ips=true", "allowed_ip=10.66.0.2/32", ""]


def test_openvpn() -> None:
    authority, key = certificates.make_authority("octa-9539"), openvpn.make_static_key()
    text = openvpn.profile(authority, key, host="203.0.113.7", port=1194)
    directives, _, blocks = text.partition("<ca>\n")
    assert directives == (
        "client\ndev tun\nproto udp\nremote 203.0.113.7 1194\nresolv-retry infinite\nnobind\npersist-key\npersist-tun\n"
        "remote-cert-tls server\ndata-ciphers AES-256-GCM:CHACHA20-POLY1305\nverb 3\n"
    )
    assert [line for line in blocks.splitlines() if line.startswith("<")] == [
        "</ca>",
        "<cert>",
        "</cert>",
        "<key>",
        "</key>",
        "<tls-crypt>",
        "</tls-crypt>",
    ]
    assert "\r" not in text
    assert len(text) < LONGEST_QR
    rows = key.splitlines()
    assert len(rows) == 18
    assert all(len(row) == 32 and bytes.fromhex(row) for row in rows[1:-1])


def test_openvpn_certificates_are_for_their_side_only() -> None:
    authority = certificates.make_authority("octa-9539")
    root = x509.load_pem_x509_certificate(authority.certificate.encode())
    for pair, purpose in ((authority.server, "serverAuth"), (authority.client, "clientAuth")):
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        certificate.verify_directly_issued_by(root)
        assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [each._name for each in usage] == [purpose]
        assert pair.key not in repr(authority)


def test_shadowsocks() -> None:
    link = shadowsocks.link("p4ss", host="203.0.113.9", port=51804, label="octa-9539")
    assert link == "ss://Y2hhY2hhMjAtaWV0Zi1wb2x5MTMwNTpwNHNz@203.0.113.9:51804#octa-9539"


@given(password=st.text(st.characters(codec="ascii", exclude_characters=":", categories=["L", "N", "P"]), min_size=1))
def test_shadowsocks_links_can_be_read_back(password: str) -> None:
    words = ss_local(shadowsocks.link(password, host="203.0.113.9", port=1, label="x"))
    assert words[words.index("-k") + 1] == password
    assert words[words.index("-m") + 1] == shadowsocks.METHOD


@pytest.mark.parametrize(
    ("protocol", "secret", "port", "link"),
    [
        (
            "trojan",
            "p4ss",
            51805,
            "trojan://p4ss@203.0.113.9:51805?security=tls&sni=octa-9539&allowInsecure=1&type=tcp#octa-9539",
        ),
        ("vless", ID, 51803, f"vless://{ID}@203.0.113.9:51803?encryption=none&security=none&type=tcp#octa-9539"),
        (
            "vmess",
            ID,
            51802,
            VMESS,
        ),
    ],
)
def test_v2ray(protocol: str, secret: str, port: int, link: str) -> None:
    assert v2ray.link(protocol, secret, host="203.0.113.9", port=port, label="octa-9539") == link


def test_trojan_brings_its_certificate() -> None:
    pair = certificates.make_self_signed("octa-9539")
    config = json.loads(v2ray.server_config("trojan", "p4ss", pair))
    (given_,) = config["inbounds"][0]["streamSettings"]["tlsSettings"]["certificates"]
    assert "\n".join(given_["certificate"]) + "\n" == pair.certificate
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["octa-9539"]


@pytest.mark.parametrize("subkind", PROGRAMS)
def test_every_relay_has_its_own_secrets_and_none_on_a_command_line(subkind: str) -> None:
    wanted = Wanted(
        protocol="trojan" if subkind == "v2ray" else None,
        program=f"/usr/bin/{PROGRAMS[subkind]}",
        label="octa-9539",
        host="203.0.113.7",
        port=51820,
        dns="1.1.1.1",
        uplink="veth",
    )
    one, two = recipe(subkind, wanted), recipe(subkind, wanted)
    assert one.config != two.config
    assert one.plan["argv"] == two.plan["argv"]
    assert one.plan["environment"] == two.plan["environment"]
    assert json.loads(json.dumps(one.plan)) == one.plan
    assert len(TRANSPORTS[subkind]) == (2 if subkind == "ss" else 1)
    assert one.config not in repr(one)


@pytest.mark.parametrize(("subkind", "protocol"), [("wg", "trojan"), ("v2ray", "socks"), ("http", None), ("", None)])
def test_kinds_that_do_not_exist(subkind: str, protocol: str | None) -> None:
    with pytest.raises(RelayError) as caught:
        check_protocol(subkind, protocol)
    assert caught.value.code == "invalid"


def test_kinds_that_do() -> None:
    assert check_protocol("v2ray", None) == "trojan"
    assert check_protocol("wg", None) is None


@pytest.mark.parametrize("id", ["", "../x", "a/b", "a" * 65, "a.b", "x\n"])
def test_ids_are_names_of_nothing_else(id: str) -> None:
    with pytest.raises(RelayError):
        check_id(id)


@pytest.mark.parametrize("label", ["", "a b", "a&b", 'a"', "a#b", "-a", "a" * 64, "a\n"])
def test_labels_cannot_break_a_link(label: str) -> None:
    with pytest.raises(RelayError):
        check_label(label)
    assert check_label("octa-9539") == "octa-9539"
