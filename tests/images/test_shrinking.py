"""Large pictures: read smaller where less will do, as good as before, and only where they fit."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from impasto import fingerprint, images
from impasto.errors import PictureError
from impasto.images import Need, Picture, shrinking
from impasto.machine import memory
from impasto.painting.scales import scale_sizes
from impasto.scene import Region, Scene
from impasto.settings import settings_for
from small import EXAMPLES, bomb

SIZE = (99, 66)  # px
NEED = Need(16, short=4)  # a third of each side: 99 // (2 * 16) = 3, 66 // (2 * 4) = 8
EIGHT_BITS, SIXTEEN_BITS = 1.01 / 255, 2e-5


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of over a thousand pixels count as large."""
    monkeypatch.setattr(shrinking, "WHOLE", 1000)


def photo(mode: str = "RGB") -> Image.Image:
    with Image.open(EXAMPLES / "chelsea.jpg") as image:
        small = image.convert("RGB").resize(SIZE)
    if mode in ("LA", "RGBA"):
        x = np.linspace(0, 255, SIZE[0]).astype(np.uint8)
        small.putalpha(Image.fromarray(np.tile(x, (SIZE[1], 1))))
    if mode == "I;16":
        return Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257)
    return small.convert(mode)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def thirds(picture: Picture) -> Tensor:
    """The means of all squares of 3x3 px; what is transparent weighs nothing."""
    weight = torch.ones_like(picture.pixels[:, :1]) if picture.alpha is None else picture.alpha
    sums = F.avg_pool2d(picture.pixels * weight, 3, ceil_mode=True)
    return sums / F.avg_pool2d(weight, 3, ceil_mode=True).clamp_min(1e-6)


@pytest.mark.parametrize(
    ("size", "need", "expected"),
    [
        ((12000, 6000), Need(512), 11),  # 12000 / 11 = 1091 px, over twice 512
        ((12000, 6000), Need(160), 23),  # the short side keeps twice 128 px
        ((4000, 3000), Need(1000), 2),
        ((4000, 3000), Need(1001), 1),
        ((2000, 2000), Need(100), 1),  # 4 megapixels
        ((12000, 6000), Need(), 1),
        ((100_000, 500), Need(64), 1),
    ],
)
def test_at_least_twice_what_is_needed_is_read(
    size: tuple[int, int], need: Need, expected: int
) -> None:
    assert need.factor(size) == expected


def test_small_pictures_are_read_as_they_are() -> None:
    data = saved(photo(), "JPEG", quality=95)
    assert images.read(data, need=NEED).pixels.equal(images.read(data).pixels)
    assert images.read(data, need=NEED).fingerprint is None


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "I", "RGBA", "LA", "I;16"])
def test_large_ones_are_averaged(mode: str) -> None:
    data = saved(photo(mode), "TIFF" if mode == "I" else "PNG")
    whole, found = images.read(data), images.read(data, need=NEED)
    assert found.size == (33, 22)
    assert found.own_size == whole.size == SIZE
    assert (found.alpha is None) == (whole.alpha is None) == (mode not in ("RGBA", "LA"))
    weight = 1.0 if found.alpha is None else found.alpha
    error = SIXTEEN_BITS if mode == "I;16" else EIGHT_BITS
    assert ((found.pixels - thirds(whole)) * weight).abs().max() < error * (1 + (mode[-1] == "A"))
    if found.alpha is not None and whole.alpha is not None:
        alpha = F.avg_pool2d(whole.alpha, 3, ceil_mode=True)
        assert (found.alpha - alpha).abs().max() < EIGHT_BITS


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_color_are_averaged(channels: int) -> None:
    values = np.random.default_rng(0).random((SIZE[1], SIZE[0], channels), np.float32)
    data = images.encode(images.read(values), bits=16)
    whole, found = images.read(data), images.read(data, need=NEED)
    assert found.own_size == SIZE
    assert (found.pixels - thirds(whole)).abs().max() < SIXTEEN_BITS


@pytest.mark.usefixtures("large")
def test_a_transparent_color_stays_transparent() -> None:
    image = Image.new("RGB", SIZE, "white")
    image.paste("black", (0, 0, 49, 67))
    found = images.read(saved(image, transparency=(0, 0, 0)), need=NEED)
    assert found.alpha is not None
    assert found.alpha[0, 0, 0, :15].max() == 0
    assert found.alpha[0, 0, 0, 17:].min() == 1
    assert found.pixels[..., 17:].min() == 1


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_large_ones_are_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(photo(), format, exif=exif.tobytes(), **options)
    whole, found = images.read(data), images.read(data, need=NEED)
    assert found.own_size == whole.size == (SIZE if orientation < 5 else SIZE[::-1])
    same = images.resize(whole.pixels, *found.pixels.shape[-2:])
    assert (found.pixels - same).abs().mean() < 0.04
    for wrong in (same.flip(-1), same.flip(-2), same.rot90(2, (2, 3))):
        assert (found.pixels - wrong).abs().mean() > 0.1


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_decoded_smaller(progressive: bool) -> None:
    with Image.open(EXAMPLES / "chelsea.jpg") as image:
        part = image.convert("RGB").crop((0, 0, 448, 288))
        data = saved(part, "JPEG", quality=95, progressive=progressive)
    found, whole = images.read(data, need=Need(28, short=8)), images.read(data)
    assert (found.size, found.own_size) == ((56, 36), (448, 288))
    assert (found.pixels - F.avg_pool2d(whole.pixels, 8)).abs().mean() < 0.003


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_nothing_moves(format: str) -> None:
    """203 px are no multiple of 3, 4 or 8: a ramp has its values where it had them."""
    ramp = np.tile(np.linspace(0, 255, 203).round().astype(np.uint8), (160, 1))
    data = saved(Image.fromarray(ramp), format)
    for side in (12, 24, 30):
        found, whole = images.read(data, need=Need(side, short=4)), images.read(data)
        assert found.size[0] < 203
        same = (found.resized(side, 10).pixels - whole.resized(side, 10).pixels)[..., 1:-1]
        assert same.abs().max() < 1.5 / 255


@pytest.mark.usefixtures("large")
def test_pil_images_are_averaged_and_left_alone() -> None:
    image = photo("RGB")
    found = images.read(image, need=NEED)
    assert (found.size, found.own_size, image.size) == ((33, 22), SIZE, SIZE)
    assert (found.pixels - thirds(images.read(image))).abs().max() < EIGHT_BITS


@pytest.mark.usefixtures("large")
def test_a_large_picture_has_one_fingerprint() -> None:
    data = saved(photo(), "JPEG")
    found = [images.read(data, need=need) for need in (Need(), NEED)]
    assert found[0].size != found[1].size
    assert [picture.fingerprint for picture in found] == [fingerprint.short(data)] * 2


def test_what_does_not_fit_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 bytes for each pixel that becomes float32; the process has taken 100 MB. Small pictures
    are read wherever the process stands."""
    monkeypatch.setattr(memory, "resident", lambda: 100_000_000)
    data = saved(Image.new("RGB", (1000, 800)))
    assert images.read(data, need=Need(limit=50_000_000)).size == (1000, 800)
    monkeypatch.setattr(shrinking, "WHOLE", 1000)
    assert images.read(data, need=Need(limit=132_000_000)).size == (1000, 800)
    words = r"photo.png is 1000x800 px: reading it takes 0\.03 GB, more than the 0\.03 GB .*limit"
    with pytest.raises(PictureError, match=words):
        images.read(data, "photo.png", Need(limit=131_999_999))
    with pytest.raises(PictureError, match=r"the 0\.00 GB"):
        images.read(data, need=Need(limit=50_000_000))


def test_a_progressive_jpeg_takes_its_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2000x2400 px an eighth each side is kept, and 6 bytes for each pixel of the whole."""
    monkeypatch.setattr(memory, "resident", lambda: 0)
    kept, image = 250 * 300 * 40, Image.new("RGB", (2000, 2400))
    plain, progressive = (saved(image, "JPEG", progressive=p) for p in (False, True))
    need = Need(64, short=64, limit=kept + 2000 * 2400 * 6 - 1)
    assert images.read(plain, need=need).size == (250, 300)
    with pytest.raises(PictureError, match=r"2000x2400 px: reading it takes 0\.03 GB"):
        images.read(progressive, need=need)


@pytest.mark.parametrize("need", [Need(), Need(160)])
def test_decompression_bombs_are_refused_by_memory(need: Need) -> None:
    with pytest.raises(PictureError, match=r"1000000x1000000 px: reading it takes .* shrink it"):
        images.read(bomb(1_000_000, 1_000_000), need=need)


def test_pillows_own_limit_stays_and_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(photo())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert images.read(data).size == SIZE
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_large_picture_is_read_in_little_memory() -> None:
    """No array of a 6-megapixel PNG: 72 MB it would be in float32."""
    data = saved(Image.new("RGB", (3000, 2000), "teal"))
    tracemalloc.start()
    picture = images.read(data, need=Need(160))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert picture.size == (429, 286)  # a seventh: the short side has 286 px, over twice 128
    assert peak < 10e6


@pytest.mark.usefixtures("large")
def test_a_scene_reads_what_it_needs(tmp_path: Path) -> None:
    """The scales, the view and the result have the sizes and the colors of the whole photo."""
    path, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    with Image.open(EXAMPLES / "china.jpg") as image:
        image.convert("RGB").resize((2401, 1601)).save(path, compress_level=1)
    Image.new("L", (2401, 1601), 255).save(mask)
    settings = settings_for(size=80)
    scene = Scene(path, "great-wave", settings, mask, regions=[Region("poppies", mask)])
    assert scene.photo.size == (601, 401)  # 256 px are needed for its colors: a fourth is read
    assert scene.inputs["mask"].size == (2401, 1601)  # a fourth of it would be too little
    assert scene.photo.own_size == (2401, 1601)
    whole = images.read(path)
    assert scale_sizes(whole.size, settings, 32) == scale_sizes(scene.photo.own_size, settings, 32)
    seen = scene.at((80, 53)).photo
    assert (seen - whole.resized(80, 53).pixels).abs().mean() < 0.003
    full = Scene(path, "great-wave", settings_for(size=80, original_size=True))
    assert full.photo.pixels.equal(whole.pixels)
