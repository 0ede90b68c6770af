"""Job recipes: the `job_recipes` object of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import (
    CallOptions,
    CookInput,
    JobRecipeFilters,
    JobRecipeInput,
    JobRecipeUpdate,
    WriteOptions,
)
from skerry.networks.dispersed.models import Job, JobRecipe
from skerry.networks.dispersed.queries import Parameters


class AsyncJobRecipes(AsyncResource):
    """Saved templates of jobs."""

    async def list(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobRecipeFilters]
    ) -> AsyncPage[JobRecipe]:
        """The account's recipes and the public ones (section 3.4).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `JobRecipeFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_job_recipes, JobRecipeFilters, params, options, query)

    async def iter_all(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobRecipeFilters]
    ) -> AsyncIterator[JobRecipe]:
        """Every one of the recipes that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    async def get(self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> JobRecipe:
        """One recipe (section 3.4).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_job_recipe(self._base_url, uuid), options, call)

    async def create(
        self,
        input: JobRecipeInput | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> JobRecipe:
        """Save a recipe (section 3.4).

        Args:
            input: the recipe; its `payload` is a job.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.create_job_recipe(self._base_url, input), options, call)

    async def update(
        self,
        uuid: str,
        input: JobRecipeUpdate | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> JobRecipe:
        """Change a recipe (section 3.4).

        Args:
            input: what to change; None clears.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such.
            DispersedPermissionDeniedError: it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.update_job_recipe(self._base_url, uuid, input), options, call)

    async def delete(self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[WriteOptions]) -> None:
        """Delete a recipe (section 3.4).

        Args:
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such.
            DispersedPermissionDeniedError: it is another account's.
            DispersedError: anything else went wrong.
        """
        await self._send(operations.delete_job_recipe(self._base_url, uuid), options, call)

    async def fork(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[WriteOptions]
    ) -> JobRecipe:
        """Copy a recipe into the caller's account (section 3.4).

        Args:
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.fork_job_recipe(self._base_url, uuid), options, call)

    async def cook(
        self,
        uuid: str,
        input: CookInput | Mapping[str, Any] | None = None,
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> Job:
        """Make a job of a recipe (section 3.4.2).

        Args:
            input: what to change for this job.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedInvalidRequestError: a field is wrong, or the recipe wants an answer it did not get.
            DispersedConflictError: the recipe is archived.
            DispersedPaymentRequiredError: there is no credit left to spend.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.cook_job_recipe(self._base_url, uuid, input), options, call)

    async def create_from_job(
        self, job_uuid: str, *, options: RequestOptions | None = None, **call: Unpack[WriteOptions]
    ) -> JobRecipe:
        """Save a job as a private recipe, without its secrets (section 3.4).

        Args:
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.create_job_recipe_from_job(self._base_url, job_uuid), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawJobRecipes:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawJobRecipes(self)


class AsyncRawJobRecipes:
    """The methods of `AsyncJobRecipes`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncJobRecipes) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.create = async_raw(resource.create)
        self.update = async_raw(resource.update)
        self.delete = async_raw(resource.delete)
        self.fork = async_raw(resource.fork)
        self.cook = async_raw(resource.cook)
        self.create_from_job = async_raw(resource.create_from_job)
