"""The objects of DC1 as the wire has them (section 3), under the wire's own names.

Answers are tolerant: unknown fields are kept (`extra`, `raw`), a field that is missing is None or its documented
default, states and other open words are plain text. Fields that end in `_halala` are whole numbers, as sent; those for
which it matters have a twin that is `Money` in SAR. Fields that end in `_sar` or `_usd` are exact decimals, for
display. What is sent is described in `skerry.networks.dc1.inputs`.
"""

from __future__ import annotations

from skerry.networks.dc1.models.catalogue import *  # noqa: F403
from skerry.networks.dc1.models.jobs import *  # noqa: F403
from skerry.networks.dc1.models.providers import *  # noqa: F403
from skerry.networks.dc1.models.renters import *  # noqa: F403
