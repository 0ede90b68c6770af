"""What Cycles computes on; imported by the scripts that Blender runs, beside which it lies."""

from __future__ import annotations

from typing import Any

import bpy  # type: ignore[import-not-found]

_GPU_KINDS = ("OPTIX", "CUDA", "HIP", "ONEAPI")


def choose_devices(scene: Any, gpu: bool) -> list[str]:
    """Let Cycles use every GPU of the sandbox, or the CPU; their names, none when there is nothing to use."""
    scene.cycles.device = "GPU" if gpu else "CPU"
    if not gpu:
        return ["CPU"]
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in _GPU_KINDS:
        try:
            preferences.compute_device_type = kind
            preferences.get_devices()
        except (TypeError, ValueError):
            # This Blender was built without that kind.
            continue
        found = [device for device in preferences.devices if device.type == kind]
        if found:
            for device in preferences.devices:
                device.use = device.type == kind
            return [f"{device.name} ({kind})" for device in found]
    return []
