"""Instant mode as a user meets it: one pass with styles, masks, strength, colors and tiles."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import impasto as package
from impasto import images, weights
from impasto.errors import PictureError, SettingError
from impasto.images import Picture, color, masks, paintings
from impasto.networks import residual
from impasto.painting import OnePassRun, budget, steps, stylize
from impasto.scene import Region, Scene
from impasto.settings import settings_for

Command = Callable[..., tuple[int, str, str]]
STYLE = "great-wave"


@pytest.fixture(scope="module")
def picture(photo: Path) -> Picture:
    return images.read(photo)


def painted(content: Any, style: Any = STYLE, **changes: Any) -> torch.Tensor:
    """Pixels of instant mode in float32, which tests compare."""
    more = {name: changes.pop(name) for name in ("mask", "regions") if name in changes}
    settings = settings_for("instant", **({"size": 96, "precision": "float32"} | changes))
    return stylize(content, style, settings, **more).picture.pixels


def left_half(width: int = 96, height: int = 64) -> Picture:
    white = torch.zeros(1, 3, height, width)
    white[..., : width // 2] = 1
    return Picture(white, None, "left")


def test_one_step_is_all_it_takes(photo: Path) -> None:
    (step,) = steps(photo, STYLE, preset="instant", size=96)
    assert (step.step, step.steps, step.work, step.losses) == (1, 1, 1.0, {})
    result = step.result()
    assert result.picture.size == (96, 64)
    assert result.recipe["settings"]["method"] == "instant"
    assert result.history == [{"step": 1, "size": 96}]


def test_given_settings_that_one_pass_does_not_use_are_named(
    picture: Picture, network: Path
) -> None:
    changes: dict[str, Any] = {
        "steps": 5, "tv_weight": 1, "optimizer": "adam", "style_loss": "gram", "seed": 3,
        "transform": "adain", "style_scale": 0.5, "strength": 0.7,
    }  # fmt: skip
    (step,) = steps(picture, STYLE, preset="instant", size=64, **changes)
    words = "painting in one pass does not use "
    assert step.note == words + "--seed, --tv-weight, --style-loss, --optimizer, --steps"
    (step,) = steps(picture, STYLE, preset="draft", method="instant", size=64, strength=0.7)
    assert step.note is None
    (step,) = steps(picture, network, size=64, strength=0.7, style_scale=2, tile=64)
    assert step.note == words + "--style-scale, --tile"


def test_it_takes_the_colors_of_the_painting(picture: Picture) -> None:
    def colors(pixels: torch.Tensor) -> torch.Tensor:
        return color.oklab(pixels).mean((2, 3))

    wanted = colors(images.read(paintings.path(STYLE)).pixels)
    found, before = colors(painted(picture)), colors(picture.pixels)
    assert (found - wanted).norm() < 0.7 * (before - wanted).norm()


def test_a_strength_of_zero_is_the_photo(picture: Picture) -> None:
    assert torch.equal(painted(picture, strength=0), picture.pixels)


def test_a_small_strength_is_near_the_photo(picture: Picture) -> None:
    distances = [
        float((painted(picture, strength=s) - picture.pixels).abs().mean())
        for s in (0.02, 0.3, 0.6, 1.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.02


def test_all_the_weight_on_one_style_is_that_style(picture: Picture) -> None:
    both = painted(picture, [STYLE, "poppies"], style_weights=(1, 0))
    torch.testing.assert_close(both, painted(picture), atol=1e-5, rtol=0)
    mixed = painted(picture, [STYLE, "poppies"], style_weights=(1, 1))
    assert (mixed - both).abs().mean() > 0.01


def test_a_mask_of_ones_is_no_mask(picture: Picture) -> None:
    ones = Picture(torch.ones(1, 3, 64, 96), None, "ones")
    torch.testing.assert_close(painted(picture, mask=ones), painted(picture), atol=1e-4, rtol=0)


def test_what_a_mask_leaves_black_is_the_photo(picture: Picture) -> None:
    found = painted(picture, mask=left_half())
    assert torch.equal(found[..., 56:], picture.pixels[..., 56:])
    assert (found - picture.pixels)[..., :40].abs().mean() > 0.05


def test_two_halves_of_one_style_are_the_whole(picture: Picture) -> None:
    mask = left_half()
    other = Picture(1 - mask.pixels, None, "right")
    regions = [Region(STYLE, mask, name="left"), Region(STYLE, other, name="right")]
    found = painted(picture, None, regions=regions)
    torch.testing.assert_close(found, painted(picture), atol=1e-4, rtol=0)


def test_regions_take_their_own_style(picture: Picture) -> None:
    regions = [Region("poppies", left_half(), name="left"), Region(STYLE, name="rest")]
    found = painted(picture, None, regions=regions)
    with_mask = painted(picture, None, regions=[Region("poppies", left_half(), strength=0.0,
                                                       name="left"), Region(STYLE)])  # fmt: skip
    assert (found - with_mask)[..., :40].abs().mean() > 0.05
    # Beyond the mask's soft edge only a little of the other style shines through.
    assert (found - with_mask)[..., 72:].abs().mean() < 0.03
    photo = picture.pixels[..., :24]
    assert (with_mask[..., :24] - photo).abs().mean() < 0.1 * (found[..., :24] - photo).abs().mean()


def test_kept_colors_are_kept(picture: Picture) -> None:
    found = painted(picture, keep_colors="luminance")
    chroma = (color.oklab(found) - color.oklab(picture.pixels))[:, 1:]
    assert chroma.abs().max() * 100 < 1


def test_transparent_stays_transparent_and_weighs_nothing(picture: Picture) -> None:
    alpha = masks.read(left_half())
    loud = picture.pixels.clone()
    loud[..., 48:] = torch.tensor([1.0, 0, 1]).view(1, 3, 1, 1)
    results = [
        package.stylize(Picture(pixels, alpha), STYLE, preset="instant", size=96).picture
        for pixels in (picture.pixels, loud)
    ]
    assert results[0].alpha is not None
    assert torch.equal(results[0].alpha, alpha)
    assert torch.equal(results[0].pixels, results[1].pixels)


def test_tiles_change_nothing(photo: Path) -> None:
    for more in ({}, {"transform": "adain"}, {"seamless": True}, {"strength": 0.6}):
        whole = painted(photo, size=224, **more)
        tiled = painted(photo, size=224, tile=96, **more)
        torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def test_seamless_edges_meet(picture: Picture) -> None:
    found = painted(picture, seamless=True, size=96)
    turned = Picture(picture.pixels.roll(48, -1))
    rolled = painted(turned, seamless=True, size=96).roll(-48, -1)
    torch.testing.assert_close(found, rolled, atol=1e-4, rtol=0)


def test_another_photo_of_the_same_scene(picture: Picture) -> None:
    settings = settings_for("instant", size=96, precision="float32")
    run = OnePassRun(Scene(picture, STYLE, settings))
    run.painted(run.scene)
    (moments,) = run.styles.values()
    mirrored = Picture(picture.pixels.flip(-1))
    other = run.painted(run.scene.of(mirrored))
    torch.testing.assert_close(other.clamp(0, 1), painted(mirrored), atol=1e-5, rtol=0)
    assert list(run.styles.values()) == [moments]  # the painting was measured once
    assert run.scene.of(mirrored).fingerprints != run.scene.fingerprints


def test_memory_that_runs_out_makes_tiles(
    picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for("instant", size=320, precision="float32")
    run = OnePassRun(Scene(picture, STYLE, settings))
    encode = run.network.encode

    def short(image: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        if tile is None:
            raise MemoryError
        return encode(image, tile)

    monkeypatch.setattr(run.network, "encode", short)
    (step,) = run.paint()
    assert step.note is not None
    assert "tiles of 160 px" in step.note
    torch.testing.assert_close(step.picture().pixels, painted(picture, size=320), atol=1e-4, rtol=0)


def test_the_plan_keeps_to_its_limit() -> None:
    dtype = torch.bfloat16
    roomy = budget.one_pass((2000, 1500), dtype, 10**10, 32)
    tight = budget.one_pass((2000, 1500), dtype, int(1.2e9), 32)
    assert roomy.tile == budget.LARGEST_PASS
    assert tight.tile is not None
    assert tight.tile < budget.LARGEST_PASS
    assert tight.bytes <= 1.2e9
    parts = budget.one_pass((2000, 1500), dtype, 10**10, 32, areas=3)
    assert parts.bytes - roomy.bytes == 3 * 12 * 2000 * 1500
    with pytest.raises(PictureError, match="raise --memory-limit"):
        budget.one_pass((2000, 1500), dtype, int(0.6e9), 32)


def test_masks_are_in_the_plan(picture: Picture) -> None:
    settings = settings_for("instant", size=96)
    scenes = [Scene(picture, STYLE, settings, mask=mask) for mask in (None, left_half())]
    plain, masked = (OnePassRun(scene).footprint((96, 64)).bytes for scene in scenes)
    kept = scenes[1].bytes - scenes[0].bytes
    assert masked - plain == budget.AREA_BYTES * 96 * 64 + kept


def test_a_start_for_the_optimizer(picture: Picture) -> None:
    settings = settings_for(size=96, steps=1, coarsest=0, start="instant", precision="float32")
    optimized = stylize(picture, STYLE, settings)
    instant = painted(picture)
    from_photo = stylize(picture, STYLE, settings, start="content")
    near, far = (
        float((run.picture.pixels - instant).abs().mean()) for run in (optimized, from_photo)
    )
    assert near < far / 2


def test_the_command(impasto: Command, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    status, out, err = impasto(
        "stylize", photo, STYLE, "--preset", "instant", "--size", "96", "-o", target, "--json"
    )
    assert status == 0, err
    assert json.loads(out)["settings"]["preset"] == "instant"
    with Image.open(target) as image:
        assert image.size == (96, 64)
    again = tmp_path / "again.png"
    assert impasto("rerun", target, "--inputs", photo.parent, "-o", again)[0] == 0
    assert images.read(again).pixels.equal(images.read(target).pixels)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--timelapse", "film.gif"), "does not grow"),
        (("--plot", "loss.png"), "does not grow"),
        (("--checkpoint", "state"), "does not grow"),
        (("--resume", "state"), "nothing to resume"),
    ],
)
def test_what_one_pass_cannot(
    impasto: Command, photo: Path, tmp_path: Path, words: tuple[str, str], message: str
) -> None:
    option, name = words
    target = tmp_path / "out.png"
    status, _, err = impasto(
        "stylize", photo, STYLE, "--preset", "instant", "-o", target, option, tmp_path / name
    )
    assert status == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_study_may_paint_at_once(impasto: Command, photo: Path, tmp_path: Path) -> None:
    status, _, err = impasto(
        "study", "sheet", photo, "--styles", STYLE, "--preset", "instant", "--transform", "adain",
        "covariance", "--size", "48", "-o", tmp_path / "sheet",
    )  # fmt: skip
    assert status == 0, err
    assert len(list((tmp_path / "sheet").glob("*.png"))) == 3


def test_a_texture_needs_steps(impasto: Command, tmp_path: Path) -> None:
    status, _, err = impasto(
        "texture", STYLE, "--preset", "instant", "-o", tmp_path / "texture.png"
    )
    assert status == 2
    assert "try draft" in err


def test_a_photo_too_slim(photo: Path) -> None:
    with pytest.raises(PictureError, match="--size"):
        painted(Picture(torch.rand(1, 3, 16, 400)), size=64)


def test_there_is_no_state_to_keep(photo: Path, tmp_path: Path) -> None:
    (step,) = steps(photo, STYLE, preset="instant", size=96)
    with pytest.raises(SettingError, match="one step"):
        step.save_checkpoint(tmp_path / "state")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network's file; this one was not trained."""
    made = residual.fresh(residual.Shape(4, 1))
    generator = torch.Generator().manual_seed(3)
    made.tensors["out.weight"] = torch.randn(made.tensors["out.weight"].shape, generator=generator)
    path = tmp_path_factory.mktemp("networks") / "wave.safetensors"
    residual.save(made, path)
    return path


def test_a_network_paints_as_a_style(picture: Picture, network: Path) -> None:
    wanted = residual.load(network)(picture.pixels).detach().clamp(0, 1)
    for preset in ("best", "instant"):
        found = stylize(picture, network, preset=preset, size=96, precision="float32")
        torch.testing.assert_close(found.picture.pixels, wanted)
        assert found.recipe["style"] == ["wave.safetensors"]
        assert found.recipe["backbone"] == "wave.safetensors"
        assert len(found.recipe["inputs"]["rest network 0"]) == 16


def test_a_network_takes_a_strength_and_colors(picture: Picture, network: Path) -> None:
    whole, half = painted(picture, network), painted(picture, network, strength=0.5)
    torch.testing.assert_close(half, torch.lerp(picture.pixels, whole, 0.5))
    gray = painted(picture, network, keep_colors="luminance")
    chroma = (color.oklab(gray) - color.oklab(picture.pixels))[:, 1:]
    assert chroma.abs().max() * 100 < 1


def test_a_network_and_a_painting_share_a_picture(picture: Picture, network: Path) -> None:
    regions = [Region(network, left_half(), name="left"), Region(STYLE, name="rest")]
    found = painted(picture, None, regions=regions)
    torch.testing.assert_close(found[..., :44], painted(picture, network)[..., :44])
    alone = painted(picture, None, regions=[Region(STYLE, name="rest"),
                                            Region("poppies", left_half())])  # fmt: skip
    assert (found - alone)[..., 52:].abs().mean() < (found - alone)[..., :44].abs().mean() / 3


def test_several_networks_are_mixed(picture: Picture, network: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    residual.save(residual.fresh(residual.Shape(4, 1), seed=1), other)
    mixed = painted(picture, [network, other], style_weights=(3, 1))
    wanted = torch.lerp(painted(picture, other), painted(picture, network), 0.75)
    torch.testing.assert_close(mixed, wanted)


def test_a_networks_picture_is_painted_again(
    impasto: Command, photo: Path, network: Path, tmp_path: Path
) -> None:
    target, again = tmp_path / "out.png", tmp_path / "again.png"
    assert impasto("stylize", photo, network, "--size", "96", "-o", target)[0] == 0
    folders = ["--inputs", photo.parent, "--inputs", network.parent]
    assert impasto("rerun", target, *folders, "-o", again)[0] == 0
    assert images.read(again).pixels.equal(images.read(target).pixels)


@pytest.mark.parametrize(
    ("styles", "words", "message"),
    [
        (["NETWORK", STYLE], [], "the one or the other"),
        (["NETWORK"], ["--keep-colors", "match"], "use luminance"),
        (["NETWORK"], ["--palette", "style"], "name a picture"),
        (["NETWORK"], ["--seamless"], "no seamless picture"),
        (["NETWORK"], ["--region", "a=MASK:great-wave"], "use --preset instant"),
        (["gone.safetensors"], [], "there is no network gone.safetensors"),
        (["VGG"], [], "holds other weights"),
    ],
)
def test_what_a_network_cannot(
    impasto: Command, photo: Path, network: Path, tmp_path: Path, styles: list[str],
    words: list[str], message: str,
) -> None:  # fmt: skip
    mask = tmp_path / "mask.png"
    images.write_bytes(images.encode(left_half()), mask)
    files = {"NETWORK": str(network), "VGG": str(weights.path("adain-decoder"))}
    words = [word.replace("MASK", str(mask)) for word in words]
    status, _, err = impasto(
        "stylize", photo, *(files.get(style, style) for style in styles), *words,
        "-o", tmp_path / "out.png",
    )  # fmt: skip
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [mask]
