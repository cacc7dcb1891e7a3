"""Strips: what members have of a picture, borders that come and go back, columns and whole maps."""

import pytest
import torch

from impasto.machine.exchange import Alone, Group
from impasto.machine.strips import Strips
from members import together

PICTURE = torch.arange(2.0 * 100 * 5).view(1, 2, 100, 5)


def test_cuts_lie_on_the_grid_and_strips_are_alike() -> None:
    class Four(Alone):
        rank, members = 1, 4

    strips = Strips.balanced(Four(), 100, 16, 80, False)
    assert strips.edges == (0, 32, 48, 80, 100)
    assert (strips.top, strips.bottom, strips.first, strips.end) == (32, 48, 0, 100)
    assert strips.heights(4) == [8, 4, 8, 5]


def test_one_piece_is_left_as_it_is() -> None:
    strips = Strips.whole(100)
    for found in (
        strips.around(PICTURE), strips.inside(PICTURE), strips.bordered(PICTURE, 80),
        strips.unbordered(PICTURE, 80), strips.gathered(PICTURE), strips.placed(PICTURE),
    ):  # fmt: skip
        assert found is PICTURE


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(("count", "margin"), [(2, 80), (3, 80), (3, 20)])
def test_borders_are_the_neighbors_rows_and_go_back(count: int, margin: int, wrap: bool) -> None:
    """Outer strips are cut out of the picture, endlessly repeated where it wraps; the way back is
    the transpose, <outer, c> = <picture, back(c)>, over all members."""
    picture = PICTURE[:, :, :96]

    def work(group: Group) -> tuple[float, float, int]:
        strips = Strips.balanced(group, 96, 16, 80, wrap)
        own = strips.own(picture)
        outer = strips.bordered(own.contiguous(), margin)
        wanted = strips.around(picture)
        rows = torch.arange(strips.first, strips.end)
        near = (rows >= strips.top - margin) & (rows < strips.bottom + margin)
        assert torch.equal(outer[:, :, near], wanted[:, :, near])
        sent = group.sent
        other = torch.rand(outer.shape, generator=torch.Generator().manual_seed(group.rank))
        other[:, :, ~near] = 0
        back = strips.unbordered(other, margin)
        return float((outer * other).sum()), float((own * back).sum()), sent

    found = together(count, work)
    assert sum(a for a, _, _ in found) == pytest.approx(sum(b for _, b, _ in found), rel=1e-5)
    if (count, margin, wrap) == (3, 20, False):  # 2 cuts, 20 rows up and down, of 2 x 5 numbers
        assert sum(sent for _, _, sent in found) == 2 * 2 * 20 * 2 * 5 * 4


def test_maps_are_gathered_scattered_and_turned() -> None:
    coarse = PICTURE[..., ::4, :].short().contiguous()

    def work(group: Group) -> None:
        strips, first = Strips.balanced(group, 100, 16, 16, False), group.rank == 0
        whole = strips.gathered(strips.own(PICTURE))
        assert torch.equal(whole, PICTURE) if first and whole is not None else whole is None
        own = strips.scattered(coarse if first else None, coarse.shape, coarse.dtype, 4)
        assert torch.equal(own, strips.own(coarse, 4))
        assert torch.equal(strips.inside(strips.placed(own, 4), 4), own)
        turned = strips.turned(strips.own(PICTURE)[0], strips.heights())
        left, right = strips.columns(5)[group.rank : group.rank + 2]
        assert torch.equal(turned, PICTURE[0, :, :, left:right])
        assert torch.equal(strips.turned_back(turned, 5), strips.own(PICTURE)[0])
        number = torch.tensor(7) if first else None
        assert strips.handed(number, (), torch.int64).item() == 7

    together(3, work)
