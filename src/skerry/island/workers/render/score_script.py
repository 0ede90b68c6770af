"""Builds a fixed scene and measures how long Cycles takes for it. Blender runs this, inside a sandbox.

    score_script.py -- JSON

The JSON object: `gpu`, `threads` (or null). It says `score` with a JSON object (`samples`, `seconds` of each pass,
`devices`) or `fatal TEXT`, on lines that begin with `skerry `.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

import bpy  # type: ignore[import-not-found]

# Blender itself does not look beside the script that it runs.
sys.path.insert(0, os.getcwd())
from devices_script import choose_devices  # type: ignore[import-not-found]

SAMPLES = 8
FEWEST_PASSES = 3
LEAST_SECONDS = 2.0
SIZE = (480, 270)


def tell(word: str, text: str) -> None:
    """Say something to whoever started us."""
    os.write(1, f"\nskerry {word} {text}\n".encode())


def build() -> Any:
    """Smooth bodies of glass, metal and paint on a floor, lit by the sky and a lamp: rays bounce often."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("sky")
    bpy.ops.mesh.primitive_plane_add(size=40)
    bpy.context.object.data.materials.append(material("floor", 0.0, 0.4, (0.5, 0.5, 0.5)))
    for number in range(25):
        angle, distance = number * 2.399963, 0.55 * math.sqrt(number)
        place = (distance * math.cos(angle) * 1.6, distance * math.sin(angle) * 1.6, 0.6)
        bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.55, location=place)
        colour = (0.3 + 0.02 * number, 0.9 - 0.03 * number, 0.5)
        metal, rough = float(number % 3 == 0), 0.05 if number % 2 else 0.35
        bpy.context.object.data.materials.append(material(f"body{number}", metal, rough, colour))
    lamp = bpy.data.lights.new("lamp", "AREA")
    lamp.energy, lamp.size = 900.0, 4.0
    stand(scene, "lamp", lamp, (4.0, -4.0, 7.0), (0.7, 0.0, 0.8))
    scene.camera = stand(scene, "camera", bpy.data.cameras.new("camera"), (0.0, -11.0, 5.5), (1.13, 0.0, 0.0))
    return scene


def material(name: str, metallic: float, roughness: float, colour: tuple[float, float, float]) -> Any:
    """A material of the usual kind."""
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        made.use_nodes = True
    shader = next(node for node in made.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Metallic"].default_value = metallic
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    return made


def stand(scene: Any, name: str, data: Any, place: tuple[float, ...], turn: tuple[float, ...]) -> Any:
    """Put a lamp or a camera into the scene."""
    made = bpy.data.objects.new(name, data)
    made.location, made.rotation_euler = place, turn
    scene.collection.objects.link(made)
    return made


def main(arguments: list[str]) -> int:
    """Measure; the exit status."""
    task = json.loads(arguments[0])
    scene = build()
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = *SIZE, 100
    scene.cycles.samples = SAMPLES
    scene.cycles.seed = 0
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    if task["threads"]:
        render.threads_mode, render.threads = "FIXED", task["threads"]
    devices = choose_devices(scene, task["gpu"])
    if not devices:
        tell("fatal", "Blender sees no GPU here that Cycles can use")
        return 3
    # The first pass warms up: kernels are loaded, caches filled.
    bpy.ops.render.render(write_still=False)
    seconds: list[float] = []
    while len(seconds) < FEWEST_PASSES or sum(seconds) < LEAST_SECONDS:
        begin = time.perf_counter()
        bpy.ops.render.render(write_still=False)
        seconds.append(time.perf_counter() - begin)
    tell("score", json.dumps({"samples": SAMPLES, "seconds": seconds, "devices": devices}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
