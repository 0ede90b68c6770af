"""Renders one frame as anybody would by hand, to compare ours with.

    direct_script.py -- FILE FRAME OUTPUT

Run by Blender.
"""

from __future__ import annotations

import sys

import bpy  # type: ignore[import-not-found]

path, frame, output = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
bpy.context.scene.frame_set(int(frame))
bpy.context.scene.render.filepath = output
bpy.ops.render.render(write_still=True)
