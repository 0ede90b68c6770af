"""Logging in by e-mail, which an island cannot do (section 3.1).

It has no way to send mail, so no code is ever made that could be presented, and a mere address lets nobody in. Every
address gets the same answer, whether it has an account or not; who has lost a key asks the operator for another
(`POST /api/admin/renters/{id}/rotate-key`).
"""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.faces.dc1 import limits
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields

_NO_MAIL = (
    "This island sends no e-mail. Use your API key (x-renter-key header); if it is lost, the operator can replace it."
)


class Logins:
    """The three calls of logging in by e-mail."""

    def routes(self) -> Sequence[Route]:
        """By anybody, rarely."""
        routes = []
        for name, handler in (("send-otp", self.no_mail), ("login-email", self.no_mail), ("verify-otp", self.verify)):
            limit = limits.LOGIN if name == "login-email" else limits.OTP
            path = f"/api/renters/{name}"
            routes.append(Route(method="POST", path=path, handler=handler, access=ANYBODY, limits=(limit,)))
        return routes

    async def no_mail(self, call: Call) -> Answer:
        """Nothing can be sent.

        Raises:
            Fault: 400 for what is no address, else 503.
        """
        _address(call)
        raise Fault(503, _NO_MAIL, code="EMAIL_UNAVAILABLE")

    async def verify(self, call: Call) -> Answer:
        """No code was sent, so none is right.

        Raises:
            Fault: 400 for a body that is not as it should be, else 401.
        """
        fields = _address(call)
        fields.text("token", least=1, most=64)
        fields.check()
        raise Fault(401, "Invalid or expired code")


def _address(call: Call) -> Fields:
    fields = Fields(call.json)
    fields.text("email", email=True, most=254)
    fields.check()
    return fields
