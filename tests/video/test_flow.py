"""Optical flow, and what follows from it, on motions made by hand."""

import pytest
import torch
from torch import Tensor

from impasto import images
from impasto.images import read
from impasto.video import consistency, flow
from impasto.video.consistency import Seen
from impasto.video.flow import Motion
from small import EXAMPLES


@pytest.fixture(scope="module")
def ground() -> Tensor:
    return read(EXAMPLES / "china.jpg").resized(400, 267).pixels


def view(ground: Tensor, x: int, y: int) -> Tensor:
    """160x120 px of the ground, from that place on."""
    return ground[..., y : y + 120, x : x + 160].contiguous()


def steady(frame: Tensor) -> Motion:
    """Nothing moves, everything is reliable."""
    return Motion(torch.zeros(1, 2, *frame.shape[-2:]), torch.ones_like(frame[:, :1]))


def test_a_shifted_picture_has_that_flow(ground: Tensor) -> None:
    # What is at p in the first view is at p - (5, -3) in the second.
    found = flow.between(view(ground, 100, 80), view(ground, 105, 77))
    inner = found[..., 16:-16, 16:-16]
    apart = (inner - torch.tensor([-5.0, 3.0]).view(1, 2, 1, 1)).square().sum(1).sqrt()
    assert float(apart.median()) < 0.15
    # found at half size, in px of the whole
    small = flow.motion(view(ground, 105, 77), view(ground, 100, 80), longest=80)
    assert float((small.backward - found).abs().median()) < 0.3
    assert float(small.reliable.mean()) > 0.8


def test_warp_samples_where_the_flow_leads(ground: Tensor) -> None:
    frame = view(ground, 100, 80)
    right = torch.zeros(1, 2, 120, 160)
    right[:, 0] = 4
    for mode in ("bicubic", "bilinear"):
        moved = flow.warp(frame, right, mode)
        assert torch.allclose(moved[..., :-4], frame[..., 4:], atol=1e-4)
    half = torch.zeros(1, 2, 120, 160)
    half[:, 1] = 0.5
    between = (frame[..., :-1, :] + frame[..., 1:, :]) / 2
    assert torch.allclose(flow.warp(frame, half, "bilinear")[..., :-1, :], between, atol=1e-5)


def test_a_moving_square_disoccludes_what_it_uncovers(ground: Tensor) -> None:
    square = read(EXAMPLES / "coffee.jpg").resized(40, 40).pixels
    before, after = view(ground, 100, 80), view(ground, 100, 80)
    before[..., 40:80, 40:80] = square
    after[..., 40:80, 52:92] = square
    mask = flow.motion(before, after).reliable[0, 0]
    assert float(mask[44:76, 42:50].mean()) < 0.3  # the ground that the square has left
    assert float(mask[46:74, 60:86].mean()) > 0.8  # the square itself
    assert float(mask[90:115, 8:150].mean()) > 0.95  # the ground that stayed
    assert float(mask[44:76, 40:52].mean()) < float(mask[44:76, 92:104].mean())  # not ahead of it


def test_the_equations_by_hand() -> None:
    # There (3, 0), back (-3, 0): |w + w'|^2 = 0. Back (-3, 0.9): 0.81 >= 0.01 (9 + 9.81) + 0.5.
    forward, backward = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    forward[:, 0], backward[:, 0] = 3.0, -3.0
    assert not flow.disoccluded(backward, forward).any()
    backward[:, 1, 4] = 0.9
    found = flow.disoccluded(backward, forward)[0, 0]
    assert found[4].all()
    assert not found[:4].any()
    # At rest, slopes of u of 0.04 are under sqrt(0.002) = 0.0447, of 0.05 over it.
    for slope, is_edge in ((0.04, False), (0.05, True)):
        ramp = torch.zeros(1, 2, 8, 8)
        ramp[:, 0] = slope * (torch.arange(8.0) - 3.5)
        assert bool(flow.on_boundary(ramp)[0, 0, :, 3:5].all()) is is_edge


def test_what_comes_from_outside_is_not_reliable() -> None:
    forward, backward = torch.zeros(1, 2, 20, 20), torch.zeros(1, 2, 20, 20)
    forward[:, 0], backward[:, 0] = 5.0, -5.0
    mask = flow.reliable(backward, forward)[0, 0]
    assert not mask[:, :4].any()
    assert mask[:, 5:].all()


def test_flicker_by_hand(ground: Tensor) -> None:
    film = [view(ground, 100, 80)] * 3
    flat = torch.full_like(film[0], 0.5)
    assert flow.flicker(film, [flat, flat, flat]) == 0
    # 0.1 more in all channels, then 0.1 less: a mean square of 0.01 both times
    assert flow.flicker(film, [flat, flat + 0.1, flat]) == pytest.approx(0.01, rel=1e-4)
    # in one channel only: a third
    red = flat.clone()
    red[:, 0] += 0.1
    assert flow.flicker(film, [flat, red, flat]) == pytest.approx(0.01 / 3, rel=1e-4)
    assert flow.flicker(film[:1], [flat]) == 0


def test_a_film_of_its_own_hardly_flickers_where_noise_does(ground: Tensor) -> None:
    film = [view(ground, 100 + 3 * i, 80 + i) for i in range(3)]
    noise = [
        torch.rand(1, 3, 120, 160, generator=torch.Generator().manual_seed(i)) for i in (1, 2, 3)
    ]
    assert flow.flicker(film, film) < 0.003
    assert flow.flicker(film, noise) == pytest.approx(1 / 6, rel=0.3)  # less where interpolated


def test_cuts_are_told_from_motion_and_light(ground: Tensor) -> None:
    def cut(a: Tensor, b: Tensor) -> bool:
        return consistency.is_cut(a, b, flow.motion(a, b))

    here = view(ground, 60, 80)
    assert not cut(here, view(ground, 72, 84))  # a pan
    assert not cut(here, here * 0.9)  # a fade
    for name in ("astronaut", "coffee", "flower", "rocket"):
        other = read(EXAMPLES / f"{name}.jpg").resized(160, 120).pixels
        assert cut(here, other), name
        assert not cut(other, other)


def test_a_blend_by_hand() -> None:
    photo = torch.full((1, 3, 16, 16), 0.5)
    before, now = torch.full_like(photo, 0.2), torch.full_like(photo, 0.8)
    made = consistency.blended(Seen(photo, before), photo, now, steady(photo), 0.6)
    assert torch.allclose(made, torch.full_like(made, 0.8 + 0.6 * (0.2 - 0.8)))
    # where the film itself changed by 0.1, the weight is 0.6 / e
    made = consistency.blended(Seen(photo - 0.1, before), photo, now, steady(photo), 0.6)
    assert torch.allclose(made, torch.full_like(made, 0.8 - 0.36 / 2.718282), atol=1e-5)
    lost = Motion(torch.zeros(1, 2, 16, 16), torch.zeros(1, 1, 16, 16))
    assert torch.equal(consistency.blended(Seen(photo, before), photo, now, lost, 0.6), now)


def test_frames_are_held_to_the_newest_that_shows_a_place(ground: Tensor) -> None:
    photo = view(ground, 60, 80)
    past = [Seen(photo, torch.full_like(photo, value)) for value in (0.1, 0.2, 0.3, 0.4)]
    moved = steady(photo)
    moved.reliable[..., :60] = 0  # the last frame does not show the left
    target = consistency.target_for(past, photo, moved, 5.0)
    assert target.weight == 5.0
    assert torch.allclose(target.image[..., 60:], torch.tensor(0.4))  # one frame back
    seen = target.mask[..., :60] > 0
    assert float(seen.float().mean()) > 0.9
    two_back = target.image[..., :60][seen.expand(-1, 3, -1, -1)]
    assert torch.allclose(two_back, torch.tensor(0.3))
    alone = consistency.target_for(past[:1], photo, moved, 5.0)
    assert not alone.mask[..., :60].any()


def test_the_camera_is_followed(ground: Tensor) -> None:
    place = 0.0, 0.0
    for i in range(3):
        moved = flow.motion(view(ground, 60 + 4 * i, 80), view(ground, 64 + 4 * i, 82 - 2))
        place = consistency.camera_after(place, moved)
    assert place == pytest.approx((12, 0), abs=0.5)
    assert consistency.camera_after(place, None) == (0, 0)


def test_sizes_that_are_odd_or_tiny() -> None:
    for height, width in ((17, 33), (16, 700), (31, 16)):
        frame = torch.rand(1, 3, height, width)
        assert flow.motion(frame, frame).reliable.shape == (1, 1, height, width)
        assert images.resize(frame, 16, 16).shape[-1] == 16
