"""Prices, models, templates and images, which anybody may look at (section 3.6)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.inputs import JobType, PricingClass

ModelList = list[models.CatalogueModel]
TemplateList = list[models.Template]


class AsyncPricing(AsyncResource):
    """Prices."""

    async def tiers(self, *, options: RequestOptions | None = None) -> models.PriceTiers:
        """Prices by GPU and pricing class; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TIERS, options=options)

    async def estimate(
        self,
        *,
        job_type: JobType | str | None = None,
        duration_minutes: float | None = None,
        gpu_model: str | None = None,
        pricing_class: PricingClass | None = None,
        options: RequestOptions | None = None,
        **query: Any,
    ) -> models.Estimate:
        """What a job would cost, by the server's own reckoning; the hosted service has no such route (section 3.6).

        `skerry.networks.dc1.pricing.hold_for` works it out without asking.

        Args:
            job_type: what kind of work.
            duration_minutes: how long at most.
            gpu_model: on which GPU.
            pricing_class: how urgent.
            options: for this call.
            query: further parameters, such as `model` and `max_tokens`.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        parameters = {
            "job_type": job_type,
            "duration_minutes": duration_minutes,
            "gpu_model": gpu_model,
            "pricing_class": pricing_class,
            **query,
        }
        return await self._send(operations.ESTIMATE, query=parameters, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawPricing:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawPricing(self)


class AsyncRawPricing:
    """The methods of `AsyncPricing`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncPricing) -> None:
        self.tiers = async_raw(resource.tiers)
        self.estimate = async_raw(resource.estimate)


class AsyncModels(AsyncResource):
    """Models that can be served."""

    async def list(self, *, options: RequestOptions | None = None) -> ModelList:
        """The models that providers can serve; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MODEL_LIST, options=options)

    async def get(self, model_id: str, *, options: RequestOptions | None = None) -> models.CatalogueModel:
        """One model; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MODEL_GET, model_id, options=options)

    async def view(
        self,
        view: Literal["benchmarks", "cards", "catalog", "compare", "portfolio-readiness"],
        *,
        options: RequestOptions | None = None,
    ) -> Any:
        """The models in another view; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MODEL_VIEW, view, options=options)

    async def estimate(
        self, model_id: str, *, duration_minutes: float | None = None, options: RequestOptions | None = None
    ) -> models.DeployEstimate:
        """What serving a model would cost; needs no key (section 3.6).

        Args:
            model_id: such as `mistralai/Mistral-7B-Instruct-v0.2`.
            duration_minutes: how long.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.MODEL_ESTIMATE, model_id, query={"duration_minutes": duration_minutes}, options=options
        )

    async def deploy(self, model_id: str, *, options: RequestOptions | None = None, **wishes: Any) -> Any:
        """Have a model served: makes a job (section 3.6).

        Args:
            model_id: which one.
            wishes: such as `duration_minutes`, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MODEL_DEPLOY, model_id, body=wishes, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawModels:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawModels(self)


class AsyncRawModels:
    """The methods of `AsyncModels`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncModels) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.view = async_raw(resource.view)
        self.estimate = async_raw(resource.estimate)
        self.deploy = async_raw(resource.deploy)


class AsyncTemplates(AsyncResource):
    """Jobs that are filled in beforehand."""

    async def list(self, *, options: RequestOptions | None = None) -> TemplateList:
        """Jobs that are filled in beforehand; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TEMPLATE_LIST, options=options)

    async def get(self, template_id: str, *, options: RequestOptions | None = None) -> models.Template:
        """One template; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TEMPLATE_GET, template_id, options=options)

    async def whitelist(self, *, options: RequestOptions | None = None) -> Any:
        """Images that templates may use; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TEMPLATE_WHITELIST, options=options)

    async def bundles(self, *, options: RequestOptions | None = None) -> Any:
        """Templates that go together; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TEMPLATE_BUNDLES, options=options)

    async def deploy(self, template_id: str, *, options: RequestOptions | None = None, **wishes: Any) -> Any:
        """Submit a template as a job (section 3.6).

        Args:
            template_id: which one.
            wishes: such as `duration_minutes`, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TEMPLATE_DEPLOY, template_id, body=wishes, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawTemplates:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawTemplates(self)


class AsyncRawTemplates:
    """The methods of `AsyncTemplates`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncTemplates) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.whitelist = async_raw(resource.whitelist)
        self.bundles = async_raw(resource.bundles)
        self.deploy = async_raw(resource.deploy)


class AsyncContainers(AsyncResource):
    """Images."""

    async def registry(self, *, options: RequestOptions | None = None) -> models.ContainerImages:
        """The images that jobs may use; needs no key (section 3.6).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.REGISTRY, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawContainers:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawContainers(self)


class AsyncRawContainers:
    """The methods of `AsyncContainers`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncContainers) -> None:
        self.registry = async_raw(resource.registry)


class AsyncSystem(AsyncResource):
    """The service itself."""

    async def service(self, *, options: RequestOptions | None = None) -> Any:
        """What answers there, and which version of it; needs no key (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SERVICE, options=options)

    async def health(self, *, options: RequestOptions | None = None) -> Any:
        """Whether the service is well; needs no key (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HEALTH, options=options)

    async def daemon_version(self, *, options: RequestOptions | None = None) -> Any:
        """The newest version of the providers' daemon; needs no key (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.DAEMON_VERSION, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawSystem:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawSystem(self)


class AsyncRawSystem:
    """The methods of `AsyncSystem`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncSystem) -> None:
        self.service = async_raw(resource.service)
        self.health = async_raw(resource.health)
        self.daemon_version = async_raw(resource.daemon_version)
