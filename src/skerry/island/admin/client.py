"""A small typed client of the owner's API (`/_island/v1`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec

from skerry import errors
from skerry.island.admin import models

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T", bound=msgspec.Struct)

_ERRORS: dict[str, type[errors.SkerryError]] = {
    "unauthorized": errors.AuthenticationError,
    "forbidden": errors.PermissionDeniedError,
    "not_found": errors.NotFoundError,
    "unknown_image": errors.NotFoundError,
    "invalid": errors.InvalidRequestError,
    "too_large": errors.PayloadTooLargeError,
    "conflict": errors.ConflictError,
    "busy": errors.BusyError,
    "payment_required": errors.PaymentRequiredError,
    "no_capacity": errors.NoCapacityError,
    "unsupported": errors.UnsupportedError,
    "rate_limited": errors.RateLimitedError,
    "unavailable": errors.UnavailableError,
}


class Admin:
    """The owner's API of one island.

    Args:
        url: the island's address, such as `http://127.0.0.1:4242`.
        key: the text of `owner.key` in its data directory.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/_island/v1"
        self._key = key
        self._http: httpx2.Client | None = None

    def island(self) -> models.IslandView:
        """Version, capacity, balance and counts."""
        return self._get("/island", models.IslandView)

    def images(self) -> list[models.ImageView]:
        """Every local image."""
        return self._get("/images", models.ImageList).images

    def pull(self, reference: str) -> Iterator[models.ImageEvent]:
        """Fetch an image from a registry, with its progress."""
        return self._image_events("/images/pull", models.PullImage(reference))

    def image(self, name: str) -> models.ImageView:
        """One local image."""
        return self._get(f"/images/{_segment(name, 'an image name')}", models.ImageView)

    def build(
        self,
        suite: str,
        packages: list[str],
        name: str | None = None,
        program: models.ProgramChoice = models.ProgramChoice(),  # noqa: B008
    ) -> Iterator[models.ImageEvent]:
        """Build an image from Debian packages."""
        return self._image_events("/images/build", models.BuildImage(suite, packages, name, program))

    def import_tar(
        self,
        path: Path,
        name: str,
        program: models.ProgramChoice = models.ProgramChoice(),  # noqa: B008
    ) -> Iterator[models.ImageEvent]:
        """Make an image of a tar on this machine."""
        return self._image_events("/images/import", models.ImportImage(str(path.absolute()), name, program))

    def define(
        self, name: str, source: str, program: models.ProgramChoice, files: list[tuple[Path, str]]
    ) -> Iterator[models.ImageEvent]:
        """Make an image of another's files, with another program and files of this machine."""
        placed = [(str(path.absolute()), inside) for path, inside in files]
        return self._image_events("/images/define", models.DefineImage(name, source, program, placed))

    def remove_image(self, name: str) -> None:
        """Delete a local image."""
        self._send("DELETE", f"/images/{_segment(name, 'an image name')}")

    def runs(self, *, sandbox: str | None = None, limit: int = 100) -> list[models.RunView]:
        """Runs, newest first."""
        query = {"limit": str(limit), **({"sandbox": sandbox} if sandbox else {})}
        return self._get("/runs", models.RunList, query).runs

    def run(self, run_id: str) -> models.RunView:
        """One run."""
        return self._get(f"/runs/{_segment(run_id, 'a run id')}", models.RunView)

    def events(
        self, run_id: str, *, follow: bool = True, stdout: int = 0, stderr: int = 0
    ) -> Iterator[models.RunEvent]:
        """Output of a run from the given byte offsets as it appears; the last event carries the run."""
        query = {"follow": "1" if follow else "0", "stdout": str(stdout), "stderr": str(stderr)}
        return self._lines("GET", f"/runs/{_segment(run_id, 'a run id')}/events", models.RunEvent, query=query)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _client(self) -> httpx2.Client:
        if self._http is None:
            import httpx2

            # The island is on this machine: no proxy stands between, whatever the environment says.
            self._http = httpx2.Client(
                headers={"authorization": f"Bearer {self._key}"}, timeout=httpx2.Timeout(30.0), trust_env=False
            )
        return self._http

    def _get(self, path: str, kind: type[T], query: dict[str, str] | None = None) -> T:
        return msgspec.json.decode(self._send("GET", path, query=query), type=kind)

    def _send(self, method: str, path: str, *, query: dict[str, str] | None = None) -> bytes:
        import httpx2

        try:
            response = self._client.request(method, self._url + path, params=query)
        except httpx2.TransportError as error:
            raise self._gone(error) from error
        if response.is_error:
            raise _refusal(response.status_code, response.content)
        return response.content

    def _lines(
        self, method: str, path: str, kind: type[T], *, query: dict[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[T]:
        import httpx2

        # A quiet stream is not a dead one: only connecting is bounded.
        timeout = httpx2.Timeout(30.0, read=None)
        try:
            with self._client.stream(method, self._url + path, params=query, content=body, timeout=timeout) as answer:
                if answer.is_error:
                    raise _refusal(answer.status_code, answer.read())
                for line in answer.iter_lines():
                    yield msgspec.json.decode(line, type=kind)
        except httpx2.TransportError as error:
            raise self._gone(error) from error

    def _image_events(self, path: str, body: msgspec.Struct) -> Iterator[models.ImageEvent]:
        for event in self._lines("POST", path, models.ImageEvent, body=msgspec.json.encode(body)):
            if event.error:
                raise _error(event.error)
            yield event

    def _gone(self, error: Exception) -> errors.ConnectionFailedError:
        return errors.ConnectionFailedError(f"the island at {self._url} does not answer: {error}", outcome="unknown")


def _segment(value: str, what: str) -> str:
    if not value:
        # The path that is left would name something else.
        raise errors.InvalidRequestError(f"{what} must not be empty")
    return quote(value, safe="")


def _refusal(status: int, body: bytes) -> errors.SkerryError:
    try:
        failure = msgspec.json.decode(body, type=models.Failure)
    except msgspec.DecodeError:
        return errors.ServerError(f"the island answered {status} without saying why", status=status, body=body)
    return _error(failure, status)


def _error(failure: models.Failure, status: int | None = None) -> errors.SkerryError:
    kind = _ERRORS.get(failure.code, errors.ServerError)
    return kind(failure.message, network="island", code=failure.code, status=status)
