"""The public sources of forks this island truly offers (protocol section 5.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skerry.ids import new_id, new_ulid, ulid_from
from skerry.island.engine.records import Image, Node
from skerry.island.sandbox.spec import Limits
from skerry.units import GIB, MIB

BURST_SUFFIX = "_skry"
UBUNTU_IMAGE = "ubuntu:24.04"
BURST_NAME = "arkuntu"
PUBLISHED = frozenset({"01KQBYKEV5WJ7YB010603T1DCT_d8c0", "01KQH2ADR3DCAJF06N4R453WPJ_uswe"})
"""Ids under which the hosted network publishes `arkuntu`; its clients and its read-me have them built in."""

_BURST_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A public source of forks.

    Args:
        vm_id: stable id, of the kind its children have.
        name: what users call it.
        image: local image underneath.
        limits: bounds of a fork that asks for none.
    """

    vm_id: str
    name: str
    image: str
    limits: Limits

    @property
    def burst(self) -> bool:
        """Whether its children carry burst ids."""
        return is_burst(self.vm_id)


def is_burst(vm_id: str) -> bool:
    """Whether clients will route this id to the burst endpoint (protocol section 2.1)."""
    return _BURST_ID.fullmatch(vm_id) is not None


def new_vm_id(*, burst: bool) -> str:
    """A fresh VM id of either kind."""
    return new_ulid() + BURST_SUFFIX if burst else new_id("vmh")


def label_of(vm_id: str) -> str:
    """A VM id as part of a host name."""
    return vm_id.lower().replace("_", "-")


def golden_id(name: str, *, burst: bool = False) -> str:
    """The id of a golden: the same on every island and at every start."""
    digest = hashlib.sha256(f"skerry golden {name}".encode()).digest()
    ulid = ulid_from(0, digest[:10])
    return ulid + BURST_SUFFIX if burst else f"vmh-{ulid.lower()}"


def catalogue(images: Sequence[Image], base: str, node: Node, limits: Limits, *, sizes: bool) -> list[Golden]:
    """Every golden there is.

    Args:
        images: local images; each is also a golden by its own name.
        base: id of the image behind `ubuntu` and its sizes.
        node: what the machine has; sizes it cannot give are not offered.
        limits: bounds of a fork that asks for none.
        sizes: whether this machine can hold a VM to a size at all.
    """
    offered = [("ubuntu", limits)]
    offered += sizes * [
        ("ubuntu-small", replace(limits, cpu_millis=1000, memory_bytes=512 * MIB, disk_bytes=4 * GIB)),
        ("ubuntu-full", replace(limits, cpu_millis=node.cpu_millis, memory_bytes=node.memory_bytes)),
        ("ubuntu-full-32", replace(limits, cpu_millis=node.cpu_millis, memory_bytes=32 * GIB)),
    ]
    goldens = [
        Golden(vm_id=golden_id(name), name=name, image=base, limits=size)
        for name, size in offered
        if name == "ubuntu" or _fits(size, node)
    ]
    goldens.append(Golden(vm_id=golden_id(BURST_NAME, burst=True), name=BURST_NAME, image=base, limits=limits))
    taken = {golden.name for golden in goldens}
    goldens += [
        Golden(vm_id=golden_id(image.name), name=image.name, image=image.id, limits=limits)
        for image in images
        if image.name not in taken
    ]
    return goldens


def _fits(limits: Limits, node: Node) -> bool:
    return (limits.memory_bytes or 0) <= node.memory_bytes and (limits.cpu_millis or 0) <= node.cpu_millis


def find(goldens: Sequence[Golden], reference: str) -> Golden | None:
    """The golden of that name or id; the burst name is recognised in any case, as clients do."""
    wanted = reference.strip()
    if wanted in PUBLISHED:
        wanted = BURST_NAME
    for golden in goldens:
        if wanted in (golden.vm_id, golden.name) or (golden.burst and wanted.lower() == golden.name):
            return golden
    return None
