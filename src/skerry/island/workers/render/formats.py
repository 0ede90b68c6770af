"""Picture formats by Blender's names, and the extension of their files; films are not among them."""

from __future__ import annotations

EXTENSIONS = {
    "BMP": "bmp",
    "IRIS": "iris",
    "PNG": "png",
    "JPEG": "jpg",
    "JPEG2000": "jp2",
    "TARGA": "tga",
    "TARGA_RAW": "tga",
    "CINEON": "cin",
    "DPX": "dpx",
    "OPEN_EXR": "exr",
    "OPEN_EXR_MULTILAYER": "exr",
    "HDR": "hdr",
    "TIFF": "tif",
    "WEBP": "webp",
}

KNOWN_EXTENSIONS = tuple(dict.fromkeys(EXTENSIONS.values()))


def frame_name(frame: int, extension: str) -> str:
    """The file of a frame.

    Example:
        >>> frame_name(7, "png"), frame_name(12345, "exr")
        ('0007.png', '12345.exr')
    """
    return f"{frame:04d}.{extension}"
