"""Strips equal the whole: the gradient of several members is that of one, for every loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.losses.matching import Bank
from impasto.machine.exchange import Group
from impasto.machine.strips import Strips
from impasto.networks import tiles, vgg
from impasto.networks.layer_names import stride_of
from impasto.networks.tiled import style_moments
from impasto.networks.tiles import GRID
from impasto.objective import Objective, Spec, Target
from members import together

STYLE = (("relu1_1", 0.5), ("relu2_1", 0.3), ("relu3_1", 0.2))
MATCHED = (("relu1_1", 0.5), ("relu2_1", 0.5))
DEEP = (*dict(STYLE), "relu3_2")
HEIGHT, WIDTH = 112, 32


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> Tensor:
    """Smooth colors with some grain: what a photo's features are like."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    grain = torch.rand(1, channels, height, width, generator=generator)
    return (smooth + 0.1 * grain).clamp(0, 1).double()


def guides(seed: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """A soft area that leaves out the upper third, so that a whole strip has none of it."""
    found = {}
    for layer in DEEP:
        height, width = (side // stride_of(layer) for side in size)
        found[layer] = picture(seed, height, width, 1)
        found[layer][:, :, : height // 3] = 0
    return found


class Case:
    """An objective with everything that a picture may have, in one piece or as a member's."""

    def __init__(
        self,
        regions: int = 0,
        matching: bool = False,
        transparent: bool = False,
        padding: vgg.Padding = "replicate",
        tile: int | None = None,
        size: tuple[int, int] = (HEIGHT, WIDTH),
        **spec: Any,
    ) -> None:
        self.layers = DEEP
        self.network = vgg.load("vgg19", DEEP, padding=padding, dtype=torch.float64)
        self.photo, self.image = picture(0, *size), picture(1, *size)
        self.size, self.tile = size, tile
        painting = picture(2, 48, 32)
        style = style_moments(self.network, painting, dict(STYLE))
        banks = self.banks(painting, style) if matching else {}
        areas: list[dict[str, Tensor]] = [{}]
        if regions:
            first = guides(3, size)
            areas = [first, {layer: 1 - own for layer, own in first.items()}][:regions]
        self.targets = [Target(style, area, 1.0 + i, banks) for i, area in enumerate(areas)]
        self.visible = guides(4, size) if transparent else None
        self.spec = Spec(**{
            "content_weight": 0.5, "content_layers": (("relu3_2", 1.0),), "style_layers": STYLE,
            "scale": "relative", "style_losses": ("gram", "meanstd"), "range_weight": 10.0,
            "matching_weight": float(matching), "matching_layers": MATCHED, **spec,
        })  # fmt: skip

    def banks(self, painting: Tensor, style: dict[str, Any]) -> dict[str, Bank]:
        features = self.network(painting, dict(MATCHED))
        found = {}
        for layer, maps in features.items():
            vectors = maps[0].flatten(1).T[::5].contiguous()
            variance = torch.tensor(9.0).double() if layer == "relu1_1" else None
            found[layer] = Bank.of(vectors, style[layer].mean[0].double(), variance, torch.float64)
        return found

    def objective(self, strips: Strips | None = None) -> Objective:
        return Objective(
            self.network, self.photo, self.targets, self.spec, content_guides=self.visible,
            visible_guides=self.visible, tile=self.tile, strips=strips,
        )  # fmt: skip

    def of_members(self, count: int, way: Callable[[Objective], Objective]) -> Any:
        """What each member finds: terms, its strip's gradient, the bytes it sent."""
        wrap = self.network.padding == "circular"

        def work(group: Group) -> Any:
            strips = Strips.balanced(group, self.size[0], GRID, tiles.margin(self.layers), wrap)
            made = way(self.objective(strips))
            before = group.sent
            terms, gradient = made.loss(strips.own(self.image).contiguous())
            return terms, gradient, group.sent - before

        return together(count, work)


def assert_strips_are_the_whole(
    case: Case, count: int = 2, way: Callable[[Objective], Objective] = lambda made: made
) -> None:
    whole, gradient = way(case.objective()).loss(case.image)
    found = case.of_members(count, way)
    joined = torch.cat([own for _, own, _ in found], 2)
    assert gradient.abs().max() > 0
    assert (joined - gradient).norm() < 1e-6 * gradient.norm()
    for terms, _, _ in found:
        assert terms == found[0][0]  # the same bits on each
        assert set(terms) == set(whole)
        for name, value in whole.items():
            torch.testing.assert_close(terms[name], value, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("count", "changes"),
    [
        (3, {}),
        (2, {"regions": 1}),
        (3, {"regions": 2, "matching": True}),
        (2, {"transparent": True, "tv_weight": 3.0, "structure_weight": 0.5,
             "structure_layers": (("relu2_1", 1.0),)}),
        (3, {"padding": "circular", "tv_weight": 3.0, "matching": True}),
        (2, {"tile": 32, "padding": "reflect", "regions": 2}),
        (2, {"tile": 32, "padding": "circular", "scale": "mean", "style_losses": ("gram",)}),
        (3, {"size": (106, 45), "scale": "paper", "style_losses": ("wasserstein",)}),
    ],
)  # fmt: skip
def test_gradient_of_strips_is_that_of_the_whole(changes: dict[str, Any], count: int) -> None:
    """To a millionth, in float64."""
    assert_strips_are_the_whole(Case(**changes), count)


def test_detail_sends_the_borders_that_shallow_layers_see() -> None:
    """Without content; 4 rows for relu2_1, whose field of 10 px is 4 px wider on each side than its
    cell."""
    case = Case(matching=True)

    def shallow(made: Objective) -> Objective:
        return made.limited(["relu1_1", "relu2_1"], matching=False)

    assert_strips_are_the_whole(case, 2, shallow)
    margin = tiles.margin(["relu1_1", "relu2_1"])
    sent = [sent for _, _, sent in case.of_members(2, shallow)]
    moments = 1 + 64 + 64**2 + 1 + 128 + 128**2
    assert sent == [8 * (2 * margin * WIDTH * 3 + 3 + moments)] * 2
    assert margin == 4
