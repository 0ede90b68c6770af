"""Every documented call of DC1: the table (section 3), and the pure function that makes a `Call` of a row of it.

A row says who may call, what is sent where, what repeating it may do, and how the answer is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from skerry._kernel import urls
from skerry._kernel.dialect import Call, Operation
from skerry._kernel.model import NOT_GIVEN, NotGiven, given
from skerry._kernel.request import Headers, Response
from skerry._kernel.retry import Safety
from skerry.errors import InvalidRequestError, SkerryError
from skerry.networks.dc1 import models, outputs
from skerry.networks.dc1.answers import anything, enveloped, items, optional, plain, raw_bytes, raw_text, reader, within
from skerry.networks.dc1.codes import own_account_error
from skerry.networks.dc1.dialect import Role
from skerry.networks.dc1.summaries import SUMMARIES

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# A model is waited for at the server, which gives up after 300 s by itself.
_MODEL_SECONDS = 330.0

_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Route(Generic[T_co]):
    """One row of the table.

    Attributes:
        operation: its name, method and path, and what repeating it may do.
        parse: reads the answer.
        role: as whom it is called.
        open: it can be called without a key.
        timeout: seconds that one try may take; not given for the client's own.
        error: reads an answer that is an error; None for the usual way.
    """

    operation: Operation
    parse: Callable[[Response], T_co]
    role: Role
    open: bool = False
    timeout: float | NotGiven = NOT_GIVEN
    error: Callable[[Response], SkerryError | None] | None = None


ROUTES: dict[str, Route[Any]] = {}
"""All calls by name."""

OPERATIONS: dict[str, Operation] = {}
"""The same, as operations."""


def _route(
    name: str,
    method: str,
    path: str,
    parse: Callable[[Response], T],
    *,
    role: Role = "renter",
    safety: Safety | None = None,
    keyed: bool = False,
    open: bool = False,
    auth: bool = True,
    timeout: float | NotGiven = NOT_GIVEN,
    error: Callable[[Response], SkerryError | None] | None = None,
) -> Route[T]:
    chosen: Safety = safety or ("idempotent" if method in ("GET", "PUT", "DELETE") else "unsafe")
    row = Route(
        Operation(name, method, path, chosen, None, keyed=keyed, auth=auth, summary=SUMMARIES[name]),
        parse,
        role,
        open,
        timeout,
        error,
    )
    ROUTES[name], OPERATIONS[name] = row, row.operation
    return row


_done = reader(models.Done)

# The caller's account as a renter (section 3.1).
REGISTER = _route("renters.register", "POST", "/api/renters/register", reader(models.Registration), open=True)
ME = _route("renters.me", "GET", "/api/renters/me", reader(models.RenterProfile), error=own_account_error)
RENTER = _route("me", "GET", "/api/renters/me", reader(models.Renter, "renter"), error=own_account_error)
BALANCE = _route("renters.balance", "GET", "/api/renters/balance", reader(models.Balance), error=own_account_error)
TOPUP = _route("renters.topup", "POST", "/api/renters/topup", reader(models.TopUp), error=own_account_error)
PRICE_LIST = _route("renters.pricing", "GET", "/api/renters/pricing", reader(models.PriceList), open=True)
RENTER_JOBS = _route("renters.jobs", "GET", "/api/renters/jobs", reader(models.JobPage))
MY_JOBS = _route("renters.my_jobs", "GET", "/api/renters/me/jobs", reader(models.JobPage))
EXPORT_JOBS = _route("renters.export_jobs", "GET", "/api/renters/me/jobs/export", raw_text)
MY_JOB = _route("renters.my_job", "GET", "/api/renters/me/jobs/{job_id}", reader(models.HistoryItem, "job"))
SPENDING = _route("renters.spending", "GET", "/api/renters/me/spending", reader(models.Spending))
ANALYTICS = _route("renters.analytics", "GET", "/api/renters/me/analytics", reader(models.Analytics))
MY_PAYMENTS = _route("renters.payments", "GET", "/api/renters/me/payments", reader(models.PaymentListing))
INVOICES = _route("renters.invoices", "GET", "/api/renters/me/invoices", items(models.Invoice, "invoices"))
INVOICE_CSV = _route("renters.invoice_csv", "GET", "/api/renters/me/invoices/{invoice_id}/csv", raw_text)
PRESETS = _route("renters.presets", "GET", "/api/renters/me/templates", plain)
SAVE_PRESET = _route("renters.save_preset", "POST", "/api/renters/me/templates", plain)
DELETE_PRESET = _route("renters.delete_preset", "DELETE", "/api/renters/me/templates/{template_id}", _done)
SETTINGS = _route("renters.settings", "PATCH", "/api/renters/settings", plain, safety="idempotent")
SEND_OTP = _route("renters.send_otp", "POST", "/api/renters/send-otp", plain, open=True)
VERIFY_OTP = _route("renters.verify_otp", "POST", "/api/renters/verify-otp", plain, open=True)
LOGIN_EMAIL = _route("renters.login_email", "POST", "/api/renters/login-email", plain, open=True)
ROTATE_KEY = _route("renters.rotate_key", "POST", "/api/renters/me/rotate-key", reader(models.NewKey))
DATA_EXPORT = _route("renters.data_export", "GET", "/api/renters/me/export", plain)
DELETE_ACCOUNT = _route("renters.delete", "DELETE", "/api/renters/me", _done)
LEDGER_BALANCE = _route("renters.ledger_balance", "GET", "/api/renters/{renter_id}/balance", reader(models.Balance))
TRANSACTIONS = _route("renters.transactions", "GET", "/api/renters/{renter_id}/transactions", plain)
LEDGER = _route("renters.ledger", "GET", "/api/renters/{renter_id}/ledger", plain)

KEY_CREATE = _route("keys.create", "POST", "/api/renters/me/keys", reader(models.Key))
KEY_LIST = _route("keys.list", "GET", "/api/renters/me/keys", reader(models.KeyListing))
KEY_REVOKE = _route("keys.revoke", "DELETE", "/api/renters/me/keys/{key_id}", _done)
API_KEY_CREATE = _route("api_keys.create", "POST", "/api/renters/{renter_id}/keys", reader(models.Key))
API_KEY_LIST = _route("api_keys.list", "GET", "/api/renters/{renter_id}/keys", reader(models.KeyListing))
API_KEY_REVOKE = _route("api_keys.revoke", "DELETE", "/api/renters/{renter_id}/keys/{key_id}", _done)
WEBHOOK_CREATE = _route("webhooks.create", "POST", "/api/renters/{renter_id}/webhooks", plain)
WEBHOOK_LIST = _route("webhooks.list", "GET", "/api/renters/{renter_id}/webhooks", reader(models.WebhookListing))
WEBHOOK_DELETE = _route("webhooks.delete", "DELETE", "/api/renters/{renter_id}/webhooks/{webhook_id}", _done)

PAY_BALANCE = _route("payments.balance", "GET", "/api/payments/balance", reader(models.Balance))
PAY_TOPUP = _route("payments.topup", "POST", "/api/payments/topup", reader(models.Payment))
PAY_SANDBOX = _route("payments.topup_sandbox", "POST", "/api/payments/topup-sandbox", plain)
PAY_VERIFY = _route("payments.verify", "GET", "/api/payments/verify/{payment_id}", reader(models.Payment))
PAY_HISTORY = _route("payments.history", "GET", "/api/payments/history", reader(models.PaymentListing))

# Providers as renters see them (section 3.2).
_providers = enveloped(models.ProviderListing, "providers")
AVAILABLE = _route("providers.available", "GET", "/api/renters/available-providers", _providers, open=True)
LISTED = _route("providers.listed", "GET", "/api/providers/available", _providers, open=True)
ONLINE = _route("providers.online", "GET", "/api/providers/online", _providers, open=True)
MARKETPLACE = _route(
    "providers.marketplace", "GET", "/api/providers/marketplace", items(models.Provider, "providers"), open=True
)
PUBLIC = _route("providers.public", "GET", "/api/providers/public", items(models.Provider, "providers"), open=True)
ACTIVE_PROVIDERS = _route("providers.active", "GET", "/api/providers/active", plain, open=True)
PROVIDER_MODELS = _route("providers.models", "GET", "/api/providers/models", plain, open=True)
LIVENESS = _route(
    "providers.liveness", "GET", "/api/providers/{provider_id}/liveness", reader(models.Liveness), open=True
)

# Jobs (sections 3.3 to 3.5).
SUBMIT = _route("jobs.create", "POST", "/api/jobs/submit", reader(models.Submission), keyed=True)
DISPATCH = _route("jobs.dispatch", "POST", "/api/jobs", reader(models.Dispatched), keyed=True)
DESCRIBE = _route("jobs.describe", "GET", "/api/jobs/{job_id}", within(models.Job, "job"))
OUTPUT = _route("jobs.output", "GET", "/api/jobs/{job_id}/output", outputs.read_output, error=outputs.output_error)
GET_JOB = _route("jobs.get", "GET", "/api/jobs/{job_id}/output", outputs.read_job, error=outputs.output_error)
IMAGE = _route("jobs.image", "GET", "/api/jobs/{job_id}/output", outputs.read_image)
OUTPUT_FILE = _route("jobs.output_file", "GET", "/api/jobs/{job_id}/output/{format}", raw_bytes)
STATUS = _route("jobs.status", "GET", "/api/jobs/{job_id}/status", reader(models.JobStatus))
CANCEL = _route("jobs.cancel", "POST", "/api/jobs/{job_id}/cancel", reader(models.Cancellation))
RETRY = _route("jobs.retry", "POST", "/api/jobs/{job_id}/retry", reader(models.Submission))
COMPLETE = _route("jobs.complete", "POST", "/api/jobs/{job_id}/complete", reader(models.JobSettled))
PAUSE_JOB = _route("jobs.pause", "POST", "/api/jobs/{job_id}/pause", plain)
RESUME_JOB = _route("jobs.resume", "POST", "/api/jobs/{job_id}/resume", plain)
HISTORY = _route("jobs.history", "GET", "/api/jobs/history", enveloped(models.PaymentHistory, "jobs"))
JOB_LIST = _route("jobs.page", "GET", "/api/jobs", reader(models.JobPage))
ACTIVE_JOBS = _route("jobs.active", "GET", "/api/jobs/active", items(models.Job, "jobs"))
QUEUE_STATUS = _route("jobs.queue_status", "GET", "/api/jobs/queue/status", reader(models.Queue), open=True)
QUEUE = _route("jobs.queue", "GET", "/api/jobs/queue/{provider_id}", reader(models.Queue), open=True)
LOGS = _route("jobs.logs", "GET", "/api/jobs/{job_id}/logs", reader(models.JobLogs))
LOG_STREAM = _route("jobs.stream_logs", "GET", "/api/jobs/{job_id}/logs/stream", plain)
EVENT_STREAM = _route("jobs.stream", "GET", "/api/jobs/{job_id}/stream", plain)
LIFECYCLE = _route("jobs.lifecycle", "GET", "/api/jobs/{job_id}/lifecycle", reader(models.Lifecycle))
LIFECYCLE_STREAM = _route("jobs.stream_lifecycle", "GET", "/api/jobs/{job_id}/lifecycle/stream", plain)
EXECUTIONS = _route("jobs.executions", "GET", "/api/jobs/{job_id}/executions", reader(models.JobExecutions))
JOB_HISTORY = _route("jobs.attempts", "GET", "/api/jobs/{job_id}/history", reader(models.JobExecutions))
INVOICE = _route("jobs.invoice", "GET", "/api/jobs/{job_id}/invoice", reader(models.Invoice))
INVOICE_PDF = _route("jobs.invoice_pdf", "GET", "/api/jobs/{job_id}/invoice.pdf", raw_bytes)
DISPATCH_COMPLETE = _route("jobs.dispatch_complete", "PATCH", "/api/jobs/{job_id}/complete", reader(models.JobSettled))
DISPATCH_FAIL = _route("jobs.dispatch_fail", "PATCH", "/api/jobs/{job_id}/fail", reader(models.JobSettled))

# Prices, models, templates (section 3.6).
TIERS = _route("pricing.tiers", "GET", "/api/pricing/tiers", reader(models.PriceTiers), open=True)
ESTIMATE = _route("pricing.estimate", "GET", "/api/pricing/estimate", reader(models.Estimate), open=True)
MODEL_LIST = _route("models.list", "GET", "/api/models", items(models.CatalogueModel, "models"), open=True)
MODEL_VIEW = _route("models.view", "GET", "/api/models/{view}", plain, open=True)
MODEL_ESTIMATE = _route(
    "models.estimate", "GET", "/api/models/{model_id}/deploy/estimate", reader(models.DeployEstimate), open=True
)
MODEL_DEPLOY = _route("models.deploy", "POST", "/api/models/{model_id}/deploy", plain)
MODEL_GET = _route("models.get", "GET", "/api/models/{model_id}", reader(models.CatalogueModel, "model"), open=True)
TEMPLATE_LIST = _route("templates.list", "GET", "/api/templates", items(models.Template, "templates"), open=True)
TEMPLATE_WHITELIST = _route("templates.whitelist", "GET", "/api/templates/whitelist", plain, open=True)
TEMPLATE_BUNDLES = _route("templates.bundles", "GET", "/api/templates/bundles", plain, open=True)
TEMPLATE_GET = _route(
    "templates.get", "GET", "/api/templates/{template_id}", reader(models.Template, "template"), open=True
)
TEMPLATE_DEPLOY = _route("templates.deploy", "POST", "/api/templates/{template_id}/deploy", plain)
REGISTRY = _route("containers.registry", "GET", "/api/containers/registry", reader(models.ContainerImages), open=True)

# In the manner of OpenAI (section 3.8).
V1_MODELS = _route("v1.models", "GET", "/v1/models", reader(models.OpenAIModels), open=True)
V1_CHAT = _route("v1.chat", "POST", "/v1/chat/completions", reader(models.Completion), timeout=_MODEL_SECONDS)
V1_COMPLETE = _route("v1.complete", "POST", "/v1/complete", reader(models.Completion), timeout=_MODEL_SECONDS)
V1_STREAM = _route("v1.stream_complete", "POST", "/v1/complete/stream", plain)

SERVICE = _route("system.service", "GET", "/", plain, open=True)
HEALTH = _route("system.health", "GET", "/api/health", plain, open=True)
DAEMON_VERSION = _route("system.daemon_version", "GET", "/api/daemon/latest-version", plain, open=True)

# A provider's own side (section 3.7).
_heartbeat = reader(models.Heartbeat)
_claim = optional(models.Claim, "job")
HOST_REGISTER = _route(
    "provider.register",
    "POST",
    "/api/providers/register",
    reader(models.ProviderRegistration),
    role="provider",
    open=True,
    auth=False,
)
HOST_ME = _route(
    "provider.me",
    "GET",
    "/api/providers/me",
    reader(models.ProviderAccount, "provider"),
    role="provider",
    error=own_account_error,
)
HOST_STATUS = _route("provider.status", "GET", "/api/providers/status", plain, role="provider")
HOST_SELF_TEST = _route("provider.self_test", "GET", "/api/providers/self-test", plain, role="provider")
HOST_METRICS = _route("provider.metrics", "GET", "/api/providers/me/metrics", plain, role="provider")
HEARTBEAT = _route(
    "provider.heartbeat", "POST", "/api/providers/heartbeat", _heartbeat, role="provider", safety="idempotent"
)
HEARTBEAT_BY_ID = _route(
    "provider.heartbeat_by_id",
    "POST",
    "/api/providers/{provider_id}/heartbeat",
    _heartbeat,
    role="provider",
    safety="idempotent",
)
READINESS = _route(
    "provider.readiness",
    "POST",
    "/api/providers/readiness",
    reader(models.Readiness),
    role="provider",
    safety="idempotent",
)
HOST_PAUSE = _route("provider.pause", "POST", "/api/providers/pause", _done, role="provider", safety="idempotent")
HOST_RESUME = _route("provider.resume", "POST", "/api/providers/resume", _done, role="provider", safety="idempotent")
PREFERENCES = _route(
    "provider.preferences",
    "POST",
    "/api/providers/preferences",
    reader(models.Preferences, "preferences"),
    role="provider",
    safety="idempotent",
)
GO_ONLINE = _route(
    "provider.go_online",
    "POST",
    "/api/providers/{provider_id}/online",
    reader(models.Presence),
    role="provider",
    safety="idempotent",
)
GO_OFFLINE = _route(
    "provider.go_offline",
    "POST",
    "/api/providers/{provider_id}/offline",
    reader(models.Presence),
    role="provider",
    safety="idempotent",
)
GPU_PROFILE = _route(
    "provider.gpu_profile", "PATCH", "/api/providers/me/gpu-profile", plain, role="provider", safety="idempotent"
)
HOST_WALLET = _route(
    "provider.wallet", "PATCH", "/api/providers/me/wallet", plain, role="provider", safety="idempotent"
)
# Asking for work takes it: these are no harmless reads.
CLAIM = _route("provider.claim", "GET", "/api/providers/jobs/next", _claim, role="provider", safety="unsafe")
ASSIGNED = _route("provider.assigned", "GET", "/api/jobs/assigned", _claim, role="provider", safety="unsafe")
ASSIGNED_QUEUE = _route("provider.queue", "GET", "/api/jobs/queue", _claim, role="provider", safety="unsafe")
CLAIM_BY_PATH = _route(
    "provider.claim_by_path", "GET", "/api/providers/{key}/jobs", _claim, role="provider", safety="unsafe"
)
# With a key in its query the same path lists jobs; deployed servers take one all the same.
HOST_JOBS = _route(
    "provider.get_jobs",
    "GET",
    "/api/providers/{key}/jobs",
    items(models.ProviderJob, "jobs"),
    role="provider",
    safety="unsafe",
)
VERIFY_HMAC = _route(
    "provider.verify_hmac", "GET", "/api/jobs/verify-hmac", reader(models.HmacVerdict), role="provider"
)
VERIFY_HMAC_LOCAL = _route(
    "provider.verify_hmac_local", "GET", "/api/jobs/verify-hmac-local", reader(models.HmacVerdict), role="provider"
)
PROGRESS = _route(
    "provider.progress",
    "POST",
    "/api/jobs/{job_id}/progress",
    reader(models.Progress),
    role="provider",
    safety="idempotent",
)
WRITE_LOGS = _route(
    "provider.write_logs", "PATCH", "/api/providers/jobs/{job_id}/logs", reader(models.LinesWritten), role="provider"
)
WRITE_LOG = _route(
    "provider.write_log", "POST", "/api/jobs/{job_id}/logs", reader(models.LinesWritten), role="provider"
)
ENDPOINT_READY = _route(
    "provider.endpoint_ready",
    "POST",
    "/api/jobs/{job_id}/endpoint-ready",
    reader(models.EndpointReady),
    role="provider",
    safety="idempotent",
)
# A job that was settled before is answered as such: repeating a report does no harm (section 2.6).
JOB_RESULT = _route(
    "provider.job_result",
    "POST",
    "/api/providers/job-result",
    reader(models.JobResult),
    role="provider",
    safety="idempotent",
)
RESULT = _route("provider.result", "POST", "/api/jobs/{job_id}/result", reader(models.JobSettled), role="provider")
FAIL = _route("provider.fail", "POST", "/api/jobs/{job_id}/fail", reader(models.JobSettled), role="provider")
HOST_JOB = _route("provider.job", "GET", "/api/jobs/{job_id}", within(models.Job, "job"), role="provider")
HOST_COMPLETE = _route(
    "provider.dispatch_complete", "PATCH", "/api/jobs/{job_id}/complete", reader(models.JobSettled), role="provider"
)
HOST_FAIL = _route(
    "provider.dispatch_fail", "PATCH", "/api/jobs/{job_id}/fail", reader(models.JobSettled), role="provider"
)
DAEMON_EVENT = _route(
    "provider.daemon_event", "POST", "/api/providers/daemon-event", reader(models.ProviderEvent), role="provider"
)
EVENT = _route("provider.event", "POST", "/api/webhooks/provider/event", reader(models.ProviderEvent), role="provider")
EARNINGS = _route(
    "provider.get_earnings",
    "GET",
    "/api/providers/earnings",
    reader(models.Earnings),
    role="provider",
    error=own_account_error,
)
HOST_HISTORY = _route(
    "provider.job_history", "GET", "/api/providers/job-history", reader(models.ProviderJobHistory), role="provider"
)
EARNINGS_DAILY = _route("provider.earnings_daily", "GET", "/api/providers/earnings-daily", plain, role="provider")
EARNINGS_HISTORY = _route(
    "provider.earnings_history", "GET", "/api/providers/me/earnings/history", plain, role="provider"
)
DAEMON_LOGS = _route("provider.daemon_logs", "GET", "/api/providers/daemon-logs", plain, role="provider")
WITHDRAWAL_HISTORY = _route(
    "provider.withdrawal_history", "GET", "/api/providers/withdrawal-history", plain, role="provider"
)
WITHDRAWALS = _route("provider.withdrawals", "GET", "/api/providers/me/withdrawals", plain, role="provider")
WITHDRAW_TO_IBAN = _route(
    "provider.withdraw", "POST", "/api/providers/me/withdraw", reader(models.Withdrawal), role="provider"
)
WITHDRAW_BY_METHOD = _route(
    "provider.withdraw_by_method", "POST", "/api/providers/withdraw", reader(models.Withdrawal), role="provider"
)
PAYOUTS = _route("provider.payout", "POST", "/api/providers/{provider_id}/payouts", plain, role="provider")
HOST_KEY_CREATE = _route(
    "provider.create_key", "POST", "/api/providers/{provider_id}/keys", reader(models.Key), role="provider"
)
HOST_KEY_LIST = _route(
    "provider.list_keys", "GET", "/api/providers/{provider_id}/keys", reader(models.KeyListing), role="provider"
)
HOST_KEY_REVOKE = _route(
    "provider.revoke_key", "DELETE", "/api/providers/{provider_id}/keys/{key_id}", _done, role="provider"
)
HOST_ROTATE = _route(
    "provider.rotate_key", "POST", "/api/providers/me/rotate-key", reader(models.NewKey), role="provider"
)
BENCHMARK = _route(
    "provider.benchmark", "POST", "/api/providers/{provider_id}/benchmark-submit", plain, role="provider"
)
VERIFICATIONS = _route("provider.verifications", "GET", "/api/verification/pending", plain, role="provider")
SUBMIT_VERIFICATION = _route("provider.submit_verification", "POST", "/api/verification/submit", plain, role="provider")

# The operator's screens (section 3.9).
ADMIN_DASHBOARD = _route("admin.dashboard", "GET", "/api/admin/dashboard", plain, role="admin")
ADMIN_OVERVIEW = _route("admin.overview", "GET", "/api/admin/overview", plain, role="admin")
ADMIN_PROVIDERS = _route("admin.providers", "GET", "/api/admin/providers", plain, role="admin")
ADMIN_PROVIDER = _route("admin.provider", "GET", "/api/admin/providers/{id}", plain, role="admin")
ADMIN_RENTERS = _route("admin.renters", "GET", "/api/admin/renters", plain, role="admin")
ADMIN_RENTER = _route("admin.renter", "GET", "/api/admin/renters/{id}", plain, role="admin")
ADMIN_JOBS = _route("admin.jobs", "GET", "/api/admin/jobs", plain, role="admin")
ADMIN_JOB = _route("admin.job", "GET", "/api/admin/jobs/{id}", plain, role="admin")
ADMIN_SUSPEND_PROVIDER = _route(
    "admin.suspend_provider", "POST", "/api/admin/providers/{id}/suspend", _done, role="admin", safety="idempotent"
)
ADMIN_UNSUSPEND_PROVIDER = _route(
    "admin.unsuspend_provider", "POST", "/api/admin/providers/{id}/unsuspend", _done, role="admin", safety="idempotent"
)
ADMIN_SUSPEND_RENTER = _route(
    "admin.suspend_renter", "POST", "/api/admin/renters/{id}/suspend", _done, role="admin", safety="idempotent"
)
ADMIN_UNSUSPEND_RENTER = _route(
    "admin.unsuspend_renter", "POST", "/api/admin/renters/{id}/unsuspend", _done, role="admin", safety="idempotent"
)
ADMIN_BULK = _route("admin.bulk", "POST", "/api/admin/bulk/{noun}", plain, role="admin")
ADMIN_APPROVE = _route(
    "admin.approve_provider", "PATCH", "/api/admin/providers/{id}/approve", plain, role="admin", safety="idempotent"
)
ADMIN_REJECT = _route(
    "admin.reject_provider", "PATCH", "/api/admin/providers/{id}/reject", plain, role="admin", safety="idempotent"
)
ADMIN_PRELOAD = _route(
    "admin.preload_model", "PATCH", "/api/admin/providers/{id}/preload-model", plain, role="admin", safety="idempotent"
)
ADMIN_ROTATE = _route("admin.rotate_provider_key", "POST", "/api/admin/providers/{id}/rotate-key", plain, role="admin")
ADMIN_CREDIT = _route("admin.credit_renter", "POST", "/api/admin/renters/{id}/credit", plain, role="admin")
ADMIN_ADJUST = _route("admin.adjust_balance", "POST", "/api/admin/renters/{id}/balance", plain, role="admin")
ADMIN_CANCEL = _route("admin.cancel_job", "POST", "/api/admin/jobs/{id}/cancel", plain, role="admin")
ADMIN_REQUEUE = _route("admin.requeue_job", "POST", "/api/admin/jobs/{id}/requeue", plain, role="admin")
ADMIN_TEST_JOB = _route("admin.test_job", "POST", "/api/jobs/test", plain, role="admin")
ADMIN_SCHEDULER = _route("admin.scheduler_health", "GET", "/api/jobs/scheduler/health", plain, role="admin")
ADMIN_DIAGNOSTICS = _route(
    "admin.scheduler_diagnostics", "GET", "/api/jobs/scheduler/diagnostics/{id}", plain, role="admin"
)

_NAMES = re.compile(r"\{(\w+)\}")


def segment(value: str | int, name: str) -> str:
    """One path segment with every reserved character escaped, so that an id can name nothing but itself.

    Raises:
        InvalidRequestError: it is empty, or has no UTF-8 form (also a ValueError).
        TypeError: it is neither text nor a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{name} must be text or a number, not {value!r}")
    if value == "":
        raise InvalidRequestError(f"{name} must not be empty", network="dc1")
    if name == "model_id":
        # Names of models hold a slash that the network's routes know.
        return "/".join(urls.segment(part) for part in str(value).split("/"))
    return urls.segment(str(value))


def url_of(base: str, path: str, parameters: Mapping[str, Any] | None = None) -> str:
    """The encoded URL of a call; parameters that are None are left out."""
    present = {
        name: value for name, value in (parameters or {}).items() if value is not None and value is not NOT_GIVEN
    }
    return f"{base}{path}{urls.query(present)}"


def json_body(value: Any) -> bytes:
    """JSON as it is sent: compact, nothing escaped, exact decimals as numbers; what was not given is left out."""
    return _encoder.encode(given(value))


def build(
    route: Route[T],
    base: str,
    *names: str | int,
    query: Mapping[str, Any] | None = None,
    body: Any = NOT_GIVEN,
    headers: Headers = (),
) -> Call[T]:
    """A call that any driver can carry out.

    Args:
        route: a row of the table.
        base: base URL.
        names: what goes into the path, in order.
        query: parameters; None is left out.
        body: JSON data, or bytes that are sent as they are; not given for no body.
        headers: further headers.

    Raises:
        InvalidRequestError: a name is empty.

    Example:
        >>> build(OUTPUT, "https://api.test", "job 1").url
        'https://api.test/api/jobs/job%201/output'
    """
    wanted = _NAMES.findall(route.operation.path)
    parts = {name: segment(value, name) for name, value in zip(wanted, names, strict=True)}
    path = _NAMES.sub(lambda match: parts[match.group(1)], route.operation.path)
    content = None if body is NOT_GIVEN else body if isinstance(body, bytes) else json_body(body)
    return Call(
        route.operation,
        url_of(base, path, query),
        route.parse,
        headers=headers,
        body=content,
        timeout=route.timeout,
        error=route.error,
    )


def other(
    method: str, base: str, path: str, query: Mapping[str, Any] | None = None, body: Any = NOT_GIVEN
) -> Call[Any]:
    """A call that is not in the table, read as JSON, or as what else the answer says it is.

    Args:
        method: in any case.
        base: base URL.
        path: below the base URL, already encoded, such as `/api/standup`.
        query: parameters; None is left out.
        body: JSON data, or bytes that are sent as they are; not given for no body.

    Raises:
        InvalidRequestError: the path is none, or holds a query.
    """
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or {"?", "#", " "} & set(path):
        raise InvalidRequestError("path must be encoded, start with / and hold no query", network="dc1")
    if {".", ".."} & set(path.split("/")):
        raise InvalidRequestError("path must not hold dot segments", network="dc1")
    method = method.upper()
    safety: Safety = "idempotent" if method in ("GET", "HEAD", "PUT", "DELETE") else "unsafe"
    operation = Operation(f"{method} {path}", method, path, safety, None, keyed=method == "POST")
    content = None if body is NOT_GIVEN else body if isinstance(body, bytes) else json_body(body)
    return Call(operation, url_of(base, path, query), anything, body=content)
