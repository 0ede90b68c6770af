"""A client for container registries: anonymous or password, token flow, redirects, every byte checked.

The protocol is the OCI distribution specification's pull half, with Docker's token authentication.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from skerry.island.engine.errors import (
    EngineError,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from skerry.island.images import pace
from skerry.island.images.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor, check_digest
from skerry.island.images.reference import DEFAULT_REGISTRY, Reference
from skerry.units import MIB

if TYPE_CHECKING:
    import httpx2

_DEFAULT_ENDPOINT = "https://registry-1.docker.io"
_LARGEST_DOCUMENT = 8 * MIB
_LARGEST_TOKEN = MIB
_MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
_ATTEMPTS = 4
_SILENT_ATTEMPTS = 2
R = TypeVar("R")
_PARAMETER = re.compile(r'([a-zA-Z_-]+)=(?:"([^"]*)"|([^",\s]+))')


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class _Transient(Exception):
    """Worth another attempt, few of them where nothing came; carries what to say when attempts are used up."""

    def __init__(self, error: EngineError, *, silent: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.silent = silent


class Registry:
    """Pulls the content of one repository; use as an async context manager.

    Args:
        reference: names the registry and the repository.
        credentials: user name and password or access token; without them the pull is anonymous.
        pause: seconds before the second attempt after a failure; doubled each time.
        private_ok: for names that others chose: reach the open internet and these blocks alone (and the registry itself
            when it is on loopback, but no other port there); None reaches whatever the owner named.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        credentials: tuple[str, str] | None = None,
        pause: float = 0.5,
        private_ok: Sequence[str] | None = None,
    ) -> None:
        import httpx2

        self._repository = reference.repository
        self._registry = reference.registry
        self._endpoint = _endpoint(reference.registry)
        self._credentials = credentials
        self._pause = pause
        self._authorization: str | None = None
        self._authorizing = asyncio.Lock()
        parts = urlsplit(self._endpoint)
        loopback = parts.scheme == "http"
        transport: httpx2.AsyncBaseTransport | None = None
        if private_ok is not None:
            from skerry.island.images.guard import GuardedTransport

            # A registry on loopback may be anybody's job: it must not send us on to other services of this machine.
            home = (parts.hostname or "", parts.port or 80) if loopback else None
            transport = GuardedTransport(private_ok, home=home)
        self._client = httpx2.AsyncClient(
            timeout=pace.timeouts(),
            transport=transport,
            follow_redirects=False,
            trust_env=not loopback,
            headers={"user-agent": "skerry"},
        )

    async def __aenter__(self) -> Registry:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def manifest(self, selector: str) -> tuple[bytes, str, str]:
        """A manifest or index by tag or digest: its bytes, media type and digest.

        Raises:
            EngineError: by what the registry answered; Invalid when the content is not what its digest says.
        """
        accept = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
        url = f"{self._endpoint}/v2/{self._repository}/manifests/{selector}"

        async def once() -> tuple[bytes, str, str]:
            async with self._get(url, {"accept": accept}) as response:
                content = await _small(response, _LARGEST_DOCUMENT)
                media_type = response.headers.get("content-type", "").split(";")[0].strip()
                stated = response.headers.get("docker-content-digest", "")
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            expected = selector if selector.startswith("sha256:") else stated
            if expected.startswith("sha256:"):
                check_digest(content, expected, "the manifest")
            return content, media_type, digest

        return await self._persist(once)

    async def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, such as an image's configuration, held in memory.

        Raises:
            EngineError: as for `manifest`.
        """
        if descriptor.size > _LARGEST_DOCUMENT:
            raise TooLarge("the image's configuration is absurdly large")

        async def once() -> bytes:
            async with self._get(self._blob_url(descriptor), {}) as response:
                content = await _small(response, _LARGEST_DOCUMENT)
            check_digest(content, descriptor.digest, "the image's configuration")
            return content

        return await self._persist(once)

    async def blob(self, descriptor: Descriptor, target: Path, progress: Callable[[int], None]) -> None:
        """Download a blob to a file, checking size and digest on the way.

        Args:
            descriptor: what to fetch.
            target: file to write.
            progress: told the number of bytes each time some arrived; negative when an attempt starts over.

        Raises:
            EngineError: as for `manifest`.
        """

        async def once() -> None:
            hasher = hashlib.sha256()
            count = 0
            try:
                async with self._get(self._blob_url(descriptor), {}) as response:
                    with await asyncio.to_thread(open, target, "wb") as file:
                        async for piece in pace.pieces(response, MIB, self._registry):
                            count += len(piece)
                            if count > descriptor.size:
                                raise Invalid(f"layer {descriptor.digest} is longer than its manifest says")
                            hasher.update(piece)
                            await asyncio.to_thread(file.write, piece)
                            progress(len(piece))
                if count < descriptor.size:
                    raise _Transient(Unavailable(f"layer {descriptor.digest} was cut off after {count} bytes"))
                actual = f"sha256:{hasher.hexdigest()}"
                if actual != descriptor.digest:
                    raise Invalid(f"layer {descriptor.digest} does not match its digest: got {actual}")
            except BaseException:
                progress(-count)
                raise

        await self._persist(once)

    def _blob_url(self, descriptor: Descriptor) -> str:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", descriptor.digest):
            raise Invalid(f"the image uses an unknown kind of digest: {descriptor.digest[:80]!r}")
        return f"{self._endpoint}/v2/{self._repository}/blobs/{descriptor.digest}"

    async def _persist(self, once: Callable[[], Awaitable[R]]) -> R:
        """Try again after failures that pass by themselves."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await once()
            except _Transient as transient:
                if attempt == (_SILENT_ATTEMPTS if transient.silent else _ATTEMPTS):
                    raise transient.error from transient.__cause__
            await asyncio.sleep(self._pause * 2 ** (attempt - 1))
        raise AssertionError("the loop above returns or raises")

    @asynccontextmanager
    async def _get(self, url: str, headers: dict[str, str]) -> AsyncIterator[httpx2.Response]:
        """The answer to a GET, authenticated when asked to be, redirects followed without the credentials."""
        import httpx2

        home = _origin(url)
        refreshed = False
        for _ in range(_MOST_REDIRECTS + 2):
            used = self._authorization
            sent = {"accept-encoding": "identity", **headers}
            if used is not None and _origin(url) == home:
                sent["authorization"] = used
            try:
                response = await self._client.send(self._client.build_request("GET", url, headers=sent), stream=True)
            except httpx2.TransportError as error:
                raise _failure(_origin(url), error) from error
            try:
                if response.status_code in REDIRECTS:
                    url = redirected(url, response.headers.get("location", ""))
                    continue
                if response.status_code == 401 and _origin(url) == home and not refreshed:
                    refreshed = True
                    await self._authenticate(response.headers.get_list("www-authenticate"), used)
                    continue
                if response.status_code != 200:
                    raise await self._refusal(response, _origin(url) == home)
                yield response
                return
            except httpx2.TransportError as error:
                raise _failure(_origin(url), error) from error
            finally:
                await response.aclose()
        raise Invalid(f"{self._registry} redirects in circles")

    async def _authenticate(self, challenges: list[str], used: str | None) -> None:
        """Get what the registry asks for; concurrent downloads share one token."""
        async with self._authorizing:
            if self._authorization != used:
                return
            offered = dict(map(parse_challenge, challenges))
            if "bearer" in offered:
                self._authorization = f"Bearer {await self._token(offered['bearer'])}"
            elif "basic" in offered and self._credentials is not None:
                self._authorization = _basic(self._credentials)
            else:
                raise Unauthorized(f"{self._registry} wants a user name and password for {self._repository}")

    async def _token(self, challenge: dict[str, str]) -> str:
        import httpx2

        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        trusted = parts.scheme == "https" or (
            parts.scheme == "http" and _is_loopback(parts.netloc) and self._endpoint.startswith("http://")
        )
        if not trusted or not parts.hostname:
            raise Invalid(f"{self._registry} names an unsafe place to log in: {realm[:200]!r}")
        query = {"scope": challenge.get("scope") or f"repository:{self._repository}:pull"}
        if challenge.get("service"):
            query["service"] = challenge["service"]
        headers = {"authorization": _basic(self._credentials)} if self._credentials else {}
        separator = "&" if parts.query else "?"
        try:
            request = self._client.build_request("GET", f"{realm}{separator}{urlencode(query)}", headers=headers)
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    raise await self._refusal(response, at_home=True)
                content = await _small(response, _LARGEST_TOKEN)
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise _failure(parts.netloc, error) from error
        try:
            answer = msgspec.json.decode(content, type=_Token)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Invalid(f"{parts.netloc} answered the log-in with something that is no token") from None
        token = answer.token or answer.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Invalid(f"{parts.netloc} answered the log-in with something that is no token")
        return token

    async def _refusal(self, response: httpx2.Response, at_home: bool) -> Exception:
        status = response.status_code
        said = _message(await _small(response, _LARGEST_DOCUMENT)) if at_home else ""
        about = f"{self._registry} answered {status} for {self._repository}" + (f": {said}" if said else "")
        if status >= 500 or status == 408:
            return _Transient(Unavailable(about))
        if status == 401:
            return Unauthorized(f"{about}; it does not exist, or needs other credentials")
        if status == 403:
            return Forbidden(about)
        if status == 404:
            return NotFound(about)
        if status == 429:
            return RateLimited(about, retry_after=_seconds(response.headers.get("retry-after", "")))
        return Invalid(about)


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Scheme, in lower case, and parameters of one `WWW-Authenticate` header.

    Example:
        >>> parse_challenge('Bearer realm="https://a/token",service="b"')
        ('bearer', {'realm': 'https://a/token', 'service': 'b'})
    """
    scheme, _, rest = header.strip().partition(" ")
    return scheme.lower(), {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}


async def _small(response: httpx2.Response, limit: int) -> bytes:
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > limit:
            raise TooLarge("the registry sent a document of absurd length")
    return bytes(content)


def _failure(place: str, error: httpx2.TransportError) -> Exception:
    """What to raise for a connection that failed; where none comes about in time, another try is no better."""
    import httpx2

    said = pace.trouble(place, error)
    if isinstance(error, httpx2.ConnectTimeout):
        return said
    return _Transient(said, silent=isinstance(error, httpx2.ReadTimeout))


def _message(content: bytes) -> str:
    """What a registry's error document says, on one line."""
    try:
        document = msgspec.json.decode(content)
        said = document["errors"][0]["message"]
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        return ""
    return " ".join(str(said).split())[:200]


def redirected(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        Invalid: nowhere, or from an encrypted address to one that is not.
    """
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if not location or new.scheme not in ("http", "https") or not new.hostname:
        raise Invalid(f"{old.netloc} redirects to nowhere: {location[:200]!r}")
    if old.scheme == "https" and new.scheme != "https":
        raise Invalid(f"{old.netloc} redirects to an unencrypted address")
    return target


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _endpoint(registry: str) -> str:
    if registry == DEFAULT_REGISTRY:
        return _DEFAULT_ENDPOINT
    return f"{'http' if _is_loopback(registry) else 'https'}://{registry}"


def _is_loopback(netloc: str) -> bool:
    """Whether a host is this machine, where Docker, too, speaks plain HTTP."""
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _basic(credentials: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
