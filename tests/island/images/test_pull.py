"""Pulling from a registry over loopback: platforms, digests, logging in, redirects, failures."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import (
    EngineError,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from skerry.island.images import pace
from skerry.island.images import registry as registry_module
from skerry.island.images.pull import Limits, Progress
from skerry.island.images.registry import parse_challenge
from skerry.island.images.store import ImageStore

pytestmark = pytest.mark.anyio
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def leftovers(store: ImageStore) -> list[str]:
    incoming = store.directory / "incoming"
    return os.listdir(incoming) if incoming.exists() else []


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second attempts come at once."""
    original = registry_module.Registry.__init__

    def quick(self: Any, reference: Any, **options: Any) -> None:
        original(self, reference, **{**options, "pause": 0.0})

    monkeypatch.setattr(registry_module.Registry, "__init__", quick)


async def test_an_image_of_two_layers(store: ImageStore, registry: Any, tar: Any) -> None:
    base = tar.make(tar.directory("bin"), tar.file("bin/sh", b"#!", mode=0o755), tar.file("etc/old", b""))
    top = tar.make(tar.file("etc/.wh.old"), tar.file("etc/new", b"new"))
    digest = registry.add("team/tool:1", registry.image(base, top))
    steps: list[Progress] = []
    image = await store.pull(f"{registry.host}/team/tool:1", progress=steps.append)
    assert image.name == f"{registry.host}/team/tool:1"
    assert image.env == {"PATH": "/bin", "GREETING": "hello"}
    assert image.size_bytes == 5
    root = store.rootfs(image.id)
    assert root.binds == ()
    assert (root.directory / "etc/new").read_bytes() == b"new"
    assert not (root.directory / "etc/old").exists()
    assert {"proc", "sys", "dev", "tmp", "run"} <= set(os.listdir(root.directory))
    assert store.resolve(f"{registry.host}/team/tool:1") == image.id
    assert store.resolve(f"{registry.host}/team/tool@{digest}") == image.id
    assert store.resolve(f"{registry.host}/team/tool") is None
    assert store.config(image.id).command == ("sh",)
    assert (steps[0].stage, steps[-1].stage) == ("resolve", "done")
    assert max(step.done_bytes for step in steps) == steps[1].total_bytes > 0
    assert leftovers(store) == []
    assert [other.id for other in store.list()] == ["host", image.id]


async def test_a_second_pull_fetches_no_layer(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    first = await store.pull(f"{registry.host}/team/tool:1")
    registry.seen.clear()
    assert await store.pull(f"{registry.host}/team/tool:1") == first
    assert [path for path, _ in registry.seen] == ["/v2/team/tool/manifests/1"]


async def test_a_moved_tag_brings_a_new_image_and_spares_the_old(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    old = await store.pull(f"{registry.host}/team/tool:1")
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"2"))))
    new = await store.pull(f"{registry.host}/team/tool:1")
    assert new.id != old.id
    assert store.resolve(f"{registry.host}/team/tool:1") == new.id
    assert (store.rootfs(old.id).directory / "a").read_bytes() == b"1"


async def test_the_index_is_read_by_platform(store: ImageStore, registry: Any, tar: Any) -> None:
    made = {name: registry.image(tar.make(tar.file("arch", name.encode()))) for name in ("amd64", "v6", "v7", "arm64")}
    registry.index(
        "team/tool:multi",
        [
            ("unknown", "unknown", made["v6"]),
            ("windows", "amd64", made["v6"]),
            ("linux", "arm/v6", made["v6"]),
            ("linux", "arm/v7", made["v7"]),
            ("linux", "arm64", made["arm64"]),
            ("linux", "amd64", made["amd64"]),
        ],
    )
    name = f"{registry.host}/team/tool:multi"
    for platform, expected in (
        ("linux/amd64", b"amd64"),
        ("linux/arm/v7", b"v7"),
        ("linux/arm/v6", b"v6"),
        ("linux/arm64", b"arm64"),
    ):
        image = await store.pull(name, platform=platform)
        assert (store.rootfs(image.id).directory / "arch").read_bytes() == expected
    with pytest.raises(NotFound, match=r"linux/amd64, linux/arm, linux/arm64, windows/amd64"):
        await store.pull(name, platform="linux/riscv64")


async def test_dockers_own_media_types(store: ImageStore, registry: Any, tar: Any) -> None:
    manifest = registry.image(tar.make(tar.file("a", b"")), media_type=DOCKER_MANIFEST, layer_type=DOCKER_LAYER)
    registry.add("team/tool:1", manifest)
    assert (await store.pull(f"{registry.host}/team/tool:1")).source == f"{registry.host}/team/tool:1"


async def test_wrong_content_is_never_installed(store: ImageStore, registry: Any, tar: Any) -> None:
    layer = tar.make(tar.file("a", b"1"))
    name = f"{registry.host}/team/tool"
    registry.add("team/tool:layer", registry.image(layer))
    compressed = max(registry.blobs, key=lambda digest: registry.blobs[digest][:2] == b"\x1f\x8b")
    registry.blobs[compressed] = registry.blobs[compressed][:-1] + b"!"
    with pytest.raises(Invalid, match="does not match its digest"):
        await store.pull(f"{name}:layer")
    registry.blobs[compressed] += b"more"
    with pytest.raises(Invalid, match="longer than"):
        await store.pull(f"{name}:layer")
    registry.add("team/tool:diff", registry.image(layer, diff_ids=["sha256:" + "0" * 64], compress=bytes))
    with pytest.raises(Invalid, match="unpacks to something else"):
        await store.pull(f"{name}:diff")
    digest = registry.add("team/tool:manifest", registry.image(layer))
    registry.manifests[f"team/tool/{digest}"] = registry.image(layer, env=["A=b"])
    with pytest.raises(Invalid, match="the manifest does not match"):
        await store.pull(f"{name}@{digest}")
    assert leftovers(store) == []
    assert [image.id for image in store.list()] == ["host"]


async def test_hostile_layers_are_refused_and_leave_nothing(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("good", b""), tar.file("../../evil", b""))))
    with pytest.raises(Invalid, match="outside itself"):
        await store.pull(f"{registry.host}/team/tool:1")
    assert leftovers(store) == []
    assert not list(store.directory.parent.rglob("evil"))


async def test_size_ceilings(store: ImageStore, registry: Any, tar: Any) -> None:
    store.limits = Limits(max_bytes=1 << 20, max_entries=5)
    registry.add("team/tool:big", registry.image(tar.make(tar.file("zeros", bytes(2 << 20)))))
    registry.add("team/tool:many", registry.image(tar.make(*(tar.file(str(number)) for number in range(9)))))
    registry.add("team/tool:heavy", registry.image(tar.make(tar.file("noise", os.urandom(2 << 20)))))
    for tag in ("big", "many", "heavy"):
        with pytest.raises(TooLarge):
            await store.pull(f"{registry.host}/team/tool:{tag}")
    assert leftovers(store) == []


async def test_strange_manifests_are_refused(store: ImageStore, registry: Any, tar: Any) -> None:
    layer = tar.make(tar.file("a", b""))
    oci = "application/vnd.oci.image.manifest.v1+json"
    cases: list[tuple[tuple[str, bytes], type[EngineError]]] = [
        ((oci, b"<html>"), Invalid),
        ((oci, b'{"schemaVersion":1,"fsLayers":[]}'), Unsupported),
        ((oci, b'{"schemaVersion":2}'), Unsupported),
        (registry.image(layer, layer_type="application/vnd.oci.image.layer.v1.tar+encrypted"), Unsupported),
        (registry.image(layer, diff_ids=["sha256:" + "0" * 64] * 2), Invalid),
    ]
    for manifest, error in cases:
        registry.add("team/tool:odd", manifest)
        with pytest.raises(error):
            await store.pull(f"{registry.host}/team/tool:odd")


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) for name in ("zstandard", "backports")), reason="a zstd module is installed"
)
async def test_zstd_without_its_module_is_explained(store: ImageStore, registry: Any, tar: Any) -> None:
    manifest = registry.image(tar.make(tar.file("a")), compress=lambda data: b"\x28\xb5\x2f\xfd" + data)
    registry.add("team/tool:1", manifest)
    with pytest.raises(Unsupported, match="zstd"):
        await store.pull(f"{registry.host}/team/tool:1")


async def test_tokens(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.token = "t0ken"
    registry.password = ("user", "pass")
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b""))))
    name = f"{registry.host}/team/tool:1"
    with pytest.raises(Unauthorized, match="wrong password"):
        await store.pull(name, credentials=("user", "wrong"))
    registry.seen.clear()
    await store.pull(name, credentials=("user", "pass"))
    tokens = [authorization for path, authorization in registry.seen if path.startswith("/token")]
    assert tokens == ["Basic dXNlcjpwYXNz"], "one log-in serves all downloads"
    assert all("Basic" not in str(sent) for path, sent in registry.seen if path.startswith("/v2/"))


async def test_basic_log_in(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.basic, registry.password = True, ("user", "pass")
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b""))))
    with pytest.raises(Unauthorized, match="user name and password"):
        await store.pull(f"{registry.host}/team/tool:1")
    await store.pull(f"{registry.host}/team/tool:1", credentials=("user", "pass"))


async def test_redirects_do_not_carry_the_key(store: ImageStore, start_registry: Callable[[], Any], tar: Any) -> None:
    front, back = start_registry(), start_registry()
    front.token, front.redirect_to, back.blobs = "t0ken", back.port, front.blobs
    front.add("team/tool:1", front.image(tar.make(tar.file("a", b""))))
    await store.pull(f"{front.host}/team/tool:1")
    assert len(back.seen) == 2
    assert all(authorization is None for _, authorization in back.seen)


async def test_unsafe_places_to_log_in_or_go_to_are_refused(store: ImageStore, registry: Any) -> None:
    path = "/v2/team/tool/manifests/1"
    for realm in ("http://198.51.100.7/token", "ftp://x/", "file:///etc/passwd", ""):
        registry.status[path] = (401, {"www-authenticate": f'Bearer realm="{realm}"'}, b"")
        with pytest.raises(Invalid, match="unsafe place"):
            await store.pull(f"{registry.host}/team/tool:1", credentials=("user", "pass"))
    for location in ("file:///etc/passwd", ""):
        registry.status[path] = (302, {"location": location}, b"")
        with pytest.raises(Invalid, match="nowhere"):
            await store.pull(f"{registry.host}/team/tool:1")
    registry.status[path] = (302, {"location": path}, b"")
    with pytest.raises(Invalid, match="circles"):
        await store.pull(f"{registry.host}/team/tool:1")


async def test_refusals_keep_their_meaning(store: ImageStore, registry: Any) -> None:
    path = "/v2/team/tool/manifests/1"
    name = f"{registry.host}/team/tool:1"
    with pytest.raises(NotFound, match="manifest unknown"):
        await store.pull(name)
    registry.status[path] = (429, {"retry-after": "7"}, b"")
    with pytest.raises(RateLimited) as caught:
        await store.pull(name)
    assert caught.value.retry_after == 7
    registry.status[path] = (503, {}, b"")
    with pytest.raises(Unavailable):
        await store.pull(name)
    assert len([seen for seen, _ in registry.seen if seen == path]) == 1 + 1 + 4


async def test_passing_failures_are_survived(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", os.urandom(200_000)))))
    registry.failures, registry.cut = 2, 1
    steps: list[Progress] = []
    await store.pull(f"{registry.host}/team/tool:1", progress=steps.append)
    assert steps[-2].done_bytes == steps[-2].total_bytes


async def test_a_registry_that_is_not_there(store: ImageStore, start_registry: Callable[[], Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.pull(f"127.0.0.1:{unused.getsockname()[1]}/team/tool:1")


@pytest.mark.usefixtures("_time_to_send")
@pytest.mark.parametrize(("waits_for", "words"), [("connection", "is dropped"), ("answer", "sent nothing")])
async def test_a_registry_that_drops_packets_is_not_waited_for(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, waits_for: str, words: str
) -> None:
    # The other is as long as it is, for a machine that is slow.
    monkeypatch.setattr(pace, "CONNECT_SECONDS" if waits_for == "connection" else "SILENCE_SECONDS", 0.2)
    told, asked = pace.trouble, []
    monkeypatch.setattr(pace, "trouble", lambda *about: asked.append(about) or told(*about))
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen(0 if waits_for == "connection" else 16)
        if waits_for == "connection":
            # The kernel drops what asks for a place in a full queue; its length stands at byte 24.
            stack.enter_context(socket.create_connection(silent.getsockname()))
            async with asyncio.timeout(60):
                while not silent.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24]:
                    await asyncio.sleep(0.001)
        with pytest.raises(Unavailable, match=words):
            await store.pull(f"127.0.0.1:{silent.getsockname()[1]}/team/tool:1")
    assert len(asked) == (1 if waits_for == "connection" else 2)


async def test_a_cancelled_pull_leaves_nothing(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", os.urandom(1 << 20)))))
    reached = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.stage == "download":
            reached.set()

    task = asyncio.ensure_future(store.pull(f"{registry.host}/team/tool:1", progress=watch))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(store) == []
    assert [image.id for image in store.list()] == ["host"]


def test_challenges() -> None:
    assert parse_challenge('Bearer realm="https://a/t", service="b",scope="repository:x:pull,push"') == (
        "bearer",
        {"realm": "https://a/t", "service": "b", "scope": "repository:x:pull,push"},
    )
    assert parse_challenge("Basic") == ("basic", {})
    assert parse_challenge("") == ("", {})


async def test_names_that_are_none(store: ImageStore, tmp_path: Path) -> None:
    for name in ("", "UPPER", "a b", "../x"):
        with pytest.raises(Invalid):
            await store.pull(name)
