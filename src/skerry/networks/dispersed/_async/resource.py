"""What the resources of the client share: sending with merged options, and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from itertools import count
from typing import Any, Generic, TypeVar

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.dialect import Call
from skerry._kernel.model import Model
from skerry._kernel.options import RequestOptions, within
from skerry.networks.dispersed.answers import Listing
from skerry.networks.dispersed.inputs import CallOptions, ListOptions
from skerry.networks.dispersed.polling import poll_wait
from skerry.networks.dispersed.queries import (
    Pairs,
    Parameters,
    call_options,
    keyed,
    list_parameters,
    on_page,
    unknown_options,
)

T = TypeVar("T")
M = TypeVar("M", bound=Model)


class AsyncPage(Generic[M]):
    """One page of a list, and the way to those that follow.

    Iterating yields the objects of this page, then those of the following pages, which are asked for only when they
    are reached. `data` holds the objects of this page alone.
    """

    def __init__(
        self,
        driver: AsyncDriver,
        build: Callable[[str, Pairs], Call[Listing[M]]],
        base_url: str,
        parameters: Pairs,
        options: RequestOptions,
        listing: Listing[M],
    ) -> None:
        self._driver = driver
        self._build = build
        self._base_url = base_url
        self._parameters = parameters
        self._options = options
        self._listing = listing

    @property
    def data(self) -> list[M]:
        """The objects of this page."""
        return self._listing.data

    @property
    def page(self) -> int:
        """Which page this is, 1 for the first."""
        return self._listing.page

    @property
    def limit(self) -> int:
        """Objects per page."""
        return self._listing.limit

    @property
    def total(self) -> int:
        """Objects in all pages together, when this page was fetched."""
        return self._listing.total

    @property
    def has_next(self) -> bool:
        """Whether there is a page after this one."""
        return self._listing.has_next

    @property
    def raw(self) -> Any:
        """The envelope as received, unknown members included."""
        return self._listing.raw

    async def next_page(self) -> AsyncPage[M] | None:
        """The page after this one, None after the last.

        Raises:
            ApiError: the service refused.
            DispersedError: anything else went wrong.
        """
        if not self.has_next:
            return None
        parameters = on_page(self._parameters, self.page + 1)
        listing = await self._driver.send(self._build(self._base_url, parameters), self._options)
        return AsyncPage(self._driver, self._build, self._base_url, parameters, self._options, listing)

    async def __aiter__(self) -> AsyncIterator[M]:
        page: AsyncPage[M] | None = self
        while page is not None:
            for item in page.data:
                yield item
            page = await page.next_page()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(page={self.page}, {len(self.data)} of {self.total})"


class AsyncResource:
    """A group of calls of one client."""

    def __init__(self, driver: AsyncDriver, base_url: str) -> None:
        self._driver = driver
        self._base_url = base_url

    async def _send(self, call: Call[T], options: RequestOptions | None, given: CallOptions) -> T:
        unknown_options(given)
        chosen = call_options(options, given)
        return await self._driver.send(keyed(call, chosen), chosen)

    async def _list(
        self,
        build: Callable[[str, Pairs], Call[Listing[M]]],
        kind: type[ListOptions],
        parameters: Parameters,
        options: RequestOptions | None,
        given: ListOptions,
    ) -> AsyncPage[M]:
        pairs = list_parameters(kind, parameters, given)
        chosen = call_options(options, given)
        listing = await self._driver.send(build(self._base_url, pairs), chosen)
        return AsyncPage(self._driver, build, self._base_url, pairs, chosen, listing)

    async def _ended(
        self,
        get: Callable[..., Any],
        uuid: str,
        until: str | Collection[str],
        timeout: float | None,
        on_change: Callable[[Any], object] | None,
        options: RequestOptions | None,
    ) -> Any:
        """Ask for something by `get` until it has ended, or is in one of the states waited for."""
        wanted = {until} if isinstance(until, str) else set(until)
        outer = options.deadline if options else None
        with within(timeout, outer, clock=self._driver.effects.monotonic) as deadline:
            chosen = RequestOptions(deadline=deadline).over(options)
            last: str | None = None
            for asked in count():
                found = await get(uuid, options=chosen)
                if on_change is not None and (not asked or found.status != last):
                    on_change(found)
                last = found.status
                if found.is_terminal or last in wanted:
                    return found
                await self._driver.pause(poll_wait(asked), deadline)
        raise AssertionError("the loop above only ends by returning or raising")
