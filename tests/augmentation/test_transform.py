"""Augmentation: called like torchvision's transforms, the same pictures for the same seed."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from impasto import images
from impasto.augmentation import transform
from impasto.augmentation.transform import Draw, StyleTransfer
from impasto.errors import PictureError, SettingError
from impasto.images import paintings
from impasto.losses import moments
from impasto.networks import adain
from small import EXAMPLES, Pictures

STYLES = ["great-wave", "composition-viii", "poppies"]


pytestmark = pytest.mark.usefixtures("cache")


def epoch(data: Pictures, workers: int, context: str | None = None) -> Tensor:
    """All pictures of a data set, as a loader with so many workers hands them out."""
    loader = DataLoader(data, 2, num_workers=workers, multiprocessing_context=context)
    return torch.cat([pictures for pictures, _ in loader])


def test_a_painting_gives_its_statistics(batch: Tensor) -> None:
    """What is decoded are the features with the painting's mean and deviation: AdaIN, eq. 8."""
    transform = StyleTransfer("great-wave", p=1.0, strength=1.0, precision="float32")
    pixels = batch[:1].float() / 255
    found = transform(images.resize(pixels, 96, 96).clamp(0, 1))

    network = adain.load()
    painting = images.read(paintings.path("great-wave"))
    style = network.encode(painting.resized(*images.fit(painting.size, 256)).pixels)[0].flatten(1)
    features = network.encode(images.resize(pixels, 96, 96).clamp(0, 1))
    spread = features.var((2, 3), correction=0, keepdim=True).add(1e-5).sqrt()
    normal = (features - features.mean((2, 3), keepdim=True)) / spread
    column = (1, 512, 1, 1)
    wanted = normal * style.var(1, correction=0).add(1e-5).sqrt().view(column)
    expected = network.decode(wanted + style.mean(1).view(column)).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_values_just_over_one_are_painted(always: StyleTransfer) -> None:
    """As bicubic resizing and half precision leave them."""
    exact = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(0.1, 1)
    exact[:, :8] = 1
    over = exact.clone()
    over[:, :8] = 1.0004
    draws = [Draw(0, 0, 0.0, 0.5)]
    found, wanted = (always.paint(image[None], draws) for image in (over, exact))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [None, 40])
def test_strength_nought_is_the_picture_and_more_is_less_of_it(
    batch: Tensor, size: int | None
) -> None:
    transform = StyleTransfer("great-wave", p=1.0, size=size)
    strengths = (0.0, 0.3, 0.6, 1.0)
    found = transform.paint(
        batch[:1].expand(4, -1, -1, -1), [Draw(0, 0, 0.0, strength) for strength in strengths]
    )
    apart = (found.float() - batch[0].float()).abs().mean((1, 2, 3)).tolist()
    assert torch.equal(found[0], batch[0])
    assert apart == sorted(apart)
    assert apart[-1] > 20  # of 255


def test_half_of_the_pictures_are_painted_in_styles_and_strengths_of_their_own() -> None:
    transform = StyleTransfer(STYLES, p=0.25, strength=(0.4, 0.6), seed=3)
    found = [transform.draw(torch.full((3, 8, 8), n / 999)) for n in range(1000)]
    painted = [draw for draw in found if draw is not None]
    assert len(painted) == pytest.approx(250, abs=4 * (1000 * 0.25 * 0.75) ** 0.5)
    strengths = [draw.strength for draw in painted]
    assert 0.4 <= min(strengths) < 0.41
    assert 0.59 < max(strengths) <= 0.6
    for style in range(3):
        count = sum(draw.style == style for draw in painted)
        assert count == pytest.approx(len(painted) / 3, abs=4 * (len(painted) * 2 / 9) ** 0.5)
    assert {draw.share for draw in painted} == {0.0}


def test_another_probability_or_strength_leaves_the_styles_as_they_were(batch: Tensor) -> None:
    rare = StyleTransfer(STYLES, p=0.4, seed=5)
    often = StyleTransfer(STYLES, p=0.9, strength=(0.0, 1.0), seed=5)
    both = [
        (rare.draw(one), often.draw(one)) for one in (batch + n for n in range(9)) for one in one
    ]
    painted = [(a, b) for a, b in both if a is not None]
    assert painted
    for a, b in painted:
        assert b is not None
        assert a.style == b.style


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_each_kind_of_picture_stays_what_it_was(batch: Tensor, probability: float) -> None:
    transform = StyleTransfer("poppies", p=probability, seed=0, size=32)
    gray = batch[:2].float().mean(1, keepdim=True) / 255
    for pictures in (
        batch[0], batch[:2], batch[:4].view(2, 2, 3, 32, 32), batch[:2, :, :30, :22],
        batch[:1].float() / 255, batch[:1].double() / 255, (batch[:1] / 255).half(), gray,
    ):  # fmt: skip
        found = transform(pictures)
        assert (found.shape, found.dtype, found.device) == (
            pictures.shape, pictures.dtype, pictures.device
        )  # fmt: skip
        assert torch.equal(found, pictures) is (probability == 0)
        assert found.min() >= 0
        assert found.max() <= (255 if found.dtype == torch.uint8 else 1)


def test_a_pil_image_is_painted_as_its_tensor_is(batch: Tensor, always: StyleTransfer) -> None:
    image = Image.fromarray(batch[1].permute(1, 2, 0).numpy())
    found, label = always(image, "cat")
    assert (found.mode, label) == ("RGB", "cat")
    expected = always(batch[1])
    assert np.array_equal(np.asarray(found), expected.permute(1, 2, 0).numpy())
    gray = always(image.convert("L"))
    assert (gray.mode, gray.size) == ("L", (32, 32))
    with pytest.raises(PictureError, match="RGBA: convert it to RGB"):
        always(image.convert("RGBA"))


def test_a_batch_is_painted_as_its_pictures_are(batch: Tensor) -> None:
    transform = StyleTransfer(STYLES, p=0.7, seed=2)
    together = transform(batch)
    assert torch.equal(together, torch.stack([transform(picture) for picture in batch]))
    assert torch.equal(transform(batch.flip(0)), together.flip(0))
    changed = (together != batch).flatten(1).any(1)
    assert changed.any()
    assert not changed.all()


def test_large_batches_are_painted_in_parts(
    batch: Tensor, always: StyleTransfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = always(batch)
    monkeypatch.setattr(transform, "PIXELS", 2 * 32 * 32)
    assert torch.equal(always(batch), whole)


def test_the_loader_gives_the_same_pictures_with_0_and_2_workers(batch: Tensor) -> None:
    data = Pictures(batch, StyleTransfer(STYLES, p=0.8, seed=11, size=32))
    alone = epoch(data, 0)
    assert torch.equal(epoch(data, 2), alone)
    assert torch.equal(epoch(data, 1, "spawn"), alone)
    data.transform.set_epoch(1)
    after = epoch(data, 0)
    assert not torch.equal(after, alone)
    assert torch.equal(epoch(data, 2), after)


def test_the_example_says_the_same() -> None:
    found = subprocess.run(
        [sys.executable, EXAMPLES / "dataloader.py"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("with 2 workers the same") == 2


def test_workers_that_live_on_hear_of_a_new_epoch(batch: Tensor) -> None:
    transform = copy.deepcopy(StyleTransfer(STYLES, p=1.0, seed=11, size=32))
    data = Pictures(batch[:2], transform)
    loader = DataLoader(data, 2, num_workers=1, persistent_workers=True)
    for number in range(3):
        transform.set_epoch(number)
        ((found, _),) = loader
        expected = torch.stack([transform(picture) for picture in data.batch])
        assert torch.equal(found, expected), number


def test_without_a_seed_chance_is_pytorchs(batch: Tensor) -> None:
    transform = StyleTransfer(STYLES, p=0.5, size=32)
    torch.manual_seed(4)
    first = transform(batch)
    second = transform(batch)
    torch.manual_seed(4)
    assert torch.equal(transform(batch), first)
    assert not torch.equal(second, first)


def test_a_seed_leaves_the_random_numbers_alone(batch: Tensor, always: StyleTransfer) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    always(batch[:1])
    assert torch.equal(torch.rand(3), expected)


def test_it_can_collate(batch: Tensor, always: StyleTransfer) -> None:
    """On whole batches, as torchvision's MixUp is used."""
    loader = DataLoader(
        [(picture, n) for n, picture in enumerate(batch)], 3,
        collate_fn=lambda samples: always(*default_collate(samples)),
    )  # fmt: skip
    found = list(loader)
    assert torch.equal(torch.cat([pictures for pictures, _ in found]), always(batch))
    assert torch.cat([labels for _, labels in found]).tolist() == list(range(6))


def test_a_pickle_is_small_and_paints_the_same(batch: Tensor, always: StyleTransfer) -> None:
    expected = always(batch[:2])
    data = pickle.dumps(always)
    assert len(data) < 50_000  # styles, and no network of 30 MB
    again = pickle.loads(data)
    assert torch.equal(again(batch[:2]), expected)
    again.set_epoch(3)
    assert not torch.equal(again(batch[:2]), expected)
    assert torch.equal(always(batch[:2]), expected)


def test_two_styles_are_mixed_as_moments_are(batch: Tensor) -> None:
    """All of one is that style alone; the half of both is their pooled mean and variance."""
    transform = StyleTransfer(STYLES, p=1.0, mix=True, seed=0)
    first, both = transform.paint(batch[:2], [Draw(0, 1, 0.0, 0.9), Draw(0, 1, 0.5, 0.9)])
    alone = transform.paint(batch[:1], [Draw(0, 2, 0.0, 0.9)])
    assert torch.equal(first, alone[0])
    assert not torch.equal(both, transform.paint(batch[1:2], [Draw(1, 0, 0.0, 0.9)])[0])
    features = torch.zeros(1, 512, 3, 3)
    found = transform._style([Draw(0, 1, 0.25, 1.0)], features)
    pair = [
        moments.Moments(torch.ones(1), transform.mean[[n]], torch.diag_embed(transform.square[[n]]))
        for n in (0, 1)
    ]
    expected = moments.mix(pair, (0.75, 0.25))
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.deviation, expected.deviation)
    drawn = [transform.draw(picture) for picture in batch]
    assert len({draw.share for draw in drawn if draw is not None}) == 6


def test_paintings_are_measured_once(
    kept_here: Path, monkeypatch: pytest.MonkeyPatch, batch: Tensor
) -> None:
    measured: list[object] = []
    network = transform._network
    monkeypatch.setattr(
        transform, "_network", lambda *words: measured.append(words) or network(*words)
    )
    first = StyleTransfer(STYLES)
    assert len(measured) == len(list(kept_here.iterdir())) == 3
    again = StyleTransfer(list(reversed(STYLES)))
    assert len(measured) == 3
    assert torch.equal(again.mean, first.mean.flip(0))
    assert torch.equal(again.square, first.square.flip(0))
    for file in kept_here.iterdir():
        file.write_bytes(file.read_bytes()[:100])  # damaged: measured anew
    assert torch.equal(StyleTransfer(STYLES).mean, first.mean)
    assert len(measured) == 6


def test_no_cache_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("IMPASTO_CACHE_MB", "500")
    assert StyleTransfer("poppies").mean.shape == (1, 512)


def test_a_folder_is_all_of_its_paintings(tmp_path: Path, batch: Tensor) -> None:
    for number in range(2):
        Image.fromarray(batch[number].permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    transform = StyleTransfer([tmp_path, "poppies", images.Picture(batch[2:3] / 255, name="own")])
    assert transform.names == ("0.png", "1.png", "poppies", "own")
    assert repr(transform) == "StyleTransfer(4 styles, p=0.5, strength=(0.2, 0.8))"
    assert StyleTransfer().names == tuple(paintings.PAINTINGS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"p": 1.5}, "p is 1.5: it is a probability"),
        ({"p": float("nan")}, "p is nan"),
        ({"strength": (0.8, 0.2)}, "strength is 0.8 to 0.2: give two numbers"),
        ({"strength": 2.0}, "strength is 2 to 2"),
        ({"size": 8}, "size is 8 px: use at least 32"),
        ({"styles": []}, "there is no style"),
    ],
)
def test_settings_out_of_range_are_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        StyleTransfer(**{"styles": "poppies"} | words)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SettingError, match="precision is 'half': choose from auto, float32"):
        transform._checked(0.5, 0.5, None, "half")  # jaxtyping's hook would not let it come so far


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rounding_beyond_black_and_white_is_none(
    batch: Tensor, always: StyleTransfer, dtype: torch.dtype
) -> None:
    """The next number above 1 is taken for 1; a hundredth more is refused."""
    picture = (batch[0] / 255).to(dtype)
    picture[:, :8] = 1 + torch.finfo(dtype).eps
    picture[:, 8:16] = -torch.finfo(dtype).eps
    found = always(picture)
    assert found.dtype == dtype
    assert 0 <= found.min() < found.max() <= 1
    with pytest.raises(PictureError, match=r"outside \[0, 1\]"):
        always(picture + 0.02)


def closed_picture() -> Image.Image:
    image = Image.new("RGB", (32, 32))
    image.close()
    return image


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.zeros(3, 32, 32, dtype=torch.int64), "torch.int64: give uint8"),
        (torch.full((3, 32, 32), 1.5), r"outside \[0, 1\]: paint them before they are normalized"),
        (torch.full((3, 32, 32), torch.nan), r"outside \[0, 1\]"),
        (torch.zeros(3, 4, 32), "at least 8 px a side"),
        (torch.zeros(3, 32, 32).to_sparse(), "torch.sparse_coo tensor: give a dense one"),
        (torch.zeros(3, 32, 32, device="meta"), "meta tensor: give a dense one"),
        (torch.zeros(3, 32, 32, dtype=torch.complex64), "torch.complex64: give uint8"),
        (torch.zeros(3, 32, 32).to(torch.float8_e5m2), "torch.float8_e5m2: give uint8"),
        ({"a": torch.zeros(5, 32, 32)}, r"no picture in a sample of Tensor \(5, 32, 32\)"),
        ([1, "two"], "no picture in a sample of int, str"),
        ([], "no picture in a sample of nothing"),
        (torch.rand(3, 32, 32, device="meta"), "a meta tensor"),
        (torch.rand(3, 32, 32).to_sparse(), "sparse_coo"),
        (torch.rand(0, 3, 32, 32), "holds nothing"),
        (torch.rand(3, 32, 32).to(torch.float8_e4m3fn), "float8"),
        (torch.full((3, 32, 32), torch.nan), "outside"),
        (torch.full((3, 32, 32), 1.2), "outside"),
        (torch.zeros(3, 32, 32, dtype=torch.complex64), "complex64"),
        (closed_picture(), "is no picture"),
        (None, "NoneType"),
        (np.zeros((32, 32, 3)), "ndarray"),
    ],
)
def test_what_is_no_picture_is_refused(always: StyleTransfer, sample: object, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        always(sample)
