"""Every documented call of Dispersed: the table (section 3.0), and for each call a pure function that builds it.

A builder takes the base URL and the call's own arguments, and gives a `Call` that any driver can carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from skerry._kernel.dialect import Call, Operation
from skerry._kernel.model import NOT_GIVEN, Model
from skerry._kernel.request import Headers, Response
from skerry._kernel.retry import Safety
from skerry.errors import InvalidRequestError
from skerry.networks.dispersed import inputs, models
from skerry.networks.dispersed.answers import Listing, listing, nothing, plain, reader
from skerry.networks.dispersed.canonical import canonical_json, canonical_query, quoted
from skerry.networks.dispersed.queries import Pairs, Parameters

T = TypeVar("T")
M = TypeVar("M", bound=Model)

JSON: Headers = (("content-type", "application/json"),)

GET_ME = Operation(
    "accounts.get_me", "GET", "/v1/accounts/me", "idempotent", models.Account, summary="The caller's account"
)
GET_BALANCE = Operation(
    "accounts.get_balance",
    "GET",
    "/v1/accounts/{uuid}/balance",
    "idempotent",
    models.AccountBalance,
    summary="Credit of an account",
)
GET_SPEND_SUMMARY = Operation(
    "accounts.get_spend_summary",
    "GET",
    "/v1/accounts/{uuid}/spend-summary",
    "idempotent",
    models.AccountSpendSummary,
    summary="What an account has spent",
)
GET_CONSUMER_SUMMARY = Operation(
    "accounts.get_consumer_summary",
    "GET",
    "/v1/accounts/{uuid}/consumer-summary",
    "idempotent",
    models.AccountConsumerSummary,
    summary="What an account has used",
)
LIST_JOBS = Operation("jobs.list", "GET", "/v1/jobs", "idempotent", list[models.Job], summary="List jobs")
GET_JOB = Operation("jobs.get", "GET", "/v1/jobs/{uuid}", "idempotent", models.Job, summary="One job")
CREATE_JOB = Operation(
    "jobs.create", "POST", "/v1/jobs", "unsafe", models.Job, inputs.JobInput, keyed=True, summary="Submit a job"
)
CANCEL_JOB = Operation(
    "jobs.cancel",
    "PUT",
    "/v1/jobs/{uuid}/cancel",
    "idempotent",
    models.Job,
    inputs.CancelInput,
    keyed=True,
    summary="Cancel a job",
)
LIST_JOB_RUNS = Operation(
    "job_runs.list", "GET", "/v1/job-runs", "idempotent", list[models.JobRun], summary="List job runs"
)
GET_JOB_RUN = Operation(
    "job_runs.get", "GET", "/v1/job-runs/{uuid}", "idempotent", models.JobRun, summary="One job run, with its logs"
)
CANCEL_JOB_RUN = Operation(
    "job_runs.cancel",
    "PUT",
    "/v1/job-runs/{uuid}/cancel",
    "idempotent",
    models.JobRun,
    inputs.CancelInput,
    keyed=True,
    summary="Cancel a job run",
)
GET_COST_SUMMARY = Operation(
    "job_runs.get_cost_summary",
    "GET",
    "/v1/job-runs/{uuid}/cost-summary",
    "idempotent",
    models.CostSummary,
    summary="What a job run has cost",
)
LIST_JOB_RECIPES = Operation(
    "job_recipes.list", "GET", "/v1/job-recipes", "idempotent", list[models.JobRecipe], summary="List recipes"
)
GET_JOB_RECIPE = Operation(
    "job_recipes.get", "GET", "/v1/job-recipes/{uuid}", "idempotent", models.JobRecipe, summary="One recipe"
)
CREATE_JOB_RECIPE = Operation(
    "job_recipes.create",
    "POST",
    "/v1/job-recipes",
    "unsafe",
    models.JobRecipe,
    inputs.JobRecipeInput,
    keyed=True,
    summary="Save a recipe",
)
UPDATE_JOB_RECIPE = Operation(
    "job_recipes.update",
    "PATCH",
    "/v1/job-recipes/{uuid}",
    "idempotent",
    models.JobRecipe,
    inputs.JobRecipeUpdate,
    keyed=True,
    summary="Change a recipe",
)
DELETE_JOB_RECIPE = Operation(
    "job_recipes.delete", "DELETE", "/v1/job-recipes/{uuid}", "idempotent", None, keyed=True, summary="Delete a recipe"
)
FORK_JOB_RECIPE = Operation(
    "job_recipes.fork",
    "POST",
    "/v1/job-recipes/{uuid}/fork",
    "unsafe",
    models.JobRecipe,
    keyed=True,
    summary="Copy a recipe into the caller's account",
)
COOK_JOB_RECIPE = Operation(
    "job_recipes.cook",
    "POST",
    "/v1/job-recipes/{uuid}/cook",
    "unsafe",
    models.Job,
    inputs.CookInput,
    keyed=True,
    summary="Make a job of a recipe",
)
CREATE_JOB_RECIPE_FROM_JOB = Operation(
    "job_recipes.create_from_job",
    "POST",
    "/v1/job-recipes/from-job/{job_uuid}",
    "unsafe",
    models.JobRecipe,
    keyed=True,
    summary="Save a job as a recipe",
)
LIST_GPUS = Operation(
    "gpu_registry.list",
    "GET",
    "/v1/gpu-registry",
    "idempotent",
    list[models.GpuRegistryEntry],
    summary="List models of GPUs",
)
LIST_REWARDS = Operation(
    "compute.rewards", "GET", "/v1/compute/rewards", "idempotent", list[models.Reward], summary="List what nodes earned"
)
LIST_AUTHORIZATIONS = Operation(
    "compute.ledger_authorizations",
    "GET",
    "/v1/compute/ledger/authorizations",
    "idempotent",
    list[models.LedgerAuthorization],
    summary="List holds on credit",
)
LIST_TRANSACTIONS = Operation(
    "compute.ledger_transactions",
    "GET",
    "/v1/compute/ledger/transactions",
    "idempotent",
    list[models.LedgerTransaction],
    summary="List movements of credit",
)
# Outside the seed's SDK (section 3.10): the hosted service makes keys in its console only.
LIST_API_KEYS = Operation(
    "api_keys.list", "GET", "/v1/api-keys", "idempotent", list[models.ApiKey], summary="List API keys (not hosted)"
)
CREATE_API_KEY = Operation(
    "api_keys.create",
    "POST",
    "/v1/api-keys",
    "unsafe",
    models.CreatedApiKey,
    inputs.ApiKeyInput,
    keyed=True,
    summary="Make an API key (not hosted)",
)
REVOKE_API_KEY = Operation(
    "api_keys.revoke",
    "PUT",
    "/v1/api-keys/{uuid}/revoke",
    "idempotent",
    models.ApiKey,
    keyed=True,
    summary="Revoke an API key",
)
LIST_SSH_PUBLIC_KEYS = Operation(
    "ssh_public_keys.list",
    "GET",
    "/v1/ssh-public-keys",
    "idempotent",
    list[models.SshPublicKey],
    summary="List SSH keys",
)
CREATE_SSH_PUBLIC_KEY = Operation(
    "ssh_public_keys.create",
    "POST",
    "/v1/ssh-public-keys",
    "unsafe",
    models.SshPublicKey,
    inputs.SshPublicKeyInput,
    keyed=True,
    summary="Store an SSH key",
)
UPDATE_SSH_PUBLIC_KEY = Operation(
    "ssh_public_keys.update",
    "PATCH",
    "/v1/ssh-public-keys/{uuid}",
    "idempotent",
    models.SshPublicKey,
    inputs.SshPublicKeyUpdate,
    keyed=True,
    summary="Change an SSH key",
)
DELETE_SSH_PUBLIC_KEY = Operation(
    "ssh_public_keys.delete",
    "DELETE",
    "/v1/ssh-public-keys/{uuid}",
    "idempotent",
    None,
    keyed=True,
    summary="Delete an SSH key",
)
OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        GET_ME,
        GET_BALANCE,
        GET_SPEND_SUMMARY,
        GET_CONSUMER_SUMMARY,
        LIST_JOBS,
        GET_JOB,
        CREATE_JOB,
        CANCEL_JOB,
        LIST_JOB_RUNS,
        GET_JOB_RUN,
        CANCEL_JOB_RUN,
        GET_COST_SUMMARY,
        LIST_JOB_RECIPES,
        GET_JOB_RECIPE,
        CREATE_JOB_RECIPE,
        UPDATE_JOB_RECIPE,
        DELETE_JOB_RECIPE,
        FORK_JOB_RECIPE,
        COOK_JOB_RECIPE,
        CREATE_JOB_RECIPE_FROM_JOB,
        LIST_GPUS,
        LIST_REWARDS,
        LIST_AUTHORIZATIONS,
        LIST_TRANSACTIONS,
        LIST_API_KEYS,
        CREATE_API_KEY,
        REVOKE_API_KEY,
        LIST_SSH_PUBLIC_KEYS,
        CREATE_SSH_PUBLIC_KEY,
        UPDATE_SSH_PUBLIC_KEY,
        DELETE_SSH_PUBLIC_KEY,
    )
}
"""All calls of the API by name."""


def segment(value: str, name: str = "uuid") -> str:
    """One path segment with every reserved character escaped, so that an id can name nothing but itself.

    Raises:
        InvalidRequestError: it is empty, or has no UTF-8 form (also a ValueError).
        TypeError: it is no text.

    Example:
        >>> segment("a/b"), segment("..")
        ('a%2Fb', '%2E%2E')
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r}")
    if not value:
        raise InvalidRequestError(f"{name} must not be empty", network="dispersed")
    return value.replace(".", "%2E") if value in (".", "..") else quoted(value)


def url_of(base: str, path: str, parameters: Parameters = None) -> str:
    """The encoded URL of a call: base URL, encoded path, and the canonical query of what was given."""
    query = canonical_query(parameters)
    return f"{base}{path}?{query}" if query else f"{base}{path}"


def _path(operation: Operation, names: Mapping[str, str]) -> str:
    return operation.path.format(**{name: segment(value, name) for name, value in names.items()})


def _read(operation: Operation, base: str, parse: Callable[[Response], T], **names: str) -> Call[T]:
    return Call(operation, url_of(base, _path(operation, names)), parse)


def _listing(operation: Operation, base: str, model: type[M], parameters: Pairs) -> Call[Listing[M]]:
    return Call(operation, url_of(base, operation.path, parameters), listing(model))


def _write(operation: Operation, base: str, parse: Callable[[Response], T], body: Any = None, **names: str) -> Call[T]:
    return _with_body(operation, url_of(base, _path(operation, names)), parse, NOT_GIVEN if body is None else body)


def _with_body(operation: Operation, url: str, parse: Callable[[Response], T], body: Any) -> Call[T]:
    # No body, an empty object and null are three different things to the signature (section 2.4).
    if body is NOT_GIVEN:
        return Call(operation, url, parse)
    return Call(operation, url, parse, JSON, canonical_json(body))


def other(method: str, base: str, path: str, parameters: Parameters = None, body: Any = NOT_GIVEN) -> Call[Any]:
    """A call that is not in the table, read as plain JSON.

    Args:
        method: in any case.
        base: base URL.
        path: below the base URL, already encoded, such as `/v1/nodes`.
        parameters: of the query.
        body: JSON data, None for `null`; not given for no body.

    Raises:
        InvalidRequestError: the path is none, or holds a query.
    """
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or {"?", "#", " "} & set(path):
        raise InvalidRequestError("path must be encoded, start with / and hold no query", network="dispersed")
    if {".", ".."} & set(path.split("/")):
        raise InvalidRequestError("path must not hold dot segments", network="dispersed")
    method = method.upper()
    reads = method in ("GET", "HEAD")
    safety: Safety = "idempotent" if reads or method in ("PUT", "DELETE", "PATCH") else "unsafe"
    operation = Operation(f"{method} {path}", method, path, safety, None, keyed=not reads)
    return _with_body(operation, url_of(base, path, parameters), plain, body)


def get_me(base: str) -> Call[models.Account]:
    """The caller's account."""
    return _read(GET_ME, base, reader(models.Account))


def get_balance(base: str, uuid: str) -> Call[models.AccountBalance]:
    """Credit of an account."""
    return _read(GET_BALANCE, base, reader(models.AccountBalance), uuid=uuid)


def get_spend_summary(base: str, uuid: str) -> Call[models.AccountSpendSummary]:
    """What an account has spent."""
    return _read(GET_SPEND_SUMMARY, base, reader(models.AccountSpendSummary), uuid=uuid)


def get_consumer_summary(base: str, uuid: str) -> Call[models.AccountConsumerSummary]:
    """What an account has used."""
    return _read(GET_CONSUMER_SUMMARY, base, reader(models.AccountConsumerSummary), uuid=uuid)


def list_jobs(base: str, parameters: Pairs = ()) -> Call[Listing[models.Job]]:
    """List jobs."""
    return _listing(LIST_JOBS, base, models.Job, parameters)


def get_job(base: str, uuid: str) -> Call[models.Job]:
    """One job."""
    return _read(GET_JOB, base, reader(models.Job), uuid=uuid)


def create_job(base: str, body: Mapping[str, Any]) -> Call[models.Job]:
    """Submit a job."""
    return _write(CREATE_JOB, base, reader(models.Job), body)


def cancel_job(base: str, uuid: str, body: Mapping[str, Any] | None = None) -> Call[models.Job]:
    """Cancel a job."""
    return _write(CANCEL_JOB, base, reader(models.Job), body, uuid=uuid)


def list_job_runs(base: str, parameters: Pairs = ()) -> Call[Listing[models.JobRun]]:
    """List job runs."""
    return _listing(LIST_JOB_RUNS, base, models.JobRun, parameters)


def get_job_run(base: str, uuid: str) -> Call[models.JobRun]:
    """One job run, with its logs."""
    return _read(GET_JOB_RUN, base, reader(models.JobRun), uuid=uuid)


def cancel_job_run(base: str, uuid: str, body: Mapping[str, Any] | None = None) -> Call[models.JobRun]:
    """Cancel a job run."""
    return _write(CANCEL_JOB_RUN, base, reader(models.JobRun), body, uuid=uuid)


def get_cost_summary(base: str, uuid: str) -> Call[models.CostSummary]:
    """What a job run has cost."""
    return _read(GET_COST_SUMMARY, base, reader(models.CostSummary), uuid=uuid)


def list_job_recipes(base: str, parameters: Pairs = ()) -> Call[Listing[models.JobRecipe]]:
    """List recipes."""
    return _listing(LIST_JOB_RECIPES, base, models.JobRecipe, parameters)


def get_job_recipe(base: str, uuid: str) -> Call[models.JobRecipe]:
    """One recipe."""
    return _read(GET_JOB_RECIPE, base, reader(models.JobRecipe), uuid=uuid)


def create_job_recipe(base: str, body: Mapping[str, Any]) -> Call[models.JobRecipe]:
    """Save a recipe."""
    return _write(CREATE_JOB_RECIPE, base, reader(models.JobRecipe), body)


def update_job_recipe(base: str, uuid: str, body: Mapping[str, Any]) -> Call[models.JobRecipe]:
    """Change a recipe."""
    return _write(UPDATE_JOB_RECIPE, base, reader(models.JobRecipe), body, uuid=uuid)


def delete_job_recipe(base: str, uuid: str) -> Call[None]:
    """Delete a recipe."""
    return _write(DELETE_JOB_RECIPE, base, nothing, uuid=uuid)


def fork_job_recipe(base: str, uuid: str) -> Call[models.JobRecipe]:
    """Copy a recipe into the caller's account."""
    return _write(FORK_JOB_RECIPE, base, reader(models.JobRecipe), uuid=uuid)


def cook_job_recipe(base: str, uuid: str, body: Mapping[str, Any] | None = None) -> Call[models.Job]:
    """Make a job of a recipe."""
    return _write(COOK_JOB_RECIPE, base, reader(models.Job), body, uuid=uuid)


def create_job_recipe_from_job(base: str, job_uuid: str) -> Call[models.JobRecipe]:
    """Save a job as a recipe."""
    return _write(CREATE_JOB_RECIPE_FROM_JOB, base, reader(models.JobRecipe), job_uuid=job_uuid)


def list_gpus(base: str, parameters: Pairs = ()) -> Call[Listing[models.GpuRegistryEntry]]:
    """List models of GPUs."""
    return _listing(LIST_GPUS, base, models.GpuRegistryEntry, parameters)


def list_rewards(base: str, parameters: Pairs = ()) -> Call[Listing[models.Reward]]:
    """List what nodes earned."""
    return _listing(LIST_REWARDS, base, models.Reward, parameters)


def list_authorizations(base: str, parameters: Pairs = ()) -> Call[Listing[models.LedgerAuthorization]]:
    """List holds on credit."""
    return _listing(LIST_AUTHORIZATIONS, base, models.LedgerAuthorization, parameters)


def list_transactions(base: str, parameters: Pairs = ()) -> Call[Listing[models.LedgerTransaction]]:
    """List movements of credit."""
    return _listing(LIST_TRANSACTIONS, base, models.LedgerTransaction, parameters)


def list_api_keys(base: str, parameters: Pairs = ()) -> Call[Listing[models.ApiKey]]:
    """List API keys."""
    return _listing(LIST_API_KEYS, base, models.ApiKey, parameters)


def create_api_key(base: str, body: Mapping[str, Any]) -> Call[models.CreatedApiKey]:
    """Make an API key."""
    return _write(CREATE_API_KEY, base, reader(models.CreatedApiKey), body)


def revoke_api_key(base: str, uuid: str) -> Call[models.ApiKey]:
    """Revoke an API key."""
    return _write(REVOKE_API_KEY, base, reader(models.ApiKey), uuid=uuid)


def list_ssh_public_keys(base: str, parameters: Pairs = ()) -> Call[Listing[models.SshPublicKey]]:
    """List SSH keys."""
    return _listing(LIST_SSH_PUBLIC_KEYS, base, models.SshPublicKey, parameters)


def create_ssh_public_key(base: str, body: Mapping[str, Any]) -> Call[models.SshPublicKey]:
    """Store an SSH key."""
    return _write(CREATE_SSH_PUBLIC_KEY, base, reader(models.SshPublicKey), body)


def update_ssh_public_key(base: str, uuid: str, body: Mapping[str, Any]) -> Call[models.SshPublicKey]:
    """Change an SSH key."""
    return _write(UPDATE_SSH_PUBLIC_KEY, base, reader(models.SshPublicKey), body, uuid=uuid)


def delete_ssh_public_key(base: str, uuid: str) -> Call[None]:
    """Delete an SSH key."""
    return _write(DELETE_SSH_PUBLIC_KEY, base, nothing, uuid=uuid)
