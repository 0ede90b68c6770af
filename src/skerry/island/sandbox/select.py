"""Which driver a machine gets."""

from __future__ import annotations

import logging
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.island.sandbox.driver import Driver, ImageSource
from skerry.island.sandbox.egress.proxy import EgressProxy
from skerry.island.sandbox.namespace.driver import NamespaceDriver
from skerry.island.sandbox.namespace.trial import namespaces_fail
from skerry.island.sandbox.process.driver import ProcessDriver
from skerry.island.settings import Settings

_log = logging.getLogger(__name__)


def choose_driver(settings: Settings, state_dir: Path, images: ImageSource, egress: EgressProxy | None) -> Driver:
    """The driver that `settings.driver` asks for; `auto` takes `namespace` where that works, else `process`.

    Raises:
        ConfigurationError: no driver has that name.
    """
    if settings.driver == "namespace":
        return NamespaceDriver(state_dir, images, egress=egress, max_layers=settings.max_layers)
    if settings.driver == "process":
        return ProcessDriver(state_dir, images, egress=egress)
    if settings.driver != "auto":
        raise ConfigurationError(f"no driver `{settings.driver}`: choose auto, namespace or process")
    reason = namespaces_fail(state_dir)
    if reason is None:
        return NamespaceDriver(state_dir, images, egress=egress, max_layers=settings.max_layers)
    _log.warning("sandboxes get fewer walls: namespaces do not work here (%s)", reason)
    return ProcessDriver(state_dir, images, egress=egress)
