"""Images that others ask for: pulled once for many, stopped with the last, and never from where they must not look."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skerry.island.engine.errors import (
    EngineError,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from skerry.island.images import pace
from skerry.island.images import registry as registry_module
from skerry.island.images.download import check_url, download, shown
from skerry.island.images.guard import GuardedTransport, Refused
from skerry.island.images.pull import Limits
from skerry.island.images.shared import Shared
from skerry.island.images.store import ImageStore

pytestmark = pytest.mark.anyio
PATIENCE = 60.0
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine takes part, and second attempts come at once."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    original = registry_module.Registry.__init__

    def quick(self: Any, reference: Any, **options: Any) -> None:
        original(self, reference, **{**options, "pause": 0.0})

    monkeypatch.setattr(registry_module.Registry, "__init__", quick)


class Site:
    """A web server on loopback whose answers are functions of the path."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.seen: list[str] = []
        self.hosts: list[str | None] = []
        self.wait = threading.Event()
        self.wait.set()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append(self.path)
                site.hosts.append(self.headers.get("host"))
                site.wait.wait(PATIENCE)
                page = site.pages.get(self.path.partition("?")[0])
                if page is None:
                    self.send_error(404)
                else:
                    page(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def serve(self, path: str, content: bytes, *, stated: int | None = None) -> None:
        def page(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("content-length", str(len(content) if stated is None else stated))
            handler.end_headers()
            handler.wfile.write(content)

        self.pages[path] = page

    def redirect(self, path: str, location: str) -> None:
        def page(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("location", location)
            handler.end_headers()

        self.pages[path] = page


@pytest.fixture
def site() -> Iterator[Site]:
    it = Site()
    yield it
    it.wait.set()
    it.server.shutdown()
    it.server.server_close()


@pytest.fixture
def allowed(store: ImageStore) -> ImageStore:
    """A store whose owner lets others reach this machine's loopback."""
    return ImageStore(store.directory, machine=store.directory.parent / "machine", private_ok=LOOPBACK)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_is_here_is_not_asked_for(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    name = f"{registry.host}/team/tool:1"
    first = await store.fetch(name)
    registry.seen.clear()
    assert await store.fetch(name) == first
    assert (await store.fetch("host")).id == "host"
    assert registry.seen == []


async def test_many_ask_and_one_pulls(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    name = f"{registry.host}/team/tool:1"
    images = await asyncio.gather(*(store.fetch(name) for _ in range(20)))
    assert len({image.id for image in images}) == 1
    assert len(registry.seen) == 3


async def test_refusals_reach_everyone_who_asked(store: ImageStore, registry: Any) -> None:
    name = f"{registry.host}/team/absent:1"
    ends = await asyncio.gather(*(store.fetch(name) for _ in range(3)), return_exceptions=True)
    assert [type(end) for end in ends] == [NotFound] * 3
    with pytest.raises(Invalid):
        await store.fetch("No Name")


async def test_what_came_with_credentials_is_not_for_everyone(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.password, registry.basic = ("me", "secret"), True
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    name = f"{registry.host}/team/tool:1"
    mine = await store.fetch(name, credentials=("me", "secret"))
    with pytest.raises(Unauthorized) as refused:
        await store.fetch(name)
    assert "secret" not in str(refused.value)
    with pytest.raises(Unauthorized):
        await store.fetch(name, credentials=("me", "wrong"))
    assert await store.fetch(name, credentials=("me", "secret")) == mine
    registry.basic = False
    assert await store.fetch(name) == mine
    registry.seen.clear()
    assert await store.fetch(name) == mine
    assert registry.seen == [], "now it is known to be for everyone"


async def test_a_registry_leads_nowhere_else(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    name = f"{registry.host}/team/tool:1"
    manifest = "/v2/team/tool/manifests/1"
    for location in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/"):
        registry.status[manifest] = (307, {"location": location}, b"")
        with pytest.raises(Forbidden, match="private or reserved"):
            await store.fetch(name)
    for host in ("10.0.0.1:5000", "192.168.1.1", "[fd00::1]:5000", "169.254.169.254"):
        with pytest.raises(Forbidden):
            await store.fetch(f"{host}/team/tool:1")


async def test_an_archive_from_an_address(allowed: ImageStore, site: Site, tar: Any) -> None:
    site.serve("/root.tar.gz", gzip.compress(tar.make(tar.file("etc/motd", b"hello"))))
    site.redirect("/moved", "/root.tar.gz?signature=secret")
    images = await asyncio.gather(*(allowed.fetch_archive(f"{site.url}/moved?token=secret") for _ in range(5)))
    assert len({image.id for image in images}) == 1
    assert (allowed.rootfs(images[0].id).directory / "etc/motd").read_bytes() == b"hello"
    assert site.seen == ["/moved?token=secret", "/root.tar.gz?signature=secret"]
    assert (images[0].name, images[0].source) == (f"archive/{images[0].id}:latest", f"{site.url}/moved")
    assert "secret" not in (allowed.directory / "images.json").read_text()
    again = await allowed.fetch_archive(f"{site.url}/root.tar.gz")
    assert again.id == images[0].id
    assert list((allowed.directory / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/x",
        "http://localhost:{port}/x",
        "http://LOCALHOST.:{port}/x",
        "http://2130706433:{port}/x",
        "http://0x7f.1:{port}/x",
        "http://[::1]:{port}/x",
        "http://[::ffff:127.0.0.1]:{port}/x",
        "http://0.0.0.0:{port}/x",
        "http://169.254.169.254/latest/meta-data",
        "http://10.1.2.3/x",
        "https://192.168.0.1/x",
        "http://[fe80::1%25lo]/x",
    ],
)
async def test_private_addresses_are_not_asked(store: ImageStore, site: Site, url: str) -> None:
    with pytest.raises((Forbidden, Invalid, Unavailable)) as refused:
        await store.fetch_archive(url.format(port=site.port))
    assert site.seen == []
    assert not isinstance(refused.value, Unavailable) or "unknown" in str(refused.value)


async def test_redirects_are_judged_alike(tmp_path: Path, site: Site) -> None:
    site.redirect("/away", f"http://127.0.0.2:{site.port}/secret")
    site.redirect("/file", "file:///etc/passwd")
    site.redirect("/round", "/round")
    site.redirect("/nowhere", "")
    for path, kind in (("/away", Forbidden), ("/file", Invalid), ("/round", Invalid), ("/nowhere", Invalid)):
        with pytest.raises(kind):
            await download(site.url + path, tmp_path / "x", private_ok=("127.0.0.1/32",), max_bytes=100)
    assert "/secret" not in site.seen


async def test_a_name_that_changes_its_mind_gains_nothing(site: Site) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def resolve(name: str, port: int) -> list[str]:
        return answers.pop(0)

    site.serve("/x", b"content")
    transport = GuardedTransport(("127.0.0.1/32",), resolve=resolve)
    async with httpx2.AsyncClient(transport=transport) as client:
        answer = await client.get(f"http://archive.example:{site.port}/x")
        assert (answer.content, site.hosts) == (b"content", [f"archive.example:{site.port}"])
        with pytest.raises(Refused):
            await client.get(f"http://archive.example:{site.port}/x")
    assert len(site.seen) == 1


async def test_one_bad_address_among_several_is_enough(site: Site) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.1", "10.0.0.1"]

    async with httpx2.AsyncClient(transport=GuardedTransport(("127.0.0.1/32",), resolve=resolve)) as client:
        with pytest.raises(Refused):
            await client.get(f"http://archive.example:{site.port}/x")
    assert site.seen == []


@pytest.mark.usefixtures("_time_to_send")
async def test_sizes_and_times_are_kept(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve("/big", bytes(1000))
    site.serve("/lie", bytes(1000), stated=2000)
    site.serve("/exact", bytes(1000))

    async def get(path: str, max_bytes: int = 1000) -> None:
        await download(site.url + path, tmp_path / "x", private_ok=LOOPBACK, max_bytes=max_bytes)

    await get("/exact")
    with pytest.raises(TooLarge):
        await get("/big", max_bytes=999)
    with pytest.raises(Unavailable):
        await get("/lie", max_bytes=5000)
    with pytest.raises(NotFound):
        await get("/absent")
    with monkeypatch.context() as patched:
        patched.setattr(pace, "SPAN_SECONDS", 0.0)
        with pytest.raises(Unavailable, match="too slowly: 1000 bytes"):
            await get("/exact")
    site.wait.clear()
    monkeypatch.setattr(pace, "SILENCE_SECONDS", 0.05)
    with pytest.raises(Unavailable, match=r"nothing for 0\.05 seconds"):
        await get("/exact")


async def test_the_store_keeps_its_own_bounds(allowed: ImageStore, site: Site, tar: Any) -> None:
    site.serve("/bomb", gzip.compress(tar.make(tar.file("a", bytes(1 << 20)))))
    allowed.limits = Limits(max_bytes=1 << 16)
    with pytest.raises(TooLarge):
        await allowed.fetch_archive(f"{site.url}/bomb")
    site.serve("/rubbish", b"<html>not here</html>")
    with pytest.raises(Invalid):
        await allowed.fetch_archive(f"{site.url}/rubbish")
    assert list((allowed.directory / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "/etc/passwd",
        "http:///x",
        "http://me:secret@example.com/x",
        "http://example.com:99999/x",
        "http://example.com/\n",
        "http://[::1",
        "http://example.com/" + "x" * 5000,
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)


def test_what_may_be_shown_of_an_address() -> None:
    assert shown("https://me:secret@example.com:8443/a.tar?token=x#y") == "https://example.com:8443/a.tar"


async def test_work_stops_with_the_last_who_wants_it() -> None:
    shared: Shared[int] = Shared()
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            stopped.set()
        return 1

    first, second = (asyncio.ensure_future(shared.run("k", work)) for _ in range(2))
    await begun.wait()
    first.cancel()
    await asyncio.wait((first,))
    assert not stopped.is_set()
    second.cancel()
    await asyncio.wait((second,))
    assert stopped.is_set()

    async def quick() -> int:
        return 2

    assert await shared.run("k", quick) == 2
    with pytest.raises(EngineError):
        await shared.run("k", failing)
    assert await shared.run("k", quick) == 2


async def failing() -> int:
    raise Unavailable("no")


async def test_a_cancelled_fetch_leaves_nothing(allowed: ImageStore, site: Site, tar: Any) -> None:
    site.serve("/root.tar", tar.make(tar.file("etc/motd")))
    site.wait.clear()
    task = asyncio.ensure_future(allowed.fetch_archive(f"{site.url}/root.tar"))
    await until(lambda: bool(site.seen))
    task.cancel()
    await asyncio.wait((task,))
    assert list((allowed.directory / "incoming").iterdir()) == []
    site.wait.set()
    assert (await allowed.fetch_archive(f"{site.url}/root.tar")).size_bytes == 0


async def test_a_registry_on_loopback_leads_to_no_other_port_there(
    store: ImageStore, start_registry: Callable[[], Any], tar: Any
) -> None:
    front, back = start_registry(), start_registry()
    manifest = front.image(tar.make(tar.file("a", b"1")))
    front.add("team/x:1", manifest)
    front.redirect_to, back.blobs = back.port, front.blobs
    with pytest.raises(Forbidden, match="belongs to this machine"):
        await store.fetch(f"{front.host}/team/x:1")
    front.status["/v2/team/y/manifests/1"] = (
        401,
        {"www-authenticate": f'Bearer realm="http://{back.host}/token"'},
        b"",
    )
    with pytest.raises(Forbidden, match="belongs to this machine"):
        await store.fetch(f"{front.host}/team/y:1", credentials=("me", "secret"))
    assert back.seen == []
