"""How files travel (section 3.5): small ones inside a request, large ones by way of a presigned URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skerry._kernel.dialect import Call, Operation
from skerry._kernel.model import Model, encode, parse_json
from skerry._kernel.request import Body, BodySource, Response
from skerry._kernel.retry import ONCE, Failure, RetryPolicy, Safety
from skerry.networks.arker.codes import RETRIED_STATUSES, entry_fields, make_error, protocol_error
from skerry.networks.arker.encoding import decode_text, encode_content
from skerry.networks.arker.errors import ArkerError
from skerry.networks.arker.models import SyncChunk, SyncPresignCommit, SyncPresignRequest
from skerry.networks.arker.operations import JSON, READ_FILE, WRITE_FILE, url_of

CHUNK_SIZE = 4 * 1024 * 1024
"""Bytes; files up to this size travel inside the request."""

PUT_TIMEOUT = 600.0
GET_TIMEOUT = 300.0
_PIECE = 1 << 18

PUT = Operation("sync.put", "PUT", "", "idempotent", bytes, bytes, auth=False, base="absolute", summary="Store a file")
GET = Operation("sync.get", "GET", "", "idempotent", bytes, auth=False, base="absolute", summary="Fetch a file")

FileData = bytes | bytearray | memoryview | str | Path
"""Content for a file: bytes, text (sent as UTF-8), or the path of a local file."""


@dataclass(frozen=True, slots=True)
class InlineWrite:
    """One chunk that is the whole file."""

    entry: SyncChunk


@dataclass(frozen=True, slots=True)
class PresignedWrite:
    """Ask where, put it there, say so."""

    request: SyncPresignRequest
    body: Body

    def commit(self, upload_id: str) -> SyncPresignCommit:
        """The entry that says the bytes are there."""
        return SyncPresignCommit(path=self.request.path, size=self.request.size, upload_id=upload_id)


def plan_write(path: str, data: FileData, new_upload_id: Callable[[], str]) -> InlineWrite | PresignedWrite:
    """Decide how a file travels.

    Args:
        path: in the VM; not checked here, for that is the server's duty.
        data: what to write; a local file is read piece by piece when it is large.
        new_upload_id: makes the ULID of an inline write.

    Raises:
        OSError: the local file cannot be read.
    """
    content: bytes
    if isinstance(data, Path):
        size = data.stat().st_size
        if size > CHUNK_SIZE:
            return PresignedWrite(SyncPresignRequest(path=path, size=size), _file_body(data, size))
        content = data.read_bytes()
    else:
        content = data.encode() if isinstance(data, str) else bytes(data)
    if len(content) > CHUNK_SIZE:
        return PresignedWrite(SyncPresignRequest(path=path, size=len(content)), content)
    return InlineWrite(
        SyncChunk(
            path=path,
            size=len(content),
            upload_id=new_upload_id(),
            content=encode_content(content),
            start=0,
            end=len(content),
        )
    )


def _file_body(file: Path, size: int) -> BodySource:
    def pieces() -> Any:
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece

    return BodySource(pieces, size)


def write_entry(base: str, vm_id: str, entry: Model) -> Call[dict[str, Any]]:
    """Send one entry of a write; the result is that entry's."""
    body = encode({"op": "write", "writes": [entry]})
    return Call(WRITE_FILE, url_of(WRITE_FILE, base, vm_id=vm_id), _first_result, JSON, body)


def _first_result(response: Response) -> dict[str, Any]:
    payload = parse_json(response.body)
    results = payload.get("results") if isinstance(payload, dict) else None
    if not isinstance(results, list) or not results or not isinstance(results[0], dict):
        raise protocol_error("write response missing results[0]")
    return results[0]


def entry_error(result: dict[str, Any]) -> ArkerError | None:
    """The error reported inside a result; it counts as one with status 200."""
    error = result.get("error")
    if error is None:
        return None
    code, detail = entry_fields(error) if isinstance(error, dict) else ("internal", str(error))
    return make_error(code, detail, 200)


def check_written(result: dict[str, Any], what: str) -> None:
    """Make sure that a result says the file is in place.

    Args:
        result: of one entry.
        what: to say if it does not.

    Raises:
        ArkerProtocolError: it does not.
    """
    if result.get("complete") is not True or result.get("written") is not True:
        raise protocol_error(what)


def presigned_target(result: dict[str, Any]) -> tuple[str, str]:
    """URL to put the bytes to, and the upload id for the commit.

    Raises:
        ArkerProtocolError: one of them is missing.
    """
    url, upload_id = result.get("presigned_url"), result.get("upload_id")
    if not (isinstance(url, str) and url and isinstance(upload_id, str) and upload_id):
        raise protocol_error("write response missing presigned upload fields")
    return url, upload_id


def put(url: str, body: Body, policy: RetryPolicy, refusal: str = "upload PUT failed") -> Call[None]:
    """Store the bytes at a presigned URL: no key, no content type, retries of its own."""
    return Call(
        PUT,
        url,
        lambda _: None,
        body=body,
        timeout=PUT_TIMEOUT,
        error=lambda response: None if response.ok else _refused(refusal, response),
        retry=replace(policy, when=_put_again),
    )


def _put_again(failure: Failure, safety: Safety) -> bool:
    return failure.kind != "answer" or failure.status in RETRIED_STATUSES


def get(url: str) -> Call[bytes]:
    """Fetch the bytes behind a presigned URL: no key, one try."""
    return Call(GET, url, lambda response: response.body, timeout=GET_TIMEOUT, error=_get_error, retry=ONCE)


def _get_error(response: Response) -> ArkerError | None:
    return None if response.ok else _refused("signed GET failed", response)


def _refused(what: str, response: Response) -> ArkerError:
    return make_error("internal", f"{what}: {response.status}", response.status, response.body)


@dataclass(frozen=True, slots=True)
class RemoteContent:
    """Where a large file is to be fetched."""

    url: str


def read_file(base: str, vm_id: str, path: str) -> Call[bytes | RemoteContent]:
    """Read a file, or learn where it is."""
    return Call(
        READ_FILE, url_of(READ_FILE, base, vm_id=vm_id), _content_of, JSON, encode({"op": "read", "path": path})
    )


def _content_of(response: Response) -> bytes | RemoteContent:
    payload = parse_json(response.body)
    if not isinstance(payload, dict):
        raise protocol_error("read response must be an object")
    if "content" in payload:
        return decode_text(payload["content"], payload.get("encoding"))
    url = payload.get("presigned_url")
    if not isinstance(url, str) or not url:
        raise protocol_error("read response missing content/presigned_url")
    return RemoteContent(url)
