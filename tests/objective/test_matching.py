"""Matching as a term of the objective: exact in tiles, by parts, by shares, and as a state."""

import pytest
import torch
from torch import Tensor

from impasto.losses import matching
from impasto.networks import tiled, tiles, vgg
from impasto.objective import Objective, Spec, Target, samples
from impasto.objective.samples import Samples
from impasto.painting.api import start_run
from impasto.scene import Region, Scene
from impasto.settings import Settings, settings_for

LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def random(*size: int, seed: int = 0) -> Tensor:
    """A picture of noise."""
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def settings(**changes: object) -> Settings:
    """Such that the matching loss alone counts."""
    fixed = {
        "content_weight": 0.0, "style_weight": 0.0, "range_weight": 0.0, "size": 64,
        "matching_layers": ",".join(LAYERS),
    }  # fmt: skip
    return settings_for(**fixed | changes)


@pytest.fixture(scope="module")
def net() -> vgg.VGG:
    return vgg.load("vgg19", ["relu3_1"], padding="replicate")


def made(
    net: vgg.VGG, tile: int | None = None, guides: dict[str, Tensor] | None = None
) -> Objective:
    """Matching a painting of noise, at 96 x 80 px."""
    painting = random(64, 64, seed=3)
    found = tiled.style_moments(net, painting, LAYERS)
    samples, vectors = Samples((64, 64), LAYERS, {}, dict.fromkeys(LAYERS, 500)), {}
    with torch.no_grad():
        features = net(painting, LAYERS)
    samples.put(tiles.cut(64, 64, 64, LAYERS)[0], features, vectors)
    banks = {
        layer: matching.Bank.of(
            vectors[layer],
            found[layer].mean[0],
            found[layer].covariance.diagonal(dim1=-2, dim2=-1).sum()
            if layer == "relu1_1"
            else None,
            torch.float32,
        )
        for layer in LAYERS
    }
    spec = Spec(
        content_weight=0.0, style_weight=0.0, matching_weight=2.0,
        matching_layers=tuple((layer, 1 / 3) for layer in LAYERS),
    )  # fmt: skip
    return Objective(
        net, random(96, 80), [Target(found, guides or {}, 1.5, banks)], spec, tile=tile
    )


def test_the_term_is_the_mean_over_places(net: vgg.VGG) -> None:
    """Times the weights of term, layer and part."""
    objective, image = made(net), random(96, 80, seed=1)
    found = objective.terms(image)
    features, wanted = net(image, LAYERS), 0.0
    for layer, bank in objective.targets[0].banks.items():
        vectors = features[layer][0].flatten(1).T - bank.mean
        q = vectors / (vectors.norm(dim=1, keepdim=True) if bank.size is None else bank.size)
        distance = torch.cdist(q, bank.vectors).amin(1).square() / 2
        wanted += 2.0 * 1.5 / 3 * float(distance.mean())
    assert float(found["matching"]) == pytest.approx(wanted, rel=1e-4)
    assert float(found["total"]) == float(found["matching"])


def test_tiles_are_the_whole(net: vgg.VGG) -> None:
    image = random(96, 80, seed=1)
    whole, tiled_ = made(net), made(net, tile=32)
    assert len(tiled_.tiles) == 9
    (a, ga), (b, gb) = whole.loss(image), tiled_.loss(image)
    torch.testing.assert_close(a["matching"], b["matching"])
    torch.testing.assert_close(ga, gb, rtol=1e-4, atol=1e-8)
    for layer in LAYERS:
        same = whole.matching.matches[layer] == tiled_.matching.matches[layer]
        assert float(same.float().mean()) > 0.999  # but for ties
    torch.testing.assert_close(tiled_.terms(image)["matching"], a["matching"])


def test_the_gradient_is_that_of_the_term(net: vgg.VGG) -> None:
    """Along a step small enough to leave the matches as they are."""
    objective, image = made(net), random(96, 80, seed=1)
    _, gradient = objective.loss(image)
    step = 1e-3 * gradient / gradient.norm()
    ahead, behind = objective.terms(image + step), objective.terms(image - step)
    slope = float(ahead["matching"] - behind["matching"]) / 2e-3
    assert slope == pytest.approx(float(gradient.norm()), rel=0.02)


def test_matches_stay_until_they_are_renewed(net: vgg.VGG) -> None:
    """And nearer ones make the loss no larger."""
    objective, first, other = made(net), random(96, 80, seed=1), random(96, 80, seed=2)
    objective.terms(first)
    before = {layer: found.clone() for layer, found in objective.matching.matches.items()}
    stale = objective.terms(other)["matching"]
    assert all(torch.equal(before[n], objective.matching.matches[n]) for n in LAYERS)
    objective.matching.renew()
    fresh = objective.terms(other)["matching"]
    assert not torch.equal(before["relu3_1"], objective.matching.matches["relu3_1"])
    assert fresh < stale


def test_a_state_goes_on_where_it_was(net: vgg.VGG) -> None:
    one, two = made(net), made(net)
    first, other = random(96, 80, seed=1), random(96, 80, seed=2)
    assert one.matching.state() == {}
    one.terms(first)
    two.matching.load(one.matching.state())
    assert torch.equal(one.loss(other)[1], two.loss(other)[1])
    two.matching.load({})
    assert two.matching.due


def test_a_guide_of_ones_is_none(net: vgg.VGG) -> None:
    ones = {n: torch.ones(1, 1, 96 // s, 80 // s) for n, s in zip(LAYERS, (1, 2, 4), strict=True)}
    image = random(96, 80, seed=1)
    (a, ga), (b, gb) = made(net).loss(image), made(net, guides=ones).loss(image)
    torch.testing.assert_close(a["matching"], b["matching"])
    torch.testing.assert_close(ga, gb)


def test_shallow_layers_alone(net: vgg.VGG) -> None:
    image = random(96, 80, seed=1)
    shallow = made(net).limited(["relu1_1"])
    assert shallow.layers == ("relu1_1",)
    assert 0 < shallow.loss(image)[0]["matching"] < made(net).loss(image)[0]["matching"]
    without = made(net).limited(None, matching=False)
    assert "matching" not in without.terms(image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(net: vgg.VGG, dtype: torch.dtype) -> None:
    half = vgg.load("vgg19", ["relu3_1"], padding="replicate", dtype=dtype)
    image = random(96, 80, seed=1)
    (a, ga), (b, gb) = made(net).loss(image), made(half).loss(image)
    assert float(b["matching"]) == pytest.approx(float(a["matching"]), rel=0.02)
    similar = torch.nn.functional.cosine_similarity(ga.flatten(), gb.flatten(), dim=0)
    assert float(similar) > 0.97


def banks(style: list[str], **changes: object) -> dict[str, matching.Bank]:
    """Those of the only part of a scene."""
    scene = Scene(random(64, 64)[0].permute(1, 2, 0).numpy(), style, settings(**changes))
    run = start_run(scene)
    return dict(run.engine.styles.of(scene.parts[0], 64, None).banks)  # type: ignore[attr-defined]


def test_paintings_have_their_shares_of_a_bank(net: vgg.VGG) -> None:
    """(1, 0) is the first alone; half and half has as many vectors, and a mean between."""
    one = banks(["great-wave"])
    first = banks(["great-wave", "poppies"], style_weights="1,0")
    both = banks(["great-wave", "poppies"], style_weights="1,1")
    for layer in LAYERS:
        assert torch.equal(one[layer].vectors, first[layer].vectors)
        assert torch.equal(one[layer].mean, first[layer].mean)
        assert not torch.equal(one[layer].mean, both[layer].mean)


def test_the_seed_chooses_the_strokes() -> None:
    same, other = (banks(["great-wave"], seed=seed)["relu1_1"].vectors for seed in (0, 1))
    assert torch.equal(same, banks(["great-wave"])["relu1_1"].vectors)
    assert not torch.equal(same, other) or len(same) < 4096


def test_strokes_come_from_where_the_style_mask_is_white() -> None:
    """Of a painting that is white to the left and black to the right."""
    painting = torch.zeros(64, 64, 3)
    painting[:, :32] = 1
    mask = torch.zeros(64, 64)
    mask[:, :32] = 1
    scene = Scene(
        random(64, 64)[0].permute(1, 2, 0).numpy(), None, settings(),
        regions=[Region(painting.numpy(), None, style_mask=mask.numpy())],
    )  # fmt: skip
    run = start_run(scene)
    bank = run.engine.styles.of(scene.parts[0], 64, None).banks["relu1_1"]  # type: ignore[attr-defined]
    white = net_features(torch.ones(1, 3, 8, 8))[0, :, 4, 4]
    assert bank.size is not None
    torch.testing.assert_close(
        bank.vectors[0] * bank.size + bank.mean, white, rtol=0.05, atol=0.05 * float(white.norm())
    )


def net_features(image: Tensor) -> Tensor:
    """relu1_1."""
    return vgg.load("vgg19", ["relu1_1"], padding="replicate")(image, ["relu1_1"])["relu1_1"]


def test_samples_of_huge_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """More places than PyTorch draws from: those that count are found all the same."""
    monkeypatch.setattr(samples, "MOST_CHANCES", 100)
    visible = torch.zeros(1, 1, 64, 64)
    visible[..., 10:20, 30:50] = 1
    everywhere = Samples((64, 64), ["relu1_1"], {}, {"relu1_1": 50}).positions["relu1_1"]
    some = Samples((64, 64), ["relu1_1"], {"relu1_1": visible}, {"relu1_1": 50})
    rows, columns = some.positions["relu1_1"].unbind(1)
    assert len(everywhere) == 50
    assert everywhere.amin() < 10
    assert len(rows) == 50
    assert bool(((rows >= 10) & (rows < 20) & (columns >= 30) & (columns < 50)).all())


def test_a_painting_that_nowhere_counts_has_one_stroke() -> None:
    nothing = {"relu1_1": torch.zeros(1, 1, 8, 8)}
    assert len(Samples((8, 8), ["relu1_1"], nothing).positions["relu1_1"]) == 1
