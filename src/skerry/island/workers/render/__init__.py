"""Rendering with Blender: workers that take jobs of a queue, each process in a sandbox without a network.

Blender is an optional extra of gigabyte size, found by `blender.find` and never imported here: it runs from an
environment of its own (`skerry render install`) or as the machine's `blender` program.
"""

from __future__ import annotations

from skerry.island.workers.render.blender import available
from skerry.island.workers.render.values import RenderJob, RenderSpec
from skerry.island.workers.render.worker import RenderWorker
from skerry.island.workers.render.workers import RenderWorkers

__all__ = ["RenderJob", "RenderSpec", "RenderWorker", "RenderWorkers", "available"]
