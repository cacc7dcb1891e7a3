"""Pictures: every kind of file in, the right pixels out, and back."""

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.images import Picture


def gradient(width: int = 40, height: int = 24) -> np.ndarray:
    """A picture whose every pixel tells where it was: h w 3, uint8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 10, (x + y) * 4], 2).astype(np.uint8)


def smooth() -> np.ndarray:
    """A gradient without a jump: what lossy formats are made for."""
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 3, y * 4, (x + y) * 2], 2).astype(np.uint8)


def pixels_of(picture: Picture) -> np.ndarray:
    return np.rint(picture.pixels[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(format: str) -> None:
    found = images.read(saved(Image.fromarray(gradient()), format))
    assert found.size == (40, 24)
    assert found.alpha is None
    np.testing.assert_array_equal(pixels_of(found), gradient())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_lossy_formats_come_near(format: str) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    found = images.read(saved(Image.fromarray(smooth()), format, quality=95))
    error = np.abs(pixels_of(found).astype(int) - smooth())
    assert error.mean() < 4


def test_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(images.read(data))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """The stored pixels are those that turning by `orientation` makes upright."""
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    upright = Image.fromarray(gradient())
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = images.read(saved(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(pixels_of(found), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_16_bit_agrees_with_8_bit(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    gray = gradient()[:, :, 0]
    eight = images.read(saved(Image.fromarray(gray), "PNG", exif=exif))
    sixteen = images.read(saved(Image.fromarray(gray.astype(np.uint16) * 257), "PNG", exif=exif))
    torch.testing.assert_close(sixteen.pixels, eight.pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_modes_become_rgb(mode: str) -> None:
    original = Image.fromarray(gradient())
    found = images.read(original.convert("RGBA" if mode == "RGBA" else "RGB").convert(mode))
    assert found.pixels.shape == (1, 3, 24, 40)
    expected = original.convert(mode).convert("RGB")
    error = np.abs(pixels_of(found).astype(int) - np.asarray(expected).astype(int))
    assert error.mean() < 1


def test_alpha_is_kept() -> None:
    rgba = np.dstack([gradient(), np.full((24, 40), 255, np.uint8)])
    rgba[:, :20, 3] = 0
    found = images.read(saved(Image.fromarray(rgba), "PNG"))
    assert found.alpha is not None
    assert found.alpha[..., :20].max() == 0
    assert found.alpha[..., 20:].min() == 1
    again = images.read(images.encode(found))
    torch.testing.assert_close(again.alpha, found.alpha)


def test_opaque_alpha_is_no_alpha() -> None:
    rgba = np.dstack([gradient(), np.full((24, 40), 255, np.uint8)])
    assert images.read(rgba).alpha is None


def test_palette_transparency_is_alpha() -> None:
    image = Image.fromarray(gradient()).quantize(8)
    found = images.read(saved(image, "PNG", transparency=0))
    assert found.alpha is not None
    assert 0 < (found.alpha == 0).float().mean() < 1


def test_16_bit_color_keeps_its_depth() -> None:
    values = (np.arange(32 * 16 * 3).reshape(16, 32, 3) * 42).astype(np.uint16)
    data = images.encode(images.read(values), bits=16)
    with Image.open(io.BytesIO(data)) as image:  # Pillow, an independent reader, sees 16 bits
        assert image.tile[0].args == "RGB;16B"
        np.testing.assert_array_equal(np.asarray(image), values >> 8)
    without_profile = _without_chunk(data, b"iCCP")
    found = images.read(without_profile).pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.rint(found * 65535).astype(np.uint16), values)


def test_16_bit_alpha_and_our_own_profile_keep_their_depth() -> None:
    values = (np.arange(32 * 16 * 4).reshape(16, 32, 4) * 31).astype(np.uint16)
    found = images.read(images.encode(images.read(values), bits=16))
    assert found.alpha is not None
    both = torch.cat([found.pixels, found.alpha], 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.rint(both * 65535).astype(np.uint16), values)


def test_16_bit_gray() -> None:
    values = (np.arange(32 * 16).reshape(16, 32) * 128).astype(np.uint16)
    found = images.read(saved(Image.fromarray(values), "PNG"))
    np.testing.assert_allclose(found.pixels[0, 1].numpy() * 65535, values, atol=0.01)


def _without_chunk(png: bytes, kind: bytes) -> bytes:
    """A PNG without its chunks of that kind."""
    kept, at = [png[:8]], 8
    while at < len(png):
        length = struct.unpack(">I", png[at : at + 4])[0] + 12
        if png[at + 4 : at + 8] != kind:
            kept.append(png[at : at + length])
        at += length
    return b"".join(kept)


def test_profiles_are_converted_to_srgb() -> None:
    """A file whose profile says that its first channel is blue reads with blue in its place."""
    profile = images.srgb_profile()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    assert swapped != profile
    data = saved(Image.fromarray(smooth()[:, :, ::-1]), "PNG", icc_profile=swapped)
    error = np.abs(pixels_of(images.read(data)).astype(int) - smooth())
    assert error.max() <= 3


def test_broken_profiles_do_not_stop_reading() -> None:
    data = saved(Image.fromarray(gradient()), "PNG", icc_profile=b"this is no profile")
    np.testing.assert_array_equal(pixels_of(images.read(data)), gradient())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_written_files_carry_an_srgb_profile(format: str) -> None:
    with Image.open(io.BytesIO(images.encode(images.read(gradient()), format))) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert image.format == format


def test_the_same_picture_is_the_same_file() -> None:
    picture = images.read(gradient())
    assert images.encode(picture) == images.encode(picture)
    images.srgb_profile.cache_clear()
    assert images.encode(picture, bits=16) == images.encode(picture, bits=16)


def test_jpeg_lays_transparency_on_white() -> None:
    rgba = np.zeros((32, 32, 4), np.uint8)
    with Image.open(io.BytesIO(images.encode(images.read(rgba), "JPEG"))) as image:
        assert image.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_carries_the_recipe(bits: int) -> None:
    data = images.encode(images.read(gradient()), bits=bits, recipe='{"a": "ü"}')
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["impasto"] == '{"a": "ü"}'


def test_arrays_and_tensors() -> None:
    gray = images.read(np.full((20, 30), 0.5, np.float32))
    assert gray.pixels.shape == (1, 3, 20, 30)
    tensor = torch.rand(3, 20, 30)
    torch.testing.assert_close(images.read(tensor).pixels[0], tensor)
    torch.testing.assert_close(images.read(tensor[None]).pixels[0], tensor)
    assert images.read(torch.full((4, 20, 30), 128, dtype=torch.uint8)).alpha is not None


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((20, 30, 2)), np.zeros((0, 3, 3)), np.full((20, 20), 2.0), np.zeros((4, 4, 4, 4)),
        np.full((20, 20), np.nan), np.full((20, 20), -1), torch.zeros(2, 3, 20, 20),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(bad: object) -> None:
    with pytest.raises(PictureError):
        images.read(bad)  # type: ignore[arg-type]


# What files hold in their corners


def broken_exif() -> bytes:
    """An EXIF block of camera, place and orientation."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(ExifTags.IFD.Exif).update({0x829A: (1, 100), 0x927C: b"note" * 9})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (10.0, 20.0, 30.0)})
    return exif.tobytes()


def png_with(kind: bytes, body: bytes, image: np.ndarray) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = saved(Image.fromarray(image), "PNG")
    chunk = kind + body
    size, check = struct.pack(">I", len(body)), struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + size + chunk + check + data[33:]


@pytest.mark.parametrize("block", [b"b'Exif\\x00II*", b"\0\x08\0\2\1\x12\0\3", b"", b"Exif\0\0"])
def test_a_broken_exif_block_is_left_out(tmp_path: Path, block: bytes) -> None:
    data = png_with(b"eXIf", block, gradient())
    found = images.read(data)
    np.testing.assert_array_equal(pixels_of(found), gradient())
    assert found.exif is None
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PictureError, match="does not say how it was made"):
        images.recipe_of(tmp_path / "a.png")


@given(
    changes=st.lists(st.tuples(st.integers(0, 190), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 200),
    format=st.sampled_from(("PNG", "JPEG", "WEBP")),
    gps=st.booleans(),
)
@settings(max_examples=60)
def test_whatever_exif_says_the_picture_is_read_and_written(
    changes: list[tuple[int, int]], length: int, format: str, gps: bool
) -> None:
    """Without a warning, too: here they are errors."""
    block = bytearray(broken_exif())
    for place, value in changes:
        block[place % len(block)] = value
    found = images.read(saved(Image.fromarray(gradient()), format, exif=bytes(block[:length])))
    assert sorted(found.size) == [24, 40]
    for target in images.FORMATS.values():
        assert images.encode(found, target, recipe="{}", exif=found.exif, gps=gps)
    assert images.encode(found, bits=16, exif=found.exif, gps=gps)


def gray_profile() -> bytes:
    """A profile of gray in linear light (ICC.1:2022, sections 7 and 10)."""
    xyz = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    tags = {b"wtpt": xyz, b"kTRC": b"curv\0\0\0\0\0\0\0\0"}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"gray\0" + bytes(79)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 132 + 12 * len(tags) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"test", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz[8:]
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_profiles_count_at_any_depth(format: str) -> None:
    """Linear light of 0.5 is 0.735 in sRGB: 1.055 0.5^(1 / 2.4) - 0.055."""
    for values in (np.full((20, 20), 128, np.uint8), np.full((20, 20), 128 * 257, np.uint16)):
        data = saved(Image.fromarray(values), format, icc_profile=gray_profile())
        torch.testing.assert_close(
            images.read(data).pixels, torch.full((1, 3, 20, 20), 0.737), rtol=0, atol=0.004
        )


def test_a_profile_of_colors_counts_for_gray() -> None:
    """As scanners and editors embed it; gray in sRGB stays what it is."""
    gray = gradient()[:, :, 0]
    for values in (gray, gray.astype(np.uint16) * 257):
        data = saved(Image.fromarray(values), "PNG", icc_profile=images.srgb_profile())
        np.testing.assert_allclose(images.read(data).pixels[0, 0] * 255, gray, atol=1.01)


def tiff(values: np.ndarray) -> bytes:
    """An uncompressed gray TIFF of any type (TIFF 6.0, section 8, and sample formats)."""
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    height, width = values.shape
    tags = [
        (256, width), (257, height), (258, 8 * values.itemsize), (259, 1), (262, 1),
        (273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height), (279, len(data)), (339, kind),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data


RAMP = np.linspace(0, 1, 400).reshape(20, 20)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.float32(0.25 + RAMP / 2), 0.25 + RAMP / 2),  # floats in [0, 1] mean what they say
        (np.full((20, 20), 0.5, np.float32), np.full((20, 20), 0.5)),
        (np.float32(RAMP * 5000 - 1000), RAMP),  # no agreed range: its own
        (np.uint32(RAMP * 4294967040), RAMP),  # half of which Pillow calls negative
        (np.int32(RAMP * 4e9 - 2e9), RAMP),
        (np.full((20, 20), 4_000_000_000, np.uint32), np.ones((20, 20))),
        (np.full((20, 20), 0, np.uint32), np.zeros((20, 20))),
    ],
)
def test_32_bit_gray_is_scaled_to_its_own_range(values: np.ndarray, wanted: np.ndarray) -> None:
    found = images.read(tiff(values)).pixels[0, 1]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_no_numbers_are_refused(bad: float) -> None:
    values = np.float32(RAMP)
    values[3:7, 3:7] = bad
    with pytest.raises(PictureError, match="16 values that are NaN or infinite"):
        images.read(tiff(values))


def test_a_16_bit_tiff_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    gray = gradient()[:, :, 0]
    for values in (gray, gray.astype(np.uint16) * 257):
        data = saved(Image.fromarray(values), "TIFF", exif=exif)
        np.testing.assert_array_equal(pixels_of(images.read(data))[:, :, 0], np.rot90(gray, -1))


def test_resizing_weighs_transparent_pixels_with_nothing() -> None:
    """A white square on transparent black stays white at every size: no dark rim."""
    rgba = np.zeros((64, 64, 4), np.float32)
    rgba[16:48, 16:48] = 1
    small = images.read(rgba).resized(20, 20)
    assert small.alpha is not None
    visible = small.alpha.expand_as(small.pixels) > 0.05
    assert small.pixels[visible].min() > 0.95


def test_resize_keeps_a_constant_and_shrinks_without_aliasing() -> None:
    constant = torch.full((1, 3, 33, 50), 0.3)
    torch.testing.assert_close(images.resize(constant, 20, 70), torch.full((1, 3, 20, 70), 0.3))
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    small = images.resize(checks[None, None].float(), 16, 16)
    assert (small - 0.5).abs().max() < 0.1


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((640, 427), 512, (512, 342)), ((100, 400), 200, (50, 200)), ((3000, 2), 30, (30, 1))],
)
def test_fit(size: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert images.fit(size, side) == expected


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    images.write_bytes(b"new", target)
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o666 & ~images.files._umask()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PictureError, match="No space left"):
        images.write_bytes(b"new", target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_sixteen_bits_only_as_png(tmp_path: Path) -> None:
    assert images.check_output(tmp_path / "a.PNG", 16) == "PNG"
    with pytest.raises(SettingError, match="PNG only"):
        images.check_output(tmp_path / "a.jpg", 16)


def test_a_picture_is_encoded_in_little_memory() -> None:
    """Its float32 values are not copied as a whole: 48 MB here, against 12 MB of bytes and PNG."""
    picture = Picture(torch.rand(1, 3, 2000, 2000))
    tracemalloc.start()
    data = images.encode(picture, "JPEG")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) > 0
    assert peak < 36e6
