"""What callers send, in the words of the network (section 3): bodies, list filters, and options of a call.

Bodies are plain mappings; these types are for editors and type checkers. A member that is left out stays out, None is
sent as `null` where that means something, and members unknown here are sent as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from skerry._kernel.options import Deadline

Task = Literal["BATCH", "PERSISTENT"]
FilterValue = str | int | float | bool | datetime | UUID | Sequence[str | int | float | datetime | UUID | None] | None
"""A filter's value: a list means any of these, or for numbers and times a range; either end of a range may be None."""

Words = str | Sequence[str] | None
Numbers = int | float | Sequence[int | float | None] | None
"""One number, or two for a range that includes both."""

Moments = str | Sequence[datetime | str | None] | None
"""Two moments: from the first on, up to but not including the second; either may be None."""


class Volume(TypedDict, total=False):
    """An image whose contents are mounted into the container."""

    mount: str
    image: str
    tag: str
    registry: str
    user: str
    secret: str


class DockerParameters(TypedDict, total=False):
    """What to run: an image by name and tag; there is no way to override its entry point."""

    image: str
    tag: str
    host: str
    user: str
    secret: str
    imagesrc: str
    sshkey: str
    allowed_ips: Sequence[str]
    ports: Sequence[int]
    env: Mapping[str, str]
    volumes: Sequence[Volume]


class JobParameters(TypedDict):
    """The container of a job; the only type is `docker`."""

    type: Literal["docker"]
    parameters: DockerParameters


class _JobFields(TypedDict, total=False):
    description: str | None
    cpu_count: int
    gpu_count: int
    min_ram_gb: int
    min_storage_gb: int
    min_vram_gb: int
    gpu_name: str
    gpu_registry_uuid: str
    max_timeout_run_ms: int | None
    max_timeout_assign_ms: int
    max_timeout_start_ms: int
    max_node_count: int
    max_retry_count: int
    allowed_region_codes: Sequence[str]


class JobInput(_JobFields):
    """Body of a job's creation (section 3.2); a BATCH job needs `max_timeout_run_ms`, at least 60000."""

    task: Task
    title: str
    parameters: JobParameters


class CookInput(_JobFields, total=False):
    """What to change when a recipe is cooked (section 3.4.2); everything may be left out."""

    task: Task
    title: str
    parameters: Mapping[str, Any]


class CancelInput(TypedDict, total=False):
    """Body of a cancellation."""

    reason: str


class JobRecipeInput(TypedDict):
    """Body of a recipe's creation (section 3.4)."""

    name: str
    payload: Mapping[str, Any]
    description: NotRequired[str | None]
    visibility: NotRequired[str]
    quickstart_md: NotRequired[str | None]
    input_schema: NotRequired[Sequence[Mapping[str, Any]] | None]
    thumbnail_url: NotRequired[str | None]


class JobRecipeUpdate(TypedDict, total=False):
    """What to change in a recipe."""

    name: str
    payload: Mapping[str, Any]
    description: str | None
    visibility: str
    quickstart_md: str | None
    input_schema: Sequence[Mapping[str, Any]] | None
    thumbnail_url: str | None


class ApiKeyInput(TypedDict, total=False):
    """Body of a key pair's creation (section 3.10): everything may be left out.

    Attributes:
        name: for people.
        preset: what it may do; `CONSUMER` unless given.
        allowed_ips: addresses and networks it may be used from; none means any.
        expires_at: RFC 3339; None for never.
    """

    name: str
    preset: Literal["CONSUMER", "COMPUTE_NODE"]
    allowed_ips: Sequence[str]
    expires_at: datetime | str | None


class SshPublicKeyInput(TypedDict):
    """Body of an SSH key's creation (section 3.7)."""

    public_key: str
    name: NotRequired[str]
    is_default: NotRequired[bool]


class SshPublicKeyUpdate(TypedDict, total=False):
    """What to change in an SSH key; a `name` of None clears it."""

    name: str | None
    is_default: bool


class CallOptions(TypedDict, total=False):
    """Options of one call (section 4.3).

    Attributes:
        headers: further headers; those that authenticate always win.
        timeout: seconds each try may take, None for no limit.
        retry: further tries after the first, in place of the client's number; 0 for exactly one try.
        cancel: ends the call when it is cancelled or passes, back-off included; the timeout holds all the same.
    """

    headers: Mapping[str, str]
    timeout: float | None
    retry: int
    cancel: Deadline


class WriteOptions(CallOptions, total=False):
    """Options of a call that changes something.

    Attributes:
        idempotency_key: 1 to 255 visible ASCII characters; the same key with the same body acts once in 24 hours.
    """

    idempotency_key: str


class ListOptions(CallOptions, total=False):
    """Parameters that all lists have (section 3.1).

    Attributes:
        page: which page, 1 for the first.
        limit: objects per page, 1 to 50, 20 by default.
        sort: `created_at` or `-created_at`, the latter by default.
        filter: filters by their name, for those that have no keyword of their own.
    """

    page: int | None
    limit: int | None
    sort: str | None
    filter: Mapping[str, FilterValue] | None


class _Dated(ListOptions, total=False):
    created_at: Moments
    uuid: Words


class JobFilters(_Dated, total=False):
    """Filters of jobs (section 3.2)."""

    status: Words
    task: Words
    cpu_count: Numbers
    gpu_count: Numbers
    min_ram_gb: Numbers
    min_storage_gb: Numbers
    min_vram_gb: Numbers
    source_recipe_uuid: Words


class JobRunFilters(_Dated, total=False):
    """Filters of job runs (section 3.3)."""

    job_uuid: Words
    status: Words
    node_uuid: Words


class JobRecipeFilters(_Dated, total=False):
    """Filters of recipes (section 3.4)."""

    is_official: bool | None
    visibility: Words
    name: str | None


class GpuFilters(ListOptions, total=False):
    """Filters of the GPU registry (section 3.5)."""

    only_available: bool | None
    min_vram_gb: Numbers
    gpu_name: Words
    uuid: Words


class RewardFilters(_Dated, total=False):
    """Filters of rewards (section 3.6)."""

    node_uuid: Words
    epoch_status: Words


class AuthorizationFilters(_Dated, total=False):
    """Filters of ledger authorizations (section 3.6)."""

    status: Words
    consumer_account_uuid: Words


class TransactionFilters(_Dated, total=False):
    """Filters of ledger transactions (section 3.6)."""

    type: Words
    job_run_uuid: Words
    authorization_uuid: Words
    consumer_account_uuid: Words


class ApiKeyFilters(_Dated, total=False):
    """Filters of API keys (section 3.10)."""


class SshPublicKeyFilters(_Dated, total=False):
    """Filters of SSH keys (section 3.7)."""
