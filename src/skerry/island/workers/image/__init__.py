"""Pictures from text with diffusers: one supervised process per loaded model, in an environment of its own.

diffusers and torch are gigabytes and an optional extra. They are found by `environment.find` and never imported here.
"""

from __future__ import annotations

from skerry.island.workers.image.choices import DiffusionChoices
from skerry.island.workers.image.values import Model, Picture
from skerry.island.workers.image.workers import DiffusionWorkers

__all__ = ["DiffusionChoices", "DiffusionWorkers", "Model", "Picture"]
