"""How often somebody may ask, and what is told of it (section 2.7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skerry.island.faces.dc1.errors import Fault
from skerry.island.ground.answers import Header
from skerry.island.ground.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit.

    Args:
        name: by which windows are kept apart.
        most: requests in a window.
        seconds: length of a window.
        by: `address`, or `key` where there is one, or `path`: the key and the path; or `presented`: whatever is
            shown as a key, known or not.
        error: in place of the usual text; then nothing else is in the body.
    """

    name: str
    most: int
    seconds: int
    by: str = "key"
    error: str = ""


EVERYTHING = Limit(name="all", most=300, seconds=60, error="Rate limit exceeded.")
CROWD = Limit(name="crowd", most=3_000, seconds=60, by="address", error="Rate limit exceeded.")
"""Of one address with however many keys, made-up ones included."""

REGISTER = Limit(name="register", most=5, seconds=600, by="address")
SUBMIT = Limit(name="submit", most=30, seconds=60)
"""As the deployed service has it; its documentation says 10, too few for the guide's flows in a row."""

DISPATCH = Limit(name="dispatch", most=10, seconds=60)
RETRY = Limit(name="retry", most=3, seconds=60, by="path")
TOPUP = Limit(name="topup", most=10, seconds=60, by="address", error="Too many top-up requests. Slow down.")
LOGIN = Limit(name="login", most=10, seconds=900, by="address")
OTP = Limit(name="otp", most=5, seconds=900, by="address")
PAYMENT = Limit(name="payment", most=10, seconds=60, by="address")
HEARTBEAT = Limit(name="heartbeat", most=10, seconds=60, by="presented")
MARKETPLACE = Limit(name="marketplace", most=60, seconds=60)
PUBLIC = Limit(name="public", most=60, seconds=60, by="address")
REGISTRY = Limit(name="registry", most=30, seconds=60, by="address")
INFERENCE = Limit(name="inference", most=10, seconds=60)
ADMIN = Limit(name="admin", most=30, seconds=60)
WEBHOOKS = Limit(name="webhooks", most=10, seconds=3_600)
ROTATION = Limit(name="rotation", most=3, seconds=86_400)
EXPORT = Limit(name="export", most=1, seconds=86_400)
DELETION = Limit(name="deletion", most=1, seconds=86_400)
TEMPLATE_DEPLOY = Limit(name="template", most=10, seconds=60)
MODEL_DEPLOY = Limit(name="deploy", most=20, seconds=60)


class RateLimits:
    """Counts requests.

    Args:
        enabled: whether there are limits at all.
        overrides: other numbers for some limits, by name; None lifts one.
        monotonic: seconds that only grow.
    """

    def __init__(self, enabled: bool, overrides: dict[str, int | None], monotonic: Callable[[], float]) -> None:
        self._enabled = enabled
        self._overrides = overrides
        self._windows = Windows(monotonic)

    def take(self, limit: Limit, who: str) -> tuple[Header, ...]:
        """Count a request; the headers that tell how many are left.

        Raises:
            Fault: 429 with the whole seconds to wait, when there were too many.
        """
        most = self._overrides.get(limit.name, limit.most)
        if not self._enabled or most is None:
            return ()
        turn = self._windows.take((limit.name, who), most, limit.seconds)
        headers = (
            (b"ratelimit-policy", f"{most};w={limit.seconds}".encode()),
            (b"ratelimit-limit", str(most).encode()),
            (b"ratelimit-remaining", str(turn.left).encode()),
            (b"ratelimit-reset", str(turn.wait).encode()),
        )
        if turn.granted:
            return headers
        refused = (*headers, turn.retry_after)
        if limit.error:
            raise Fault(429, limit.error, headers=refused)
        told = {"retryAfterSeconds": limit.seconds, "retryAfterMs": limit.seconds * 1_000}
        raise Fault(429, "Rate limit exceeded", headers=refused, **told)
