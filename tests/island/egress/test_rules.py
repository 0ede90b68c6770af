"""What a policy allows, decided without any network."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.sandbox.egress.rules import BadRule, Rules, is_public, normalise_address, normalise_name, parse_rule
from skerry.island.sandbox.spec import NetworkPolicy

PUBLIC = "93.184.216.34"


def rules(mode: str, *hosts: str, private_ok: tuple[str, ...] = ()) -> Rules:
    return Rules(NetworkPolicy(mode=mode, hosts=hosts), private_ok)  # type: ignore[arg-type]


def allowed(subject: Rules, name: str | None, address: str, port: int = 443) -> bool:
    if name is not None and subject.denies_name(normalise_name(name), port):
        return False
    normalised = None if name is None else normalise_name(name)
    return subject.denies_address(normalised, ipaddress.ip_address(address), port) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "fec0::1",
        "100::1",
        "fe80::1%eth0",
        "2606:4700::1%lo",
    ],
)
def test_inner_addresses_are_closed_in_every_mode(address: str) -> None:
    for subject in (rules("open"), rules("block", "example.com"), rules("allow", "*", "0.0.0.0/0", "::/0")):
        assert not allowed(subject, "innocent.example", address)
        assert not allowed(subject, None, address)


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_outer_addresses_are_open(address: str) -> None:
    assert is_public(normalise_address(ipaddress.ip_address(address)))
    assert allowed(rules("open"), None, address)
    assert not allowed(rules("none"), None, address)
    assert not allowed(rules("none"), "example.com", address)


def test_own_addresses_are_closed_even_when_public() -> None:
    address = ipaddress.ip_address(PUBLIC)
    assert rules("open").denies_address("x.example", address, 80, own=True)
    assert rules("open", private_ok=(PUBLIC,)).denies_address("x.example", address, 80, own=True) is None


def test_the_operator_can_open_inner_blocks() -> None:
    subject = rules("open", private_ok=("10.0.0.0/8", "::1"))
    assert allowed(subject, None, "10.9.9.9")
    assert allowed(subject, None, "::ffff:10.9.9.9")
    assert allowed(subject, "db.example", "10.9.9.9")
    assert allowed(subject, None, "::1")
    assert not allowed(subject, None, "192.168.0.1")
    mapped = rules("open", private_ok=("::ffff:10.0.0.0/104",))
    assert allowed(mapped, None, "10.1.1.1")


@pytest.mark.parametrize(
    ("rule", "name", "port", "match"),
    [
        ("example.com", "example.com", 443, True),
        ("Example.COM.", "example.com", 80, True),
        ("example.com", "EXAMPLE.com.", 80, True),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "notexample.com", 443, False),
        ("example.com:443", "example.com", 443, True),
        ("example.com:443", "example.com", 80, False),
        ("*.example.com", "www.example.com", 80, True),
        ("*.example.com", "a.b.example.com", 80, True),
        ("*.example.com", "example.com", 80, False),
        ("*.example.com", "evilexample.com", 80, False),
        ("*.example.com:8443", "www.example.com", 443, False),
        ("bücher.example", "xn--bcher-kva.example", 80, True),
        ("xn--bcher-kva.example", "bücher.example", 80, True),
        ("*", "anything.example", 1, True),
        ("*:443", "anything.example", 80, False),
    ],
)
def test_names(rule: str, name: str, port: int, match: bool) -> None:
    assert allowed(rules("allow", rule), name, PUBLIC, port) is match
    assert allowed(rules("block", rule), name, PUBLIC, port) is not match


@pytest.mark.parametrize(
    ("rule", "address", "port", "match"),
    [
        (PUBLIC, PUBLIC, 1, True),
        (f"{PUBLIC}:80", PUBLIC, 80, True),
        (f"{PUBLIC}:80", PUBLIC, 81, False),
        ("93.184.0.0/16", PUBLIC, 1, True),
        ("93.184.9.9/16", PUBLIC, 1, True),
        ("93.184.0.0/16:443", PUBLIC, 443, True),
        ("93.184.0.0/16:443", PUBLIC, 80, False),
        ("::ffff:93.184.0.0/112", PUBLIC, 1, True),
        (PUBLIC, f"::ffff:{PUBLIC}", 1, True),
        ("2606:4700::/32", "2606:4700::1111", 1, True),
        ("[2606:4700::/32]:443", "2606:4700::1111", 80, False),
        ("[2606:4700::1111]:443", "2606:4700::1111", 443, True),
        ("2606:4700::1111", "2606:4700::1112", 1, False),
        ("example.com", PUBLIC, 1, False),
    ],
)
def test_addresses(rule: str, address: str, port: int, match: bool) -> None:
    assert allowed(rules("allow", rule), None, address, port) is match
    assert allowed(rules("block", rule), None, address, port) is not match
    # A rule about addresses also counts for names that lead there.
    if "example" not in rule:
        assert allowed(rules("allow", rule), "some.example", address, port) is match
        assert allowed(rules("block", rule), "some.example", address, port) is not match


def test_an_allowed_name_does_not_open_inner_addresses() -> None:
    assert not allowed(rules("allow", "rebind.example"), "rebind.example", "127.0.0.1")
    assert not allowed(rules("allow", "127.0.0.1"), None, "127.0.0.1")


def test_reasons_are_for_people() -> None:
    assert rules("none").denies_name("a.example", 80) == "this sandbox has no network"
    assert "allows only: a.example, b.example" in (rules("allow", "a.example", "b.example").denies_name("c", 80) or "")
    assert "nothing" in (rules("allow").denies_name("c", 80) or "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "a:0",
        "a:65536",
        "a:x",
        "a b",
        "-a.example",
        "a..b",
        "*.",
        "*.*",
        "a*b",
        "http://a",
        "10.0.0.0/33",
        "[::1",
        "[::1]80",
        "1.2.3.4/",
        "a" * 64 + ".example",
        "a." * 130 + "b",
        "::1%eth0",
        "host/24",
    ],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(BadRule):
        parse_rule(text)
    with pytest.raises(BadRule):
        rules("allow", text)


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_judged_alike(address: ipaddress.IPv4Address) -> None:
    subject = rules("open")
    verdict = subject.denies_address(None, address, 80)
    for spelling in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert subject.denies_address(None, ipaddress.ip_address(spelling), 80) == verdict
    if not address.is_global:
        assert verdict is not None


@given(st.ip_addresses(v=6))
def test_whatever_is_not_global_is_closed(address: ipaddress.IPv6Address) -> None:
    if not normalise_address(address).is_global:
        assert rules("open").denies_address(None, address, 80) is not None


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        parse_rule(text)
    except BadRule:
        return
