"""The errors of OctaSpace: the tree of its own client, each also in its place in the common one (section 4.3).

OctaError
├── OctaNetworkError                    no answer came
│   ├── OctaTimeoutError                ... within the time limit of one try
│   └── OctaAbortedError                the caller gave up, or the caller's deadline passed
├── OctaApiError                        an answer that is no success
│   ├── OctaAuthenticationError         401, and calls that lack a key
│   ├── OctaPermissionError             403
│   ├── OctaNotFoundError               404
│   ├── OctaValidationError             422
│   ├── OctaRateLimitError              429; `retry_after`
│   ├── OctaServerError                 5xx
│   │   └── OctaUnavailableError        502, 503, 504
│   ├── OctaBadRequestError             400
│   ├── OctaPaymentRequiredError        402
│   ├── OctaUnsupportedError            405
│   └── OctaConflictError               409
│       └── OctaNodeBusyError           ... because the node is rented
├── OctaDecodeError                     a success whose body is not what the protocol promises
├── OctaProvisionRejectedError          a machine was not rented, although the request as a whole was accepted
│   └── one class for each kind of reason
└── OctaSessionEndedError               a session ended while its readiness was waited for
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skerry import errors as common
from skerry._kernel.options import CANCELLED
from skerry.errors import SkerryError
from skerry.networks.octaspace.models import ServiceInfo


class OctaError(SkerryError):
    """Whatever went wrong with a call of OctaSpace."""


class OctaNetworkError(OctaError, common.ConnectionFailedError):
    """No answer came, or it broke off."""


class OctaTimeoutError(OctaNetworkError, TimeoutError):
    """No complete answer came within the time limit of one try."""


class OctaAbortedError(OctaNetworkError, common.DeadlineExceededError):
    """The caller gave up, or the caller's deadline passed."""

    retryable = False

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__("Request was aborted" if message == CANCELLED else message, **fields)


class OctaApiError(OctaError):
    """Any answer that is not a success (section 3.14).

    Attributes:
        status: HTTP status.
        code: the network's code, such as `NOT_FOUND`, of whatever type it came; None when there was none.
        details: the body as JSON data; None when it was not JSON.
        request_id: for support.
        body: the body as received.
    """


class OctaAuthenticationError(OctaApiError, common.AuthenticationError):
    """The key is missing or unknown; without any key this is raised before anything is sent."""


class OctaPermissionError(OctaApiError, common.PermissionDeniedError):
    """The key is suspended, or may not do this."""


class OctaNotFoundError(OctaApiError, common.NotFoundError):
    """Unknown, finished, or another account's."""


class OctaValidationError(OctaApiError, common.InvalidRequestError):
    """A member of the request is of the wrong type or out of range."""


class OctaRateLimitError(OctaApiError, common.RateLimitedError):
    """Too many requests; wait `retry_after` seconds where given."""


class OctaServerError(OctaApiError, common.ServerError):
    """The service failed."""


class OctaUnavailableError(OctaServerError, common.UnavailableError):
    """The service, or the node behind it, is down for the moment."""


class OctaBadRequestError(OctaApiError, common.InvalidRequestError):
    """The request is malformed, or could not be carried out as a whole."""


class OctaPaymentRequiredError(OctaApiError, common.PaymentRequiredError):
    """The balance does not cover it."""


class OctaUnsupportedError(OctaApiError, common.UnsupportedError):
    """This service has no such method."""


class OctaConflictError(OctaApiError, common.ConflictError):
    """The present state forbids it."""


class OctaNodeBusyError(OctaConflictError, common.BusyError):
    """The node is rented by somebody."""


class OctaDecodeError(OctaError, common.ProtocolError):
    """A success came whose body is not what the protocol promises."""


class OctaProvisionRejectedError(OctaError):
    """The service took the request, but rented no machine (section 3.7).

    Attributes:
        rejections: the items of the answer, each usually with `id`, `reason` and `status`.
    """

    def __init__(self, message: str = "", *, rejections: Sequence[Mapping[str, Any]] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.rejections = list(rejections)


class OctaProvisionNotFoundError(OctaProvisionRejectedError, common.NotFoundError):
    """There is no such node or app."""


class OctaProvisionBusyError(OctaProvisionRejectedError, common.BusyError):
    """The node is rented by somebody."""


class OctaProvisionInvalidError(OctaProvisionRejectedError, common.InvalidRequestError):
    """Something needed is missing from the request."""


class OctaProvisionNoCapacityError(OctaProvisionRejectedError, common.NoCapacityError):
    """The node has not enough disk or ports left."""


class OctaProvisionPaymentRequiredError(OctaProvisionRejectedError, common.PaymentRequiredError):
    """The balance does not cover it."""


class OctaProvisionServerError(OctaProvisionRejectedError, common.ServerError):
    """The node could not start it."""


class OctaSessionEndedError(OctaError, common.ConflictError):
    """A session ended while its readiness was waited for.

    Attributes:
        session: how it was last, with its `termination_reason`.
    """

    def __init__(self, message: str = "", *, session: ServiceInfo | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.session = session
