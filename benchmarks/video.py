"""A film in the style of a painting: frames a second, and how much it flickers.

    python -m benchmarks.video [--json FILE] [--frames 60] [--presets instant ...] [--folder DIR]

The clip is made here: a slow pan over examples/china.jpg with the cut-out flower gliding across,
640x360 px, 25 frames a second. Each preset paints it without and with `--temporal`; flicker is the
mean square warping error, measured on the written file, and sharpness the mean gradient of its
last ten frames in those of the same frames painted without.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto.images import Picture, to_pil
from impasto.settings import settings_for
from impasto.video import Clip, film, flow

WIDTH, HEIGHT, RATE = 640, 360, 25
GROUND = 1000  # px, width of the photo that is panned over
PAN = (3.3, 0.7)  # px a frame
STRIP = 192, 108  # px, width and height of a frame in the strip
LAST = 10  # frames whose sharpness is measured


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=60)
    options.add_argument("--presets", nargs="+", default=["instant"])
    options.add_argument("--style", default="great-wave")
    options.add_argument("--strip", type=Path, help="draw frames of the films, JPEG")
    options.add_argument("--folder", type=Path, help="keep the films here")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        clip = folder / "clip.mp4"
        write(clip, given.frames)
        rows = []
        for preset in given.presets:
            ways = [(0.0, 1), (film.TEMPORAL, 1), (film.TEMPORAL, film.EVERY)]
            if settings_for(preset).method != "instant":
                ways.pop()  # every frame is optimized
            found = [row(clip, folder, given.style, preset, *way) for way in ways]
            plain, sharp = found[0]["flicker"], found[0]["gradient"]
            for each in found:
                each["flicker_ratio"] = each["flicker"] / plain
                each["sharpness"] = each.pop("gradient") / sharp
            rows += found
        if given.strip is not None:
            films = [f"{given.presets[0]}-0-1.mp4", f"{given.presets[0]}-{film.TEMPORAL:g}-2.mp4"]
            strip([clip, *(folder / name for name in films)], given.strip)
    publish("video", rows, given.json, frames=given.frames, size=[WIDTH, HEIGHT])


def row(
    clip: Path, folder: Path, style: str, preset: str, temporal: float, every: int
) -> dict[str, Any]:
    """Paint the clip, and measure the film that was written."""
    target = folder / f"{preset}-{temporal:g}-{every}.mp4"
    source, began = Clip(clip), time.perf_counter()
    settings = settings_for(preset, size=max(source.size))
    made = film.Film(source, style, settings, temporal=temporal, every=every)
    for _ in made.write(target, force=True):
        pass
    seconds = time.perf_counter() - began
    painted = Clip(target)
    pairs = (frame.pixels for frame in source.frames()), (f.pixels for f in painted.frames())
    gradients = [sharpness(frame.pixels) for frame in painted.frames(first=source.count - LAST)]
    return {
        "preset": preset,
        "temporal": temporal,
        "every": every,
        "seconds": seconds,
        "frames_a_second": source.count / seconds,
        "flicker": flow.flicker(*pairs),
        "gradient": float(np.mean(gradients)),
    }


def strip(films: Sequence[Path], target: Path) -> None:
    """Frames 1, 20, 40 and 60 of the films, one below the other."""
    rows = []
    for path in films:
        frames = [frame.pixels for frame in Clip(path).frames(STRIP)]
        rows.append(torch.cat([frames[i] for i in (0, 19, 39, 59)], -1))
    to_pil(Picture(torch.cat(rows, -2))).save(target, quality=60)


def sharpness(pixels: Any) -> float:
    """The mean difference between neighbors."""
    return float(pixels.diff(dim=2).abs().mean() + pixels.diff(dim=3).abs().mean())


def write(path: Path, count: int) -> None:
    """Write the clip."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, values in enumerate(frames(count)):
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames(count: int) -> Iterator[NDArray[np.uint8]]:
    """The clip, frame by frame, h w 3: everything moves by fractions of pixels."""
    with Image.open(EXAMPLES / "china.jpg") as opened:
        ground = opened.convert("RGB").resize((GROUND, GROUND * opened.height // opened.width))
    with Image.open(EXAMPLES / "flower-cutout.png") as opened:
        flower = opened.convert("RGBA").resize((HEIGHT // 2, HEIGHT // 2 * opened.height
                                                // opened.width))  # fmt: skip
    for number in range(count):
        part = number / 59
        x, y = 40 + PAN[0] * number, 120 + PAN[1] * number
        frame = moved(ground, -x, -y)
        left, top = WIDTH * (0.75 - 0.6 * part), HEIGHT * (0.25 + 0.15 * np.sin(5 * part))
        over = moved(flower, left, top)
        frame.paste(over, mask=over.getchannel("A"))
        yield np.asarray(frame)


def moved(image: Image.Image, x: float, y: float) -> Image.Image:
    """A frame with the image at that place, px, of which it may lie outside in part."""
    way = (1.0, 0.0, -x, 0.0, 1.0, -y)
    return image.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, way, Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
