"""Style transfer as data augmentation: a transform that repaints some of the pictures it is given.

    transform = StyleTransfer(["great-wave", "poppies"], p=0.5, strength=(0.2, 0.8))
    images, labels = transform(images, labels)

Networks lean on texture where shape would do; training pictures in many styles, their labels kept,
teach them shape (Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture"; Jackson
et al. 2019, "Style augmentation"). One pass of AdaIN (`adain.py`) paints a batch, each picture in a
style and a strength of its own.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor

from impasto import fingerprint, images, machine
from impasto.augmentation import samples
from impasto.errors import PictureError, SettingError
from impasto.images import Picture, Source, paintings
from impasto.images.folder import sources
from impasto.images.objects import ROUNDING, refusals, several
from impasto.losses.moments import Moments
from impasto.machine.device import Precision
from impasto.networks import adain, kept

STYLE_SIDE = 256  # px, long side at which paintings are measured: the strokes of Geirhos et al.
WORKING = 96  # px: smaller pictures are enlarged to it; at 64 strong styles bend shapes
LEAST_SIDE = 8  # px, of a picture
LEAST_SIZE = 32  # px, of `size`: four positions of relu4_1 a side
PIXELS = 2**20  # in one pass; larger batches are split, larger pictures tiled
TILE = 1024  # px
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: gray as Pillow's "L" has it

Styles = Source | Picture | Sequence[Source | Picture]
"""A painting (by its name, a file, a picture), a folder of them, or several."""


@dataclass(frozen=True)
class Draw:
    """What chance decided for a picture that is painted."""

    style: int
    """Which of the styles, from 0."""
    second: int
    """Which style is mixed in."""
    share: float
    """The share of the second, 0 to 1; 0 unless styles are mixed."""
    strength: float
    """0 is the picture as it was, 1 all painting."""


class StyleTransfer(torch.nn.Module):
    """Paints each picture with probability `p`, in one of the styles, drawn evenly.

    Called like a transform of torchvision's v2 (which is not needed): with an image or a batch, or
    with any nesting of dicts, lists and tuples that holds some; labels and all else pass through.
    Images are tensors ... 3 h w or ... 1 h w, uint8 or floating point in [0, 1], on any device, or
    PIL images in RGB or L; type, shape and device stay as they were. Each picture of a batch draws
    for itself, a `tv_tensors.Video` once for all its frames.

    What says itself that it is a picture is painted: `tv_tensors.Image` and `Video`, PIL images in
    color, or if there are none, PIL images in gray. Otherwise it is one plain tensor: the first
    with 3 channels, or if none has 3, with 1. Tensors beside it are no pictures where they are
    classes (their channels sum to one everywhere) or a batch's label maps (they have its shape, but
    for the channels); nor is any other of torchvision's types, such as `tv_tensors.Mask`.

    strength: one number, or the range from which it is drawn evenly; 0 is the picture, 1 AdaIN's
    painting. size: the short side, px, at which pictures are painted before they go back to their
    own size; if None that is their own, but at least 96 px. mix: paint with two styles at a time,
    in shares drawn evenly.

    seed: with None chance is PyTorch's, as in torchvision's transforms: a DataLoader seeds each
    worker on its own, and other numbers of workers make other pictures. With a number, what a
    picture becomes depends on that, the epoch (see `set_epoch`) and its pixels alone: neither on
    workers nor on the order.

    Raises SettingError or PictureError for what cannot be used.
    """

    mean: Float[Tensor, "styles 512"]
    square: Float[Tensor, "styles 512"]

    @machine.neutral()
    def __init__(
        self,
        styles: Styles | None = None,
        p: float = 0.5,
        strength: float | tuple[float, float] = (0.2, 0.8),
        *,
        size: int | None = None,
        mix: bool = False,
        seed: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.p, self.strength = _checked(p, strength, size, precision)
        self.size, self.mix, self.seed, self.precision = size, mix, seed, precision
        need = images.Need(STYLE_SIDE)
        measured = [_measured(paintings.picture(source, need)) for source in _sources(styles)]
        self.names, mean, square = zip(*measured, strict=True)
        self.register_buffer("mean", torch.stack(mean), persistent=False)
        self.register_buffer("square", torch.stack(square), persistent=False)
        self._epoch = _shared(torch.zeros((), dtype=torch.int64))

    def set_epoch(self, epoch: int) -> None:
        """Let a seeded transform draw anew: call it before each epoch. Living workers hear it."""
        self._epoch.fill_(epoch)

    @machine.neutral()
    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """The same sample with its pictures repainted. PictureError if it has none."""
        sample = inputs[0] if len(inputs) == 1 else inputs
        found = {id(image): self._painted(image) for image in samples.pictures_in(sample)}
        return samples.replaced(sample, found)

    @machine.neutral()
    @torch.no_grad()
    def draw(self, image: Shaped[Tensor, "c h w"]) -> Draw | None:
        """What chance decides for a picture; None leaves it as it is."""
        generator = None
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self._key(image))
        # Always five numbers: another p or strength leaves the styles as they were.
        numbers = torch.rand(5, dtype=torch.float64, generator=generator).tolist()
        coin, amount, first, second, share = numbers
        if coin >= self.p:
            return None
        (low, high), count = self.strength, len(self.names)
        strength = low + amount * (high - low)
        return Draw(int(first * count), int(second * count), share if self.mix else 0.0, strength)

    @machine.neutral()
    @torch.no_grad()
    def paint(
        self, batch: Shaped[Tensor, "b c h w"], draws: Sequence[Draw | None]
    ) -> Shaped[Tensor, "b c h w"]:
        """Each picture of a batch as its draw says, uint8 or floating point as before.

        c is 3, or 1 for gray. Raises PictureError for any other batch.
        """
        _check(batch)
        chosen = [(i, draw) for i, draw in enumerate(draws) if draw is not None]
        height, width = self._working(*batch.shape[-2:])
        found, step = batch.clone(), max(1, PIXELS // (height * width))
        for first in range(0, len(chosen), step):
            numbers, some = zip(*chosen[first : first + step], strict=True)
            where = torch.tensor(numbers, device=batch.device)
            with machine.unrounded(batch.device):
                painted = self._stylized(_unit(batch[where]), some)
            found[where] = _like(painted, batch)
        return found

    def extra_repr(self) -> str:
        """What print shows."""
        low, high = self.strength
        return f"{len(self.names)} styles, p={self.p:g}, strength=({low:g}, {high:g})"

    @machine.neutral()
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        epoch = self._epoch.clone() if self._epoch.is_inference() else self._epoch
        self._epoch = _shared(epoch)  # a copy's epoch must reach the copy's workers

    def _painted(self, image: Any) -> Any:
        """One picture or batch of a sample, as it came."""
        if isinstance(image, Image.Image):
            pixels = self._painted(_from_pil(image))
            values = pixels.permute(1, 2, 0).numpy()
            return Image.fromarray(values[:, :, 0] if image.mode == "L" else values)
        _check_dense(image)
        plain = image.as_subclass(Tensor)
        batch = plain.reshape(-1, *plain.shape[-3:])
        alike = plain.shape[-4] if samples.type_of(image) == "Video" and plain.dim() > 3 else 1
        draws = [self.draw(picture) for picture in batch[::alike]]
        made = self.paint(batch, [draw for draw in draws for _ in range(alike)])
        return made.view(plain.shape).as_subclass(type(image))

    def _key(self, image: Tensor) -> int:
        """A seed for one picture's draws, of 63 bits."""
        words = f"{self.seed} {int(self._epoch)} {tuple(image.shape)} {image.dtype}"
        digest = fingerprint.sha256(words, image.contiguous().view(torch.uint8))
        return int(digest[:16], 16) >> 1

    def _stylized(
        self, pixels: Float[Tensor, "b 3 h w"], draws: Sequence[Draw]
    ) -> Float[Tensor, "b 3 h w"]:
        """The pictures, painted at their working size.

        What the decoder loses of a picture is given back in the measure of 1 - strength, so that a
        strength of 0 is the picture itself.
        """
        height, width = pixels.shape[-2:]
        dtype = machine.choose_dtype(self.precision, pixels.device)
        network = _network(dtype, str(pixels.device))
        small = images.resize(pixels, *self._working(height, width)).clamp(0, 1)
        tile = TILE if small[0, 0].numel() > PIXELS else None
        features = network.encode(small, tile)
        affine = adain.transform(adain.measure(features), self._style(draws, features))
        strength = torch.tensor([draw.strength for draw in draws]).to(pixels).view(-1, 1, 1, 1)
        mixed = features.lerp(affine(features), strength.to(features))
        made, plain = network.decode(torch.cat([mixed, features]), tile).chunk(2)
        change = torch.addcmul(made, plain, strength - 1)[..., : small.shape[-2], : small.shape[-1]]
        return images.resize(change, height, width) + (1 - strength) * pixels

    def _working(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which a picture of that size is painted."""
        short = min(height, width)
        side = self.size or max(short, WORKING)
        return round(height * side / short), round(width * side / short)

    def _style(self, draws: Sequence[Draw], features: Tensor) -> Moments:
        """The moments that each picture's features shall have, of its one or two paintings."""
        first, second = ([getattr(draw, name) for draw in draws] for name in ("style", "second"))
        share = self.mean.new_tensor([draw.share for draw in draws]).unsqueeze(1)
        mean, square = (
            torch.lerp(values[first], values[second], share).to(features.device)
            for values in (self.mean, self.square)
        )
        return Moments(mean.new_ones(len(draws)), mean, torch.diag_embed(square))


def _shared(value: Tensor) -> Tensor:
    """The same, where this process and its workers see it change."""
    value.share_memory_()  # type: ignore[no-untyped-call]
    return value


def styles_of(text: str) -> list[str]:
    """The styles that a text with commas names; a file whose name has commas is one."""
    with suppress(OSError):  # names may be too long for a file
        if text and Path(text).exists():
            return [text]
    return [part for part in map(str.strip, text.split(",")) if part]


def _checked(
    p: float, strength: float | tuple[float, float], size: int | None, precision: str
) -> tuple[float, tuple[float, float]]:
    """The probability and the range of strengths. SettingError for what is out of range."""
    if not 0 <= p <= 1:
        raise SettingError(f"p is {p:g}: it is a probability, 0 to 1")
    low, high = (strength, strength) if isinstance(strength, int | float) else strength
    if not 0 <= low <= high <= 1:
        raise SettingError(
            f"strength is {low:g} to {high:g}: give two numbers of 0 to 1, the smaller first"
        )
    if size is not None and size < LEAST_SIZE:
        raise SettingError(f"size is {size} px: use at least {LEAST_SIZE}, or none")
    if precision not in (known := get_args(Precision)):
        raise SettingError(f"precision is {precision!r}: choose from {', '.join(known)}")
    return p, (low, high)


def _sources(styles: Styles | None) -> list[Source | Picture]:
    """What is to be measured, the pictures of folders one by one; all that ship if None."""
    if styles is None:
        return list(paintings.PAINTINGS)
    found = [one for style in several(styles) for one in sources(style)]
    if not found:
        raise SettingError("there is no style: name a painting, a file or a folder")
    return found


def _measured(picture: Picture) -> tuple[str, Float[Tensor, "512"], Float[Tensor, "512"]]:
    """A painting's name, and the mean and mean square of its features at relu4_1, in float32.

    Kept in the user's cache for the next transform.
    """
    small = picture.resized(*images.fit(picture.size, STYLE_SIDE)).pixels

    def measure() -> dict[str, Tensor]:
        found = adain.measure(_network(torch.float32, "cpu").encode(small))
        return {"mean": found.mean[0], "square": found.second[0].diagonal()}

    words = f"augmentation {adain.words(torch.float32, 'reflect')}"
    found = kept.tensors(words, {"pixels": small}, measure, picture.origin)
    return picture.name, found["mean"], found["square"]


@cache
@machine.neutral()
def _network(dtype: torch.dtype, device: str) -> adain.AdaIN:
    """The network, loaded once in each process: what is pickled into a worker stays small."""
    return adain.load(dtype, device)


def _check_dense(image: Tensor) -> None:
    """PictureError for a tensor without values in rows, such as a sparse one."""
    if image.is_meta or image.is_quantized or image.layout != torch.strided:
        kind = "meta" if image.is_meta else "quantized" if image.is_quantized else image.layout
        raise PictureError(f"the picture is a {kind} tensor: give a dense one, ... 3 h w")
    if not image.numel():
        raise PictureError(f"the picture has the shape {tuple(image.shape)}: it holds nothing")


def _check(batch: Tensor) -> None:
    """PictureError for a batch that cannot be painted."""
    _check_dense(batch)
    wrong = batch.dim() != 4 or batch.shape[1] not in (1, 3) or not len(batch)
    if wrong or min(batch.shape[2:]) < LEAST_SIDE:
        raise PictureError(
            f"the pictures have the shape {tuple(batch.shape)}: give 3 channels (or 1, gray), and "
            f"at least {LEAST_SIDE} px a side"
        )
    # PyTorch compares no float8
    floats = batch.dtype.is_floating_point and batch.dtype.itemsize > 1
    if batch.dtype != torch.uint8 and not floats:
        raise PictureError(f"the pictures are {batch.dtype}: give uint8, or floats in [0, 1]")
    if batch.dtype == torch.uint8:
        return
    beyond = max(ROUNDING, 2 * torch.finfo(batch.dtype).eps)
    if not bool(((batch >= -beyond) & (batch <= 1 + beyond)).all()):
        raise PictureError(
            "the pictures have values outside [0, 1]: paint them before they are normalized"
        )


def _unit(batch: Shaped[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """RGB in [0, 1], float32."""
    scale = 255 if batch.dtype == torch.uint8 else 1
    return (batch.float() / scale).clamp(0, 1).expand(-1, 3, -1, -1)


def _like(pixels: Float[Tensor, "b 3 h w"], batch: Tensor) -> Shaped[Tensor, "b c h w"]:
    """RGB in [0, 1] as the batch has it: its type, and gray if that is gray."""
    if batch.shape[1] == 1:
        pixels = torch.einsum("c,bchw->bhw", pixels.new_tensor(LUMA), pixels).unsqueeze(1)
    pixels = pixels.clamp(0, 1)
    return (
        (pixels * 255).round().to(torch.uint8) if batch.dtype == torch.uint8 else pixels.to(batch)
    )


def _from_pil(image: Image.Image) -> Shaped[Tensor, "c h w"]:
    """The pixels of a PIL image, uint8. PictureError unless it is RGB or L."""
    if image.mode not in ("RGB", "L"):
        raise PictureError(f"the picture's mode is {image.mode}: convert it to RGB first")
    with refusals(image):
        values = np.atleast_3d(np.array(image))
    return torch.from_numpy(values).permute(2, 0, 1)
