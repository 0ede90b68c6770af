"""The caller's own GPU host as a provider: account, heartbeats, keys (sections 3.7 and 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.provider_earnings import AsyncProviderEarnings
from skerry.networks.dc1._async.provider_jobs import AsyncProviderJobs
from skerry.networks.dc1.config import SDK_VERSION
from skerry.networks.dc1.host import os_name
from skerry.networks.dc1.inputs import BeatInput, HeartbeatInput, PreferencesInput, ProviderRegisterInput
from skerry.networks.dc1.signing import HEARTBEAT_HEADER, sign_heartbeat

DAEMON_VERSION = f"sdk/{SDK_VERSION}"


class AsyncProviderHost(AsyncProviderJobs, AsyncProviderEarnings):
    """The caller's own GPU host; needs a provider's key."""

    async def register(
        self,
        name: str,
        email: str,
        gpu_model: str,
        *,
        os: str | None = None,
        options: RequestOptions | None = None,
        **more: Unpack[ProviderRegisterInput],
    ) -> models.ProviderRegistration:
        """Make a provider's account; needs no key, and this client goes on with the key it has (section 3.7).

        Args:
            name: 2 to 100 characters.
            email: where the provider can be reached; there is one account for each.
            gpu_model: as the maker calls it.
            os: `linux`, `windows`, `mac` or `darwin`; this machine's unless given.
            options: for this call.
            more: see `ProviderRegisterInput`; what is empty or None is left out.

        Raises:
            DC1ConflictError: the address has an account.
            DC1Error: the service refused or could not be reached.
        """
        # Empty is not given, as in the official SDK: deployed servers refuse `null`.
        told = {member: value for member, value in more.items() if value}
        body = {"name": name, "email": email, "gpu_model": gpu_model, "os": os or os_name(), **told}
        return await self._send(operations.HOST_REGISTER, body=body, options=options)

    async def me(self, *, options: RequestOptions | None = None) -> models.ProviderAccount:
        """The provider's own account; the key goes into the query too, as the official SDK sends it (section 4.3).

        Raises:
            AuthError: the key is not known.
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_ME, query={"key": self._key("provider")}, options=options)

    async def heartbeat(
        self, gpu_spec: Mapping[str, Any] | None = None, *, options: RequestOptions | None = None
    ) -> models.Heartbeat:
        """Say that the host is there, in the short form of the official SDK (section 4.3).

        Deployed servers refuse that form and want `daemon_heartbeat`.

        Args:
            gpu_spec: how the GPU is: `gpu_model`, `vram_mib`, `gpu_util_pct`, `vram_used_mib`, `temp_c`.
            options: for this call.

        Raises:
            DC1PermissionDeniedError: the provider is not approved yet.
            DC1Error: the service refused or could not be reached.
        """
        return await self._beat({"daemon_version": DAEMON_VERSION, "gpu_spec": gpu_spec or NOT_GIVEN}, options)

    async def announce(
        self, resource_spec: Mapping[str, Any], *, options: RequestOptions | None = None
    ) -> models.Heartbeat:
        """Say what the host has, in the form of the official SDK (section 4.3).

        Args:
            resource_spec: such as `gpu_model`, `vram_mib`, `cpu_cores`, `ram_mib`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._beat({"daemon_version": DAEMON_VERSION, "resource_spec": resource_spec}, options)

    async def daemon_heartbeat(
        self, *, options: RequestOptions | None = None, **report: Unpack[HeartbeatInput]
    ) -> models.Heartbeat:
        """Say that the host is there and how it is, as the network's daemon does every 30 s (section 3.7.1).

        Args:
            options: for this call.
            report: see `HeartbeatInput`.

        Raises:
            DC1PermissionDeniedError: the provider is not approved yet.
            DC1Error: the service refused or could not be reached.
        """
        return await self._beat({"api_key": self._key("provider"), **report}, options)

    async def _beat(self, body: Mapping[str, Any], options: RequestOptions | None) -> models.Heartbeat:
        content, secret = operations.json_body(body), self._channel.config.hmac_secret
        headers = () if secret is None else ((HEARTBEAT_HEADER, sign_heartbeat(secret, content)),)
        return await self._send(operations.HEARTBEAT, body=content, headers=headers, options=options)

    async def heartbeat_by_id(
        self, provider_id: int, *, options: RequestOptions | None = None, **report: Unpack[BeatInput]
    ) -> models.Heartbeat:
        """Say that the host is there, at its own address (section 3.7).

        Args:
            provider_id: the provider's own.
            report: see `BeatInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HEARTBEAT_BY_ID, provider_id, body=report, options=options)

    async def readiness(
        self,
        checks: Mapping[str, Any],
        *,
        daemon_version: str | None = None,
        options: RequestOptions | None = None,
    ) -> models.Readiness:
        """Report what the host found out about itself (section 3.7).

        Args:
            checks: `cuda`, `pytorch`, `vram_gb`, `driver`, `docker` ...
            daemon_version: of what reports.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        version = NOT_GIVEN if daemon_version is None else daemon_version
        body = {"api_key": self._key("provider"), "checks": checks, "daemon_version": version}
        return await self._send(operations.READINESS, body=body, options=options)

    async def status(self, *, options: RequestOptions | None = None) -> Any:
        """How the network sees the host (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_STATUS, options=options)

    async def self_test(self, *, options: RequestOptions | None = None) -> Any:
        """What the network still misses before work may come (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_SELF_TEST, options=options)

    async def metrics(self, *, options: RequestOptions | None = None) -> Any:
        """Measurements of the host (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_METRICS, options=options)

    async def pause(self, *, options: RequestOptions | None = None) -> models.Done:
        """Take no more work (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_PAUSE, body={"key": self._key("provider")}, options=options)

    async def resume(self, *, options: RequestOptions | None = None) -> models.Done:
        """Take work again (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_RESUME, body={"key": self._key("provider")}, options=options)

    async def preferences(
        self, *, options: RequestOptions | None = None, **wishes: Unpack[PreferencesInput]
    ) -> models.Preferences:
        """When and how far the host lets itself be used (section 3.7).

        Args:
            wishes: see `PreferencesInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PREFERENCES, body={"key": self._key("provider"), **wishes}, options=options)

    async def go_online(
        self, provider_id: int, *, options: RequestOptions | None = None, **host: Any
    ) -> models.Presence:
        """Be there from now on, without waiting for approval (section 3.7).

        Args:
            provider_id: the provider's own.
            host: such as `loaded_models`, sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.GO_ONLINE, provider_id, body=host, options=options)

    async def go_offline(self, provider_id: int, *, options: RequestOptions | None = None) -> models.Presence:
        """Be away from now on (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.GO_OFFLINE, provider_id, body={}, options=options)

    async def gpu_profile(self, *, options: RequestOptions | None = None, **profile: Any) -> Any:
        """Say what the GPU is (section 3.7).

        Args:
            profile: sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.GPU_PROFILE, body=profile, options=options)

    async def wallet(self, wallet_address: str, *, options: RequestOptions | None = None) -> Any:
        """Where payouts go (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_WALLET, body={"wallet_address": wallet_address}, options=options)

    async def create_key(
        self, provider_id: int, *, label: str | None = None, options: RequestOptions | None = None
    ) -> models.Key:
        """Make a key beside the account's; it is shown this once (section 3.7).

        Args:
            provider_id: the provider's own.
            label: what to call it.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.HOST_KEY_CREATE, provider_id, body={} if label is None else {"label": label}, options=options
        )

    async def list_keys(self, provider_id: int, *, options: RequestOptions | None = None) -> models.KeyListing:
        """The keys of an account, without the keys themselves (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_KEY_LIST, provider_id, options=options)

    async def revoke_key(self, provider_id: int, key_id: str, *, options: RequestOptions | None = None) -> models.Done:
        """Revoke a key (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_KEY_REVOKE, provider_id, key_id, options=options)

    async def rotate_key(self, *, options: RequestOptions | None = None) -> models.NewKey:
        """Replace the key this client has; it is dead at once, so make a new client (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_ROTATE, options=options)

    async def benchmark(self, provider_id: int, *, options: RequestOptions | None = None, **measured: Any) -> Any:
        """Report how fast the host is (section 3.7).

        Args:
            provider_id: the provider's own.
            measured: sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.BENCHMARK, provider_id, body=measured, options=options)

    async def verifications(self, *, options: RequestOptions | None = None) -> Any:
        """What the network wants proven about the GPU (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.VERIFICATIONS, options=options)

    async def submit_verification(self, *, options: RequestOptions | None = None, **proof: Any) -> Any:
        """Answer what the network wants proven (section 3.7).

        Args:
            proof: sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SUBMIT_VERIFICATION, body=proof, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawProviderHost:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawProviderHost(self)


class AsyncRawProviderHost:
    """The methods of `AsyncProviderHost`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncProviderHost) -> None:
        self.claim = async_raw(resource.claim)
        self.claim_by_path = async_raw(resource.claim_by_path)
        self.assigned = async_raw(resource.assigned)
        self.queue = async_raw(resource.queue)
        self.get_jobs = async_raw(resource.get_jobs)
        self.verify_hmac = async_raw(resource.verify_hmac)
        self.verify_hmac_local = async_raw(resource.verify_hmac_local)
        self.progress = async_raw(resource.progress)
        self.write_logs = async_raw(resource.write_logs)
        self.write_log = async_raw(resource.write_log)
        self.endpoint_ready = async_raw(resource.endpoint_ready)
        self.job_result = async_raw(resource.job_result)
        self.result = async_raw(resource.result)
        self.fail = async_raw(resource.fail)
        self.job = async_raw(resource.job)
        self.dispatch_complete = async_raw(resource.dispatch_complete)
        self.dispatch_fail = async_raw(resource.dispatch_fail)
        self.daemon_event = async_raw(resource.daemon_event)
        self.event = async_raw(resource.event)
        self.register = async_raw(resource.register)
        self.me = async_raw(resource.me)
        self.heartbeat = async_raw(resource.heartbeat)
        self.announce = async_raw(resource.announce)
        self.daemon_heartbeat = async_raw(resource.daemon_heartbeat)
        self.heartbeat_by_id = async_raw(resource.heartbeat_by_id)
        self.readiness = async_raw(resource.readiness)
        self.status = async_raw(resource.status)
        self.self_test = async_raw(resource.self_test)
        self.metrics = async_raw(resource.metrics)
        self.pause = async_raw(resource.pause)
        self.resume = async_raw(resource.resume)
        self.preferences = async_raw(resource.preferences)
        self.go_online = async_raw(resource.go_online)
        self.go_offline = async_raw(resource.go_offline)
        self.gpu_profile = async_raw(resource.gpu_profile)
        self.wallet = async_raw(resource.wallet)
        self.get_earnings = async_raw(resource.get_earnings)
        self.job_history = async_raw(resource.job_history)
        self.earnings_daily = async_raw(resource.earnings_daily)
        self.earnings_history = async_raw(resource.earnings_history)
        self.daemon_logs = async_raw(resource.daemon_logs)
        self.withdrawals = async_raw(resource.withdrawals)
        self.withdrawal_history = async_raw(resource.withdrawal_history)
        self.withdraw = async_raw(resource.withdraw)
        self.withdraw_by_method = async_raw(resource.withdraw_by_method)
        self.payout = async_raw(resource.payout)
        self.create_key = async_raw(resource.create_key)
        self.list_keys = async_raw(resource.list_keys)
        self.revoke_key = async_raw(resource.revoke_key)
        self.rotate_key = async_raw(resource.rotate_key)
        self.benchmark = async_raw(resource.benchmark)
        self.verifications = async_raw(resource.verifications)
        self.submit_verification = async_raw(resource.submit_verification)
