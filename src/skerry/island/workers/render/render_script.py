"""Renders frames of a scene. Blender runs this, inside a sandbox, so it knows nothing but Python and `bpy`.

    render_script.py -- JSON

The JSON object: `source` (.blend file, or zip), `scene` (path of the .blend file in the zip, or null), `frames`,
`format` and `engine` (or null for the file's own), `scripts`, `gpu`, `threads` (or null), `extensions` (by format).

It writes `out/NNNN.<extension>`, each whole or not at all, and tells on lines of their own that begin with `skerry `:
`format EXTENSION`, `frame N` (its file is there), `failed N TEXT`, `fatal TEXT` (nothing can be rendered; status 3),
`note TEXT`.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from typing import Any

import bpy  # type: ignore[import-not-found]

# Blender itself does not look beside the script that it runs.
sys.path.insert(0, os.getcwd())
from devices_script import choose_devices  # type: ignore[import-not-found]

OUTPUT = "out"


class Hopeless(Exception):
    """Not one frame can be rendered."""


def tell(word: str, text: object = "") -> None:
    """Say something to whoever started us, on a line of its own."""
    line = " ".join(str(text).split())[:500]
    # One write, because Blender itself writes to the same stream.
    os.write(1, f"\nskerry {word} {line}\n".encode("utf-8", "replace"))


def unpack(task: dict[str, Any]) -> str:
    """The path of the .blend file, taken out of its zip first."""
    if task["scene"] is None:
        return str(task["source"])
    with zipfile.ZipFile(task["source"]) as archive:
        archive.extractall("scene")
    return os.path.join(os.path.abspath("scene"), task["scene"])


def open_scene(task: dict[str, Any]) -> Any:
    """Open the file; its scene."""
    path = unpack(task)
    try:
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=task["scripts"])
    except RuntimeError as error:
        raise Hopeless(f"the file cannot be opened: {error}") from None
    return bpy.context.scene


def set_up(scene: Any, task: dict[str, Any]) -> str:
    """Make the scene what is asked for; the extension of its frames."""
    if task["engine"] is not None:
        choose_engine(scene, task["engine"])
    if scene.render.engine == "CYCLES":
        set_up_cycles(scene, task["gpu"])
    elif task["gpu"] and scene.render.engine.startswith("BLENDER_"):
        tell("note", f"{scene.render.engine} picks its GPU itself")
    if task["threads"]:
        scene.render.threads_mode = "FIXED"
        scene.render.threads = task["threads"]
    extension = set_up_output(scene, task)
    mute_side_outputs(scene)
    if scene.camera is None and not has_strips(scene):
        raise Hopeless("the scene has no camera")
    return extension


def choose_engine(scene: Any, name: str) -> None:
    """Set the render engine."""
    # Eevee has had two names; whichever this Blender has is the one.
    names = {"BLENDER_EEVEE": "BLENDER_EEVEE_NEXT", "BLENDER_EEVEE_NEXT": "BLENDER_EEVEE"}
    for candidate in (name, names.get(name, name)):
        try:
            scene.render.engine = candidate
            return
        except TypeError:
            continue
    raise Hopeless(f"Blender {bpy.app.version_string} has no render engine {name}")


def set_up_cycles(scene: Any, gpu: bool) -> None:
    """Choose what Cycles computes on, and do without what this Blender lacks."""
    if not hasattr(scene, "cycles"):
        raise Hopeless("this Blender is built without Cycles")
    devices = choose_devices(scene, gpu)
    if not devices:
        raise Hopeless("Blender sees no GPU here that Cycles can use")
    tell("note", f"renders on {', '.join(devices)}")
    if not has_denoiser() and scene.cycles.use_denoising:
        scene.cycles.use_denoising = False
        tell("note", "this Blender is built without a denoiser, so frames are not denoised")


def has_denoiser() -> bool:
    """Whether this Blender is built with one."""
    import _cycles  # type: ignore[import-not-found]

    return bool(getattr(_cycles, "with_openimagedenoise", True))


def set_up_output(scene: Any, task: dict[str, Any]) -> str:
    """One picture per frame, in the format that is asked for; its extension."""
    settings = scene.render.image_settings
    wanted = task["format"]
    if wanted is not None:
        try:
            if hasattr(settings, "media_type"):
                settings.media_type = "MULTI_LAYER_IMAGE" if wanted == "OPEN_EXR_MULTILAYER" else "IMAGE"
            settings.file_format = wanted
        except TypeError:
            raise Hopeless(f"Blender {bpy.app.version_string} does not write {wanted}") from None
    extension: str | None = task["extensions"].get(settings.file_format)
    if extension is None:
        raise Hopeless(f"the scene's output is {settings.file_format}; choose a picture format")
    scene.render.use_file_extension = False
    scene.render.use_multiview = False
    return extension


def mute_side_outputs(scene: Any) -> None:
    """Nodes that write files of their own would write them where nobody looks."""
    tree = getattr(scene, "compositing_node_group", None) or getattr(scene, "node_tree", None)
    for node in tree.nodes if tree is not None else ():
        if node.type == "OUTPUT_FILE" and not node.mute:
            node.mute = True
            tell("note", f"the File Output node {node.name} is left out: only the composite is rendered")


def has_strips(scene: Any) -> bool:
    """Whether the picture comes from the sequencer, which needs no camera."""
    editor = scene.sequence_editor if scene.render.use_sequencer else None
    return bool(getattr(editor, "strips", None) or getattr(editor, "sequences", None))


def render(scene: Any, frame: int, extension: str) -> None:
    """Write one frame, whole or not at all."""
    part = os.path.abspath(os.path.join(OUTPUT, ".part"))
    scene.frame_set(frame)
    scene.render.filepath = part
    bpy.ops.render.render(write_still=True)
    with open(part, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise RuntimeError("Blender wrote an empty file")
        os.fsync(file.fileno())
    os.replace(part, os.path.join(OUTPUT, f"{frame:04d}.{extension}"))


def main(arguments: list[str]) -> int:
    """Render; the exit status."""
    task = json.loads(arguments[0])
    os.makedirs(OUTPUT, exist_ok=True)
    try:
        scene = open_scene(task)
        extension = set_up(scene, task)
    except (Hopeless, OSError, zipfile.BadZipFile) as error:
        tell("fatal", error)
        return 3
    tell("format", extension)
    failed = 0
    for frame in task["frames"]:
        try:
            render(scene, frame, extension)
        except (RuntimeError, OSError) as error:
            failed += 1
            tell("failed", f"{frame} {error}")
        else:
            tell("frame", frame)
    return 1 if failed else 0


if __name__ == "__main__":
    # As a module, Blender would otherwise go on to its own ending, which says more than it does.
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
