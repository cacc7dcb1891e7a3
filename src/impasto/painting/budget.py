"""What a run will take: the memory of each scale, the tiles that fit into it, and the seconds.

An evaluation costs something by itself and the rest by its pixels, so small ones are timed at two
sizes; larger ones take longer by their pixels alone.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch

from impasto.errors import PictureError
from impasto.machine.memory import PROCESS_BYTES, available, ran_out
from impasto.scene import Scene

PIXEL_BYTES = 12  # one picture: RGB in float32
EVALUATION_BYTES = {torch.bfloat16: 620, torch.float16: 620, torch.float32: 1250}
"""Per pixel of one evaluation: the features down to relu5_1 and their gradients, in `buffers`;
measured by `benchmarks.scaling`."""
TARGET_VALUES = 8  # values of relu4_2 per pixel: 512 channels at a stride of 8
GUIDE_BYTES = 6  # per pixel of one mask on the grids of all layers, in float32
AREA_BYTES = 12  # per pixel of where one part of a picture is, in float32: made of others as large
SMALLEST_TILE, LARGEST_TILE = 128, 2048  # px; margins eat smaller ones, larger ones gain nothing
CARD_WHOLE = 3 * 2**23  # px of a picture in one piece: with 64 channels and what lies around them
# the first maps have fewer values than 31 bits count, as cuDNN did before version 9.3
ONE_PASS_BYTES = {torch.bfloat16: 450, torch.float16: 450, torch.float32: 900}
"""Per pixel of one pass of encoder or decoder, without gradients; buffers are kept."""
CHANNEL_BYTES = 20  # per pixel and channel of a trained network in 16 bits, likewise
ONE_PASS_PICTURES = 5  # kept while one is painted: the file's, the photo's, the painted ones
LARGEST_PASS = 1024  # px: the side of the tiles of one pass, if there is room
GOOD_TILE = 384  # px; L-BFGS gives up part of its history before tiles get smaller
SHORTER_HISTORIES = (10, 5)  # that L-BFGS falls back to, before Adam takes its place
HEADROOM = 0.9  # of what a limit leaves besides the process that is planned with
HOLES = 20_000_000  # bytes of a limit that the C library leaves unused, after large pictures
SHARE = 0.9  # of what is free, for a run that was given no limit
SIDES = (128, 256)  # px: longest sides of the evaluations that are timed
CARD_SIDES = (512, 1024)  # on a card, to which smaller ones are all the same
TIMES = 3  # how often each is timed, after one to warm up
START_COST = 1.2  # of a scale's targets, its first picture and its memory, in steps
UPDATE_COST = 1.05  # of a step, in evaluations of loss and gradient
TILED_COST = 4 / 3  # of loss and gradient of tiles, which see the picture a second time forward

Made = TypeVar("Made")


@dataclass(frozen=True)
class Footprint:
    """How one scale is painted, and the memory that takes."""

    bytes: int
    """Most bytes of the process."""
    tile: int | None
    """The tiles' side, px; None for the whole picture at once."""
    optimizer: str
    history: int
    """What moves the pixels: as asked for, or what there is memory for."""


def pictures_of(optimizer: str, history: int, dtype: torch.dtype) -> int:
    """How many pictures a run keeps: pixels, gradient, the best so far, the optimizer's own.

    L-BFGS keeps its pairs in the features' dtype, its pictures in float32. The transforms of a
    step take as much as six.
    """
    if optimizer == "lbfgs":
        return 2 * history * dtype.itemsize // torch.float32.itemsize + 14
    return 5 if optimizer == "adam" else 4


def footprint(
    size: tuple[int, int],
    dtype: torch.dtype,
    optimizer: str,
    history: int,
    limit: int,
    margin: int,
    tile: int | None = None,
    masks: int = 0,
    kept: int = 0,
    largest: int | None = None,
) -> Footprint:
    """The quickest way to paint a picture of this size in at most `limit` bytes.

    Whole, if it fits; else in the largest tiles that fit, L-BFGS with a shorter history, or Adam
    in its place. margin: of a tile, px. tile: the side asked for, if one was. masks: bytes a pixel
    that they take. kept: bytes of the pictures that were read. largest: pixels of a picture in one
    piece, however much memory there is. Raises PictureError where not even the smallest tiles fit,
    with what would.
    """
    planned = _planned(limit, dtype)
    ways = [(optimizer, history)]
    if optimizer == "lbfgs":
        ways += [("lbfgs", shorter) for shorter in SHORTER_HISTORIES if shorter < history]
        ways += [("adam", history)]
    least = 0
    for smallest in (GOOD_TILE, SMALLEST_TILE):
        for name, pairs in ways:
            state = _state(size, dtype, name, pairs) + size[0] * size[1] * masks + kept
            way = _fitted(size, dtype, state, planned, margin, smallest, tile, largest)
            if way is not None:
                return Footprint(*way, name, pairs)
            least = state + _outer(size, tile or SMALLEST_TILE, margin) * EVALUATION_BYTES[dtype]
    width, height = size
    raise PictureError(
        f"painting {width}x{height} px takes {_limit_for(least, dtype) / 1e9:.3g} GB, more than "
        f"the {limit / 1e9:.3g} GB there are: lower --size or raise --memory-limit"
    )


def one_pass(
    size: tuple[int, int],
    dtype: torch.dtype,
    limit: int,
    margin: int,
    tile: int | None = None,
    channels: int = 0,
    areas: int = 0,
    kept: int = 0,
) -> Footprint:
    """How a picture of this size is painted in one pass in at most `limit` bytes.

    `channels` is the width of the widest trained network, if there is one; `areas` the number of
    parts that are not everywhere, `kept` the bytes of the pictures that were read.
    Whole if it is no larger than the largest tiles, else in the largest that fit. PictureError
    where not even the smallest do.
    """
    planned = _planned(limit, dtype)
    width, height = size
    pictures = ONE_PASS_PICTURES * PIXEL_BYTES + areas * AREA_BYTES
    state = PROCESS_BYTES[dtype] + kept + width * height * (pictures + _map_bytes(dtype))
    each = max(ONE_PASS_BYTES[dtype], CHANNEL_BYTES * channels * torch.finfo(dtype).bits // 16)
    sides = [tile] if tile else [*range(LARGEST_PASS, SMALLEST_TILE, -64), SMALLEST_TILE]
    for side in sides:
        found = state + _outer(size, side, margin) * each
        if found <= planned:
            return Footprint(found, side if side < max(size) else None, "none", 0)
    least = _limit_for(state + _outer(size, sides[-1], margin) * each, dtype)
    raise PictureError(
        f"painting {width}x{height} px takes {least / 1e9:.3g} GB, more than the "
        f"{limit / 1e9:.3g} GB there are: lower --size or raise --memory-limit"
    )


def _planned(limit: int, dtype: torch.dtype) -> int:
    """The bytes of a limit that are planned with: the process is measured, the rest reckoned."""
    process = PROCESS_BYTES[dtype]
    return process + int((limit - process) * HEADROOM) - HOLES


def _limit_for(planned: int, dtype: torch.dtype) -> float:
    """The limit that so many bytes are planned with."""
    process = PROCESS_BYTES[dtype]
    return process + (planned + HOLES - process) / HEADROOM


def _state(size: tuple[int, int], dtype: torch.dtype, optimizer: str, history: int) -> int:
    """The bytes that a run holds besides what it is evaluating: the process, pictures, target."""
    width, height = size
    return PROCESS_BYTES[dtype] + width * height * (
        pictures_of(optimizer, history, dtype) * PIXEL_BYTES + _map_bytes(dtype)
    )


def _map_bytes(dtype: torch.dtype) -> int:
    """Per pixel of relu4_2."""
    return TARGET_VALUES * torch.finfo(dtype).bits // 8


def _fitted(
    size: tuple[int, int], dtype: torch.dtype, state: int, planned: int, margin: int,
    smallest: int, tile: int | None, largest: int | None,
) -> tuple[int, int | None] | None:  # fmt: skip
    """Bytes and tile of the quickest that fits into the planned bytes."""
    whole = size[0] * size[1]
    if tile is not None and tile < max(size):
        found = state + _outer(size, tile, margin) * EVALUATION_BYTES[dtype]
        return (found, tile) if found <= planned else None
    each = EVALUATION_BYTES[dtype]
    at_once = state + whole * each
    if at_once <= planned and (largest is None or whole <= largest):
        return at_once, None
    room = max(planned - state, 0) / each
    side = min((int(math.sqrt(room)) - 2 * margin) // 64 * 64, LARGEST_TILE)
    if side < smallest:
        return None
    return state + _outer(size, side, margin) * each, side


def _outer(size: tuple[int, int], tile: int, margin: int) -> int:
    """The pixels of the largest outer box of such tiles."""
    width, height = (min(side, tile + 2 * margin) for side in size)
    return width * height


class Tiling:
    """The side of the tiles that a run computes in, px: as asked for, or less where memory ran out.

    None for whole pictures.
    """

    def __init__(self, asked: int | None) -> None:
        self.side, self._note = asked, ""

    def fit(self, compute: Callable[[int | None], Made], tile: int | None, long_side: int) -> Made:
        """What `compute` makes in tiles of a side, px, or of half of it, again and again, where
        memory runs out; None is one tile of the long side."""
        while True:
            try:
                return compute(tile)
            except (RuntimeError, MemoryError) as error:
                half = (tile or long_side) // 2
                if not ran_out(error) or half < SMALLEST_TILE:
                    raise
            tile = self.side = half
            self._note = f"memory ran out: going on in tiles of {half} px, with the same result"

    def take_note(self) -> str | None:
        """What a front end should tell its user of it, once."""
        note, self._note = self._note, ""
        return note or None


def limit(asked: int | None, device: torch.device) -> int:
    """The most bytes that the process may take: as asked for, if there is so much, or most of what
    is free."""
    free = available(device)
    return int(free * SHARE) if asked is None else min(asked, free)


def mask_bytes(scene: Scene) -> int:
    """Bytes a pixel that a scale keeps for masks: guides of every part and of what is visible, and
    the photo where it stays."""
    view = scene.at((16, 16))
    parts = [area for area in view.areas if not (area is None and view.alpha is None)]
    count = len(parts) + (view.alpha is not None)
    return count * GUIDE_BYTES + (PIXEL_BYTES if view.canvas is not None else 0)


class Trial(NamedTuple):
    """What one evaluation of a picture took."""

    pixels: int
    seconds: float


class Work(NamedTuple):
    """What is left of a scale."""

    steps: float
    begins: bool
    areas: Sequence[int]
    """Pixels of each tile with its margin, or of the whole."""


def trial(pixels: int, evaluate: Callable[[], object]) -> Trial:
    """The median of several evaluations of so many pixels."""
    times = []
    for _ in range(1 + TIMES):
        began = time.perf_counter()
        evaluate()
        times.append(time.perf_counter() - began)
    return Trial(pixels, statistics.median(times[1:]))


def seconds(trials: Sequence[Trial], scales: Sequence[Work]) -> float:
    """What the scales will take, by one trial or by a small and a larger one."""
    small, large = trials[0], trials[-1]

    def lasts(pixels: int) -> float:
        if pixels >= large.pixels or small.pixels == large.pixels:
            return large.seconds * pixels / large.pixels
        slope = (large.seconds - small.seconds) / (large.pixels - small.pixels)
        return max(small.seconds + slope * (pixels - small.pixels), 0.0)

    total = 0.0
    for steps, begins, areas in scales:
        passes = 1 if len(areas) == 1 else TILED_COST
        total += (steps + START_COST * begins) * passes * sum(map(lasts, areas))
    return total * UPDATE_COST
