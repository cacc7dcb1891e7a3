"""Files that no visitor should be able to do harm with."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from small import bomb

SECRET = "/etc/passwd"
RECIPE = {
    "impasto": "0.1", "content": SECRET, "style": [SECRET, "../x.png", "great-wave"],
    "mask": SECRET, "regions": [{"mask": SECRET, "style": [SECRET]}], "resume": SECRET,
    "settings": {
        "start": SECRET, "palette": SECRET, "style_mask": SECRET, "preset": SECRET,
        "size": SECRET, "device": "cuda:7", "memory_limit": "1", "backbone": SECRET,
        "style_weights": {"a": 1}, "strength": [[]], "steps": 1e999, "nonsense": {},
    },
}  # fmt: skip
"""A recipe that names files of this machine wherever it may, and values of all the wrong kinds."""


def picture(path: Path, **options: object) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def noted(text: str) -> Callable[[Path], None]:
    """A PNG with this as its recipe."""

    def write(path: Path) -> None:
        notes = PngInfo()
        notes.add_text("impasto", text)
        picture(path, format="PNG", pnginfo=notes)

    return write


def swollen(path: Path) -> None:
    """A PNG whose note is 20 MB of zeros once it is unpacked."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(20)) + packer.flush()
    picture(path, format="PNG")
    data, body = path.read_bytes(), b"zTXtimpasto\0\0" + packed
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(data[:33] + chunk + data[33:])


def sparse(path: Path) -> None:
    """300 MB that take no room on the disk."""
    with path.open("wb") as file:
        file.truncate(300_000_000)


def words(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "bomb": ("bomb.png", words(bomb(100_000, 100_000)), "pixels|picture"),
    "swollen": ("swollen.png", swollen, "swollen"),
    "svg": ("drawing.svg", words(SVG), "no picture"),
    "svg as png": ("drawing.png", words(SVG), "no picture"),
    "html": ("page.jpg", words(b"<html><script>alert(1)</script></html>"), "no picture"),
    "text": ("text.jpg", words(b"hello"), "no picture"),
    "empty": ("empty.png", words(b""), "is empty"),
    "half": ("half.png", words(bomb(8, 8)[:-4]), "half"),
    "huge": ("huge.png", sparse, "300 MB"),
    "raw": ("photo.CR3", words(b"\0" * 99), "RAW"),
    "pipe": ("|reboot;.png", words(b"hello"), "no picture"),
    "control": ("a\x1b[31m\n\tb.png", words(b"hello"), "no picture"),
    "long": ("x" * 200 + ".png", words(b"hello"), "no picture"),
}
"""Name, what writes the file, and what the visitor is told."""
TAKEN: dict[str, tuple[str, Callable[[Path], None]]] = {
    "PNG as JPEG": ("photo.jpg", lambda path: picture(path, format="PNG")),
    "no suffix": ("photo", lambda path: picture(path, format="JPEG")),
    "dots": ("..\\..\\..png", lambda path: picture(path, format="PNG")),
    "control": ("a\x1b[31m\n\tb.png", lambda path: picture(path, format="PNG")),
    "long": ("x" * 200 + ".png", lambda path: picture(path, format="PNG")),
    "recipe": ("recipe.png", noted(json.dumps(RECIPE))),
    "odd recipe": ("odd.png", noted('{"settings": [1], "style": 3, "content": {}}')),
    "no recipe": ("none.png", noted("[" * 100_000)),
    "deep": ("deep.png", noted('{"settings":' * 50_000)),
}  # fmt: skip
"""Odd, and yet a picture."""
