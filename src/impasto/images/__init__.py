"""Pictures in and out. Inside impasto a picture is float32 RGB in [0, 1], sRGB, 1 3 h w.

Everything that a file may be on disk is settled here, once: EXIF orientation, colour profiles,
grey, palette, CMYK, 16 bit, transparency; and files are written whole or not at all.
"""

from impasto.images.picture import Picture, fit, resize
from impasto.images.reading import MAX_PIXELS, MIN_SIDE, Source, read
from impasto.images.writing import (
    FORMATS,
    check_output,
    encode,
    recipe_of,
    srgb_profile,
    to_pil,
    write_bytes,
)

__all__ = [
    "FORMATS", "MAX_PIXELS", "MIN_SIDE", "Picture", "Source", "check_output", "encode", "fit",
    "read", "recipe_of", "resize", "srgb_profile", "to_pil", "write_bytes",
]  # fmt: skip
