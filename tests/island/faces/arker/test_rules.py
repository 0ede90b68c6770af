"""Sizes, egress, goldens and ids as Arker words them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skerry.island.engine.records import Image, Node
from skerry.island.faces.arker import goldens, legacy
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.pty import wish_of
from skerry.island.faces.arker.schemas import LegacyForkRequest, PolicyBody
from skerry.island.faces.arker.sizes import override, policy_of
from skerry.island.sandbox.spec import Barriers, Limits, NetworkPolicy
from skerry.money import Money
from skerry.units import GIB, MIB

WALLED = Barriers(driver="namespace", active=("cgroup-v2",))
BARE = Barriers(driver="namespace", active=("rlimits",))
NODE = Node(
    id="n",
    name="n",
    cpu_millis=2000,
    memory_bytes=4 * GIB,
    disk_bytes=GIB,
    gpus=(),
    state="ready",
    cpu_hour=Money(1, "USD"),
    memory_gib_hour=Money(1, "USD"),
    gpu_hour=Money(1, "USD"),
)


def image(name: str, id: str) -> Image:
    return Image(id=id, name=name, source="", size_bytes=0, created_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("network", "policy"),
    [
        (None, None),
        (True, NetworkPolicy(mode="open")),
        (False, NetworkPolicy(mode="none")),
        ("open", NetworkPolicy(mode="open")),
        ("blocked", NetworkPolicy(mode="none")),
        ("files.example", NetworkPolicy(mode="allow", hosts=("files.example",))),
        ("10.0.0.0/8", NetworkPolicy(mode="allow", hosts=("10.0.0.0/8",))),
        (PolicyBody(type="open"), NetworkPolicy(mode="open")),
        (PolicyBody(type="blocked"), NetworkPolicy(mode="none")),
        (PolicyBody(type="allow", allow=["*.a.example:443"]), NetworkPolicy(mode="allow", hosts=("*.a.example:443",))),
        (PolicyBody(type="allow", allow=[]), NetworkPolicy(mode="allow")),
        (PolicyBody(type="block", block=["a.example"]), NetworkPolicy(mode="block", hosts=("a.example",))),
    ],
)
def test_every_form_of_network(network: object, policy: NetworkPolicy | None) -> None:
    assert policy_of(network) == policy  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "network",
    [
        "allow",
        "",
        "not a host",
        "a.example:99999",
        PolicyBody(type="allow"),
        PolicyBody(type="allow", block=["a.example"]),
        PolicyBody(type="open", allow=["a.example"]),
        PolicyBody(type="block", block=["-"]),
        PolicyBody(type="allow", allow=["a.example"] * 257),
    ],
)
def test_policies_that_mean_nothing_are_refused(network: object) -> None:
    with pytest.raises(ArkerFault) as caught:
        policy_of(network)  # type: ignore[arg-type]
    assert caught.value.code == "bad_request"


def test_sizes_become_bounds_only_where_they_can_be_kept() -> None:
    assert override(WALLED, vcpu_count=None, memory_mib=None, disk_mib=None) is None
    assert override(WALLED, vcpu_count=2, memory_mib=256, disk_mib=None) == Limits(
        cpu_millis=2000, memory_bytes=256 * MIB, disk_bytes=None, pids=None, open_files=None
    )
    assert override(BARE, vcpu_count=None, memory_mib=None, disk_mib=5) is not None
    with pytest.raises(ArkerFault, match="control groups") as caught:
        override(BARE, vcpu_count=None, memory_mib=256, disk_mib=None)
    assert caught.value.status == 422
    with pytest.raises(ArkerFault, match="at least 1"):
        override(WALLED, vcpu_count=0, memory_mib=None, disk_mib=None)


def test_goldens_are_those_the_machine_can_give() -> None:
    limits = Limits(memory_bytes=2 * GIB)
    images = [image("host", "host"), image("debian:12", "img-1")]
    found = goldens.catalogue(images, "host", NODE, limits, sizes=True)
    assert [golden.name for golden in found] == [
        "ubuntu",
        "ubuntu-small",
        "ubuntu-full",
        "arkuntu",
        "host",
        "debian:12",
    ]
    assert [golden.name for golden in goldens.catalogue(images, "host", NODE, limits, sizes=False)] == [
        "ubuntu",
        "arkuntu",
        "host",
        "debian:12",
    ]
    assert goldens.find(found, "debian:12") is found[-1]
    assert goldens.find(found, found[0].vm_id) is found[0]
    assert goldens.find(found, " ArkUntu ") is found[3]
    assert goldens.find(found, "Ubuntu") is None
    # As clients before 0.3 and the network's own read-me name it.
    assert goldens.find(found, "01KQBYKEV5WJ7YB010603T1DCT_d8c0") is found[3]
    assert len({golden.vm_id for golden in found}) == len(found)


def test_burst_sources_have_burst_ids_and_so_have_their_children() -> None:
    found = goldens.catalogue([], "host", NODE, Limits(), sizes=False)
    by_name = {golden.name: golden for golden in found}
    assert by_name["arkuntu"].burst
    assert not by_name["ubuntu"].burst
    for _ in range(20):
        burst = goldens.new_vm_id(burst=True)
        assert burst.endswith("_skry")
        assert goldens.is_burst(burst)
        assert not goldens.is_burst(goldens.new_vm_id(burst=False))
        assert goldens.label_of(burst) == burst.lower().replace("_", "-")


def test_golden_ids_do_not_change_between_islands() -> None:
    assert goldens.golden_id("ubuntu") == goldens.golden_id("ubuntu")
    assert goldens.golden_id("ubuntu").startswith("vmh-")


def test_a_list_page_is_read_strictly() -> None:
    assert legacy.page_of(b"") == {}
    assert legacy.page_of(b"limit=5&offset=2&q=a%20b&sort=-region") == {
        "limit": 5,
        "offset": 2,
        "query": "a b",
        "sort": "-created_at",
    }
    for query in (b"limit=0", b"limit=101", b"offset=-1", b"limit=x", b"sort=name", b"q=%ff", b"q=\xff"):
        with pytest.raises(ArkerFault):
            legacy.page_of(query)


def test_a_fork_of_the_old_generation() -> None:
    assert legacy.check_fork(LegacyForkRequest(is_public=False))
    assert not legacy.check_fork(LegacyForkRequest())
    for request in (LegacyForkRequest(is_public=True), LegacyForkRequest(region="aws-us-west-2")):
        with pytest.raises(ArkerFault) as caught:
            legacy.check_fork(request)
        assert caught.value.status == 422


def test_what_a_terminal_request_wishes() -> None:
    wish = wish_of(b"cols=100&rows=40&command=top%20-b&persist=true&ticket=abc")
    assert (wish.columns, wish.rows, wish.command, wish.unwatched, wish.ticket) == (100, 40, "top -b", None, "abc")
    assert wish_of(b"persist=false").unwatched == 0
    assert wish_of(b"persist=true&cancel_ttl_secs=5").unwatched == 5
    for query in (b"cols=0", b"rows=1001", b"persist=maybe", b"cancel_ttl_secs=-1", b"command=%00", b"cols=%ff"):
        with pytest.raises(ArkerFault):
            wish_of(query)


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("01KQBYKEV5WJ7YB010603T1DCT_d8c0", "arkuntu"),
        ("01KQH2ADR3DCAJF06N4R453WPJ_uswe", "arkuntu"),
        ("01KQH54JB26N7C34HBWKB4W28V_uswe", "arkuntu"),
        ("01KQH2ACR3DCAJF06N4R453WPJ_uswe", None),
        ("01KQH54KB26N7C34HBWKB4W28V_uswe", None),
        ("01KQH2ADR3DCAJF06N4R453WPJ_skry", None),
        ("01KQH2ADR3_uswe", None),
        ("arkuntu", None),
    ],
)
def test_public_copies_of_the_hosted_service_are_a_golden(reference: str, source: str | None) -> None:
    assert legacy.source_of(reference) == (source or reference)
