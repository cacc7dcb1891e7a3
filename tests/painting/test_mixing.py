"""Between the photo and the painting, in linear light: by hand arithmetic, and at both ends."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto import images
from impasto.errors import PictureError, SettingError
from impasto.images import Picture, color, paintings
from impasto.images.paintings import Painting
from impasto.painting import mixed_again, others_of
from small import Run, painted

INSTANT = {"preset": "instant", "size": 64}


def flat(value: float, alpha: float | None = None, size: tuple[int, int] = (16, 16)) -> Picture:
    shape = (size[1], size[0])
    seen = None if alpha is None else torch.full((1, 1, *shape), alpha)
    return Picture(torch.full((1, 3, *shape), value), seen, "flat")


@pytest.fixture(scope="module")
def result(photo: Path) -> impasto.Result:
    return impasto.stylize(photo, "poppies", **INSTANT)


def test_half_of_black_and_white_is_the_gray_of_half_the_light() -> None:
    """Half the light is 1.055 * 0.5^(1/2.4) - 0.055 = 0.735357 in sRGB; a quarter 0.537099."""
    half = flat(0.0).mixed(flat(1.0), 0.5).pixels
    assert half.min() == half.max() == pytest.approx(0.735357, abs=1e-6)
    assert flat(1.0).mixed(flat(0.0), 0.75).pixels[0, 0, 0, 0] == pytest.approx(0.537099, abs=1e-6)


def test_dark_values_are_mixed_along_the_line() -> None:
    """Below 0.04045 sRGB is 12.92 times the light: there the mean of values is that of lights."""
    found = flat(0.010).mixed(flat(0.030), 0.25).pixels[0, 0, 0, 0]
    assert found == pytest.approx(0.015, abs=1e-6)


def test_mixing_agrees_with_the_standard_everywhere() -> None:
    """The formulas of IEC 61966-2-1 in float64, at every pair of 101 levels."""
    levels = torch.linspace(0, 1, 101)
    first = levels.view(1, 1, 1, 101).expand(1, 3, 101, 101).contiguous()
    second = first.mT.contiguous()
    for amount in (0.1, 0.5, 0.77):
        lights = color.linear(first.double()), color.linear(second.double())
        expected = color.srgb(torch.lerp(*lights, amount))
        found = color.mixed(first, second, amount)
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


def test_mixing_a_picture_with_itself_is_the_picture() -> None:
    pixels = torch.rand(1, 3, 40, 3000, generator=torch.Generator().manual_seed(0))
    found = Picture(pixels).mixed(Picture(pixels), 0.4).pixels
    torch.testing.assert_close(found, pixels, atol=1e-6, rtol=0)


def test_the_ends_are_the_pictures_bit_for_bit(result: impasto.Result, photo: Path) -> None:
    own = images.read(photo).resized(*result.picture.size)
    assert result.mixed(0.0).picture.pixels.equal(own.pixels)
    assert result.mixed(1.0).picture.pixels.equal(result.picture.pixels)


def test_the_middle_is_the_mean_in_linear_light(result: impasto.Result, photo: Path) -> None:
    own = images.read(photo).resized(*result.picture.size)
    light = (color.linear(own.pixels) + color.linear(result.picture.pixels)) / 2
    half = result.mixed(0.5)
    torch.testing.assert_close(color.linear(half.picture.pixels), light, atol=3e-6, rtol=0)
    assert half.recipe == result.recipe | {"mixed": [{"amount": 0.5}]}
    assert (half.settings, half.history, half.seconds) == (
        result.settings, result.history, result.seconds,
    )  # fmt: skip


def test_amounts_multiply(result: impasto.Result) -> None:
    """Half of half is a quarter: mixing is linear in light."""
    twice, once = result.mixed(0.5).mixed(0.5), result.mixed(0.25)
    torch.testing.assert_close(twice.picture.pixels, once.picture.pixels, atol=2e-6, rtol=0)
    assert twice.recipe["mixed"] == [{"amount": 0.5}, {"amount": 0.5}]


@pytest.mark.parametrize("amount", [-0.1, 1.01, float("nan"), float("inf")])
def test_an_amount_out_of_range_is_refused(result: impasto.Result, amount: float) -> None:
    with pytest.raises(SettingError, match=r"amount is .*: it must be 0 to 1"):
        result.mixed(amount)


def test_transparent_places_weigh_what_is_seen_of_them() -> None:
    """White of alpha 0.2 and black of alpha 0.6, halves: alpha 0.4, and 0.1 of 0.4 of the light is
    white: 1.055 * 0.25^(1/2.4) - 0.055 = 0.537099."""
    found = flat(1.0, 0.2).mixed(flat(0.0, 0.6), 0.5)
    assert found.alpha is not None
    assert found.alpha[0, 0, 0, 0] == pytest.approx(0.4)
    assert found.pixels[0, 0, 0, 0] == pytest.approx(0.537099, abs=1e-6)
    none = flat(1.0, 0.0).mixed(flat(0.0, 0.0), 0.5)  # nothing is seen: no number is lost
    assert none.pixels.isfinite().all()
    opaque = flat(0.0).mixed(flat(1.0, 1.0), 0.5)
    assert opaque.alpha is not None
    assert opaque.alpha.min() == 1
    assert opaque.pixels[0, 0, 0, 0] == pytest.approx(0.735357, abs=1e-6)
    assert flat(1.0, 0.2).mixed(flat(0.0), 1.0).alpha is None


def test_the_photos_alpha_and_notes_stay(photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        cut = image.convert("RGBA")
        cut.putalpha(Image.linear_gradient("L").resize(cut.size))
        notes = Image.Exif()
        notes[0x010E] = "a pagoda"
        cut.save(tmp_path / "cut.png", exif=notes)
    done = impasto.stylize(tmp_path / "cut.png", "poppies", **INSTANT)
    done.save(tmp_path / "painted.png")
    half = done.mixed(0.5)
    assert torch.equal(half.picture.alpha, done.picture.alpha)
    from_files = impasto.mix(tmp_path / "cut.png", tmp_path / "painted.png", 0.5)
    from_files.save(tmp_path / "mix.png")
    half.save(tmp_path / "half.png")
    for name in ("mix.png", "half.png"):
        with Image.open(tmp_path / name) as image:
            assert image.mode == "RGBA"
            assert image.getexif()[0x010E] == "a pagoda"
    levels = [
        np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("mix.png", "half.png")
    ]
    seen = levels[0][..., 3] > 64
    assert abs(levels[0] - levels[1])[seen].max() <= 2  # the painted file had 8 bits


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    """A ramp of 1024 levels and itself, half and half, comes back with as many."""
    ramp = torch.linspace(0, 1, 1024).view(1, 1, 16, 64).expand(1, 3, 16, 64)
    data = images.encode(Picture(ramp.contiguous()), bits=16)
    found = impasto.mix(data, data, 0.5)
    found.save(tmp_path / "a.png", bits=16)
    again = images.read(tmp_path / "a.png").pixels
    assert (again - ramp).abs().max() < 2e-5
    assert len(again[0, 0].unique()) == 1024


def test_original_size_is_the_photos(result: impasto.Result, photo: Path, tmp_path: Path) -> None:
    result.save(tmp_path / "painted.png")
    whole = images.read(photo)
    found = impasto.mix(photo, tmp_path / "painted.png", 0.0, original_size=True)
    assert found.picture.size == whole.size == (96, 64)
    assert found.picture.pixels.equal(whole.pixels)
    assert found.recipe["settings"]["original_size"] is True
    small = impasto.mix(photo, tmp_path / "painted.png", 1.0)
    assert small.picture.pixels.equal(images.read(tmp_path / "painted.png").pixels)
    assert small.recipe["settings"]["original_size"] is False


def test_two_painted_pictures_are_mixed(result: impasto.Result, photo: Path) -> None:
    other = impasto.stylize(photo, "summertime", **INSTANT)
    found = impasto.mix(other.picture, result.picture, 0.5)
    light = (color.linear(other.picture.pixels) + color.linear(result.picture.pixels)) / 2
    torch.testing.assert_close(color.linear(found.picture.pixels), light, atol=3e-6, rtol=0)
    assert found.recipe == {}  # no file says how they were painted
    assert images.read(found.encoded()).size == (64, 43)


def test_other_proportions_are_refused() -> None:
    with pytest.raises(PictureError, match="'flat' is 40x20 px, but 'flat' is 16x16: mix pictures"):
        impasto.mix(flat(0.0, None, (40, 20)), flat(1.0), 0.5)
    assert impasto.mix(flat(0.0, None, (40, 20)), flat(1.0, None, (60, 30)), 0.5).picture.size == (
        60, 30,
    )  # fmt: skip


def test_the_command_mixes_and_the_recipe_says_so(
    impasto: Run, photo: Path, tmp_path: Path, library: Path
) -> None:
    """`rerun` paints again and mixes again: the same file but for the seconds. A painting of one's
    own is found by its name; when it is another one, that is said."""
    (tmp_path / "photo.png").write_bytes(photo.read_bytes())
    paintings.add("mine", paintings.path("poppies"), Painting())
    words = ("--preset", "instant", "--size", 64)
    assert impasto("stylize", tmp_path / "photo.png", "mine", *words)[0] == 0
    there = tmp_path / "photo-mine.png"
    status, out, err = impasto("mix", tmp_path / "photo.png", there, "--amount", 0.25, "--json")
    assert (status, json.loads(out)["mixed"]) == (0, [{"amount": 0.25}])
    mixed = tmp_path / "photo-mix.png"
    assert f"wrote {mixed} (64x43 px" in err
    assert images.recipe_of(mixed)["style"] == ["mine"]
    _, out, _ = impasto("info", mixed)
    assert "  mixed      0.25 of it, the rest the photo" in out
    assert impasto("rerun", mixed, "-q")[0] == 0
    again, before = images.read(tmp_path / "photo-mix-again.png"), images.read(mixed)
    assert (again.pixels - before.pixels).abs().max() < 2 / 255  # the painted file had 8 bits
    assert images.recipe_of(tmp_path / "photo-mix-again.png")["mixed"] == [{"amount": 0.25}]
    paintings.add("mine", paintings.path("summertime"), Painting(), force=True)
    _, _, err = impasto("rerun", mixed, "-o", tmp_path / "b.png")
    assert "not the same as then: rest painting 1" in err
    paintings.remove("mine")
    status, _, err = impasto("rerun", mixed, "-o", tmp_path / "c.png")
    assert status == 2
    assert "the painting of" in err


def test_what_another_picture_was_mixed_with_is_found_again(
    impasto: Run, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(photo.read_bytes())
    for name in ("poppies", "summertime"):
        impasto("stylize", tmp_path / "photo.png", name, "--preset", "instant", "--size", 64)
    first, second = (tmp_path / f"photo-{name}.png" for name in ("poppies", "summertime"))
    assert impasto("mix", first, second, "--amount", 0.7, "-o", tmp_path / "both.png")[0] == 0
    (note,) = images.recipe_of(tmp_path / "both.png")["mixed"]
    assert (note["amount"], note["with"]) == (0.7, "photo-poppies.png")
    assert impasto("rerun", tmp_path / "both.png", "-o", tmp_path / "again.png")[0] == 0
    both, again = (images.read(tmp_path / name).pixels for name in ("both.png", "again.png"))
    assert (both - again).abs().max() < 3 / 255
    first.unlink()
    status, _, err = impasto("rerun", tmp_path / "both.png", "-o", tmp_path / "c.png")
    assert status == 2
    assert "the other picture of" in err
    assert "--inputs" in err
    assert not (tmp_path / "c.png").exists()


def test_the_command_refuses_in_one_line(impasto: Run, photo: Path, tmp_path: Path) -> None:
    result_file = tmp_path / "painted.png"
    images.write_bytes(images.encode(images.read(photo)), result_file)
    (tmp_path / "there.png").write_bytes(b"mine")
    target = tmp_path / "a.png"
    for words, why in (
        ((photo, result_file, "--amount", 1.5, "-o", target), "amount is 1.5: it must be 0 to 1"),
        ((photo, tmp_path / "gone.png", "-o", target), "cannot read"),
        ((photo, result_file, "-o", tmp_path / "there.png"), "exists: name another"),
        ((photo, result_file, "-o", result_file, "--force"), "is an input"),
        ((photo, result_file, "-o", tmp_path / "a.gif"), "end its name in"),
        ((photo, result_file, "-o", tmp_path / "a.jpg", "--bits", 16), "16 bit are written to PNG"),
        ((photo, result_file, "-o", "-", "--json"), "both want stdout"),
        (("-", "-", "-o", target), "two pictures want stdin"),
        (("-", result_file), "say where to write with -o"),
    ):
        status, out, err = impasto("mix", *words)
        assert (status, out) == (2, ""), words
        assert why in err
        assert err.count("\n") == 1
    assert sorted(f.name for f in tmp_path.iterdir()) == ["painted.png", "there.png"]


@pytest.mark.parametrize("notes", [{}, [1], [{"amount": "much"}], [{}]])
def test_a_recipe_that_does_not_read_so_is_refused(notes: object) -> None:
    with pytest.raises(PictureError, match="does not say how it was mixed"):
        others_of({"mixed": notes}, str)


def test_a_picture_that_was_not_mixed_stays(result: impasto.Result) -> None:
    assert mixed_again(result, {}, others_of({}, str)) is result


def test_an_optimized_picture_is_mixed_at_the_photos_size(photo: Path) -> None:
    done = painted(photo, steps=(1, 1), original_size=True)
    assert done.mixed(0.0).picture.pixels.equal(images.read(photo).pixels)
