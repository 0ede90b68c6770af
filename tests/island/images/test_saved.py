"""Archives of images: OCI layouts, `docker save`, plain roots; and those that lie about what they hold."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import EngineError, Invalid, NotFound, TooLarge, Unsupported
from skerry.island.images.pull import Limits
from skerry.island.images.store import ImageStore

pytestmark = pytest.mark.anyio
CONFIG = {"Env": ["GREETING=hello"], "Entrypoint": ["/tool"], "Cmd": ["-a"], "WorkingDir": "/srv", "User": "7:8"}


class Saved:
    """Puts archives together."""

    def __init__(self, tar: Any, *layers: bytes) -> None:
        self.tar = tar
        self.layers = layers or (
            tar.make(tar.file("tool", b"tool", mode=0o755), tar.file("old", b"")),
            tar.make(tar.file(".wh.old"), tar.file("new", b"new")),
        )
        self.diff_ids = [tar.digest_of(layer) for layer in self.layers]
        self.blobs: dict[str, bytes] = {}

    def configuration(self) -> bytes:
        return json.dumps({"config": CONFIG, "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}).encode()

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = self.tar.digest_of(content)
        self.blobs[f"blobs/{digest.replace(':', '/')}"] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def manifest(self) -> dict[str, Any]:
        document = {
            "schemaVersion": 2,
            "config": self.blob(self.configuration(), "application/vnd.oci.image.config.v1+json"),
            "layers": [
                self.blob(gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
                for layer in self.layers
            ],
        }
        return self.blob(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")

    def layout(self, *manifests: dict[str, Any]) -> bytes:
        """An OCI layout, the index at its end as writers put it."""
        index = json.dumps({"schemaVersion": 2, "manifests": manifests or [self.manifest()]}).encode()
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', **self.blobs, "index.json": index}
        return self.tar.make(*(self.tar.file(name, content) for name, content in files.items()))

    def docker(self, *, config: str | None = None, images: int = 1) -> bytes:
        """What `docker save` wrote before it knew OCI, with a layer that is a link to another's file."""
        content = self.configuration()
        name = config or f"{hashlib.sha256(content).hexdigest()}.json"
        listed = [{"Config": name, "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
        return self.tar.make(
            self.tar.file("c/real.tar", self.layers[0]),
            self.tar.link("a/layer.tar", "../c/real.tar"),
            self.tar.file("b/layer.tar", self.layers[1]),
            self.tar.file(name, content),
            self.tar.file("manifest.json", json.dumps(listed * images).encode()),
        )


async def put(store: ImageStore, directory: Path, content: bytes) -> str:
    """Import bytes; the image's id."""
    path = directory / "archive.tar"
    path.write_bytes(content)
    return (await store.import_tar(path, "mine")).id


@pytest.mark.parametrize("kind", ["layout", "docker"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
async def test_an_image_from_an_archive(store: ImageStore, tmp_path: Path, tar: Any, kind: str, compress: Any) -> None:
    id = await put(store, tmp_path, compress(getattr(Saved(tar), kind)()))
    root = store.rootfs(id).directory
    assert (root / "new").read_bytes() == b"new"
    assert not (root / "old").exists()
    assert (root / "proc").is_dir()
    assert not (root / "blobs").exists()
    program = store.program(id)
    assert (program.argv, program.cwd, program.user) == (("/tool", "-a"), "/srv", "7:8")
    assert program.env["GREETING"] == "hello"
    assert list((store.directory / "incoming").iterdir()) == []


async def test_the_same_image_by_archive_and_by_registry(
    store: ImageStore, tmp_path: Path, tar: Any, registry: Any
) -> None:
    saved = Saved(tar)
    described = saved.manifest()
    content = saved.blobs[f"blobs/{described['digest'].replace(':', '/')}"]
    registry.blobs.update({tar.digest_of(blob): blob for blob in saved.blobs.values()})
    registry.add("team/tool:1", ("application/vnd.oci.image.manifest.v1+json", content))
    pulled = await store.pull(f"{registry.host}/team/tool:1")
    assert await put(store, tmp_path, saved.layout()) == pulled.id


async def test_an_index_is_read_by_platform(store: ImageStore, tmp_path: Path, tar: Any) -> None:
    right, wrong = Saved(tar), Saved(tar, tar.make(tar.file("wrong")))
    entries = [
        {**wrong.manifest(), "platform": {"os": "windows", "architecture": "amd64"}},
        {**right.manifest(), "platform": {"os": "linux", "architecture": "amd64"}},
        {**right.manifest(), "platform": {"os": "linux", "architecture": "arm64"}},
    ]
    right.blobs.update(wrong.blobs)
    inner = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    for content in (right.layout(*entries), right.layout(right.blob(inner, "application/vnd.oci.image.index.v1+json"))):
        id = await put(store, tmp_path, content)
        assert (store.rootfs(id).directory / "new").exists()
    with pytest.raises(NotFound, match="only for windows/amd64"):
        await put(store, tmp_path, right.layout(entries[0], entries[0]))


async def test_archives_that_lie(store: ImageStore, tmp_path: Path, tar: Any) -> None:
    async def refused(content: bytes, kind: type[EngineError] = Invalid, match: str | None = None) -> None:
        with pytest.raises(kind, match=match):
            await put(store, tmp_path, content)
        assert len(store.list()) == 1
        assert list((store.directory / "incoming").iterdir()) == []

    saved = Saved(tar)
    described = saved.manifest()
    for name, content in list(saved.blobs.items()):
        saved.blobs[name] = content[:-1] + bytes([content[-1] ^ 1])
        await refused(saved.layout(described))
        del saved.blobs[name]
        await refused(saved.layout(described), match="not in the archive")
        saved.blobs[name] = content
    await refused(Saved(tar).docker(images=2), match="2 images")
    await refused(Saved(tar).docker(config="0" * 64 + ".json"), match="digest")
    await refused(Saved(tar).layout({"digest": "md5:0", "size": 1}), match="unknown kind of digest")
    await refused(Saved(tar).layout({"digest": "sha256:../../../etc/passwd", "size": 1}), match="unknown kind")
    loop = Saved(tar)
    inner = loop.blob(json.dumps({"manifests": []}).encode(), "")
    await refused(loop.layout(inner), NotFound)
    lied = Saved(tar)
    lied.diff_ids[1] = lied.diff_ids[0]
    await refused(lied.layout(), match="something else")
    short = Saved(tar)
    short.diff_ids.pop()
    await refused(short.layout(), match="disagree")
    foreign = Saved(tar)
    manifest = foreign.blob(
        json.dumps(
            {"config": foreign.blob(b"{}", ""), "layers": [foreign.blob(b"", "application/x-nothing")]}
        ).encode(),
        "",
    )
    await refused(foreign.layout(manifest), Unsupported)
    secret = tmp_path / "secret"
    secret.write_text("[]")
    await refused(
        tar.make(tar.link("manifest.json", str(secret)), tar.file("oci-layout", b"{}")), match="not in the archive"
    )
    await refused(tar.make(tar.link("manifest.json", "manifest.json"), tar.file("oci-layout")), match="nowhere")
    await refused(tar.make(tar.file("oci-layout", b"{}")), match="not in the archive")
    await refused(tar.make(), match="empty")
    store.limits = Limits(max_bytes=64)
    await refused(Saved(tar).layout(), TooLarge)
