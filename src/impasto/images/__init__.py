"""Pictures in and out. Inside impasto a picture is float32 RGB in [0, 1], sRGB, 1 3 h w.

Everything that a file may be on disk is settled here, once: EXIF orientation, color profiles,
gray, palette, CMYK, 16 bit, transparency; and files are written whole or not at all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.images.files import (
        check_name,
        check_place,
        companion,
        is_stream,
        make_folder,
        write_bytes,
        written_whole,
    )
    from impasto.images.picture import Picture, enlarged, fit, resize
    from impasto.images.reading import MIN_SIDE, Source, read
    from impasto.images.shrinking import Need, check_room
    from impasto.images.writing import (
        FORMATS,
        check_output,
        encode,
        recipe_of,
        srgb_profile,
        to_pil,
    )

__all__ = [
    "FORMATS", "MIN_SIDE", "Need", "Picture", "Source", "check_name", "check_output", "check_place",
    "check_room", "companion", "encode", "enlarged", "fit", "is_stream", "make_folder", "read",
    "recipe_of", "resize", "srgb_profile", "to_pil", "write_bytes", "written_whole",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: `impasto styles` lists paintings without PyTorch."""
    modules = ("files", "picture", "reading", "shrinking", "writing")
    for module in modules if name in __all__ else ():
        found = import_module(f"impasto.images.{module}")
        if hasattr(found, name):
            globals()[name] = getattr(found, name)
            return globals()[name]
    raise AttributeError(f"module 'impasto.images' has no attribute {name!r}")
