"""Makes the scene that tests render: a cube that moves, and a script that would run when the file is opened.

    scene_script.py -- FILE

Run by Blender.
"""

from __future__ import annotations

import sys

import bpy  # type: ignore[import-not-found]

SCRIPT = """
import os, socket
print("the scene's script runs")
try:
    socket.create_connection(("127.0.0.1", 4242), 1)
except OSError as error:
    print("it cannot call:", error.strerror)
print("it sees", sorted(set(os.listdir("/")) & {"etc", "work"}), os.path.exists("/etc/shadow"))
"""


def main(path: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    for frame, place in ((1, -2.0), (5, 2.0)):
        cube.location.x = place
        cube.keyframe_insert("location", frame=frame)
    for name, data, at, turn in (
        ("camera", bpy.data.cameras.new("camera"), (0.0, -9.0, 3.0), (1.25, 0.0, 0.0)),
        ("sun", bpy.data.lights.new("sun", "SUN"), (0.0, 0.0, 5.0), (0.4, 0.3, 0.0)),
    ):
        made = bpy.data.objects.new(name, data)
        made.location, made.rotation_euler = at, turn
        scene.collection.objects.link(made)
    scene.camera = bpy.data.objects["camera"]
    text = bpy.data.texts.new("run.py")
    text.write(SCRIPT)
    text.use_module = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.image_settings.file_format = "PNG"
    bpy.ops.wm.save_as_mainfile(filepath=path)


main(sys.argv[sys.argv.index("--") + 1])
