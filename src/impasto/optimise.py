"""Minimise an objective over the pixels of one scale, one step at a time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.errors import DivergedError
from impasto.lbfgs import Lbfgs
from impasto.settings import Settings

Terms = dict[str, Float[Tensor, ""]]
Evaluate = Callable[[Tensor], tuple[Terms, Tensor]]
"""A picture to its loss terms (with their sum as `total`) and the gradient of that sum."""

LEARNING_RATES = {"lbfgs": 1.0, "adam": 0.02, "adagrad": 0.1, "sgd": 0.02, "rmsprop": 0.005}
DIVERGENCE = 10.0  # a loss so many times that of the start has run away
RESTARTS = 3  # of a run that diverged, from its best picture and with empty memory


@dataclass(frozen=True, eq=False)
class Iterate:
    """One step taken: the picture after it, and the loss terms before it."""

    image: Float[Tensor, "1 3 h w"]
    terms: Terms


def minimise(
    evaluate: Evaluate, image: Float[Tensor, "1 3 h w"], steps: int, settings: Settings
) -> Iterator[Iterate]:
    """Take so many steps from `image`; yields after each.

    Every step is one evaluation: L-BFGS takes its full step. Its pixels are free, those of the
    first-order methods are clamped to [0, 1]. A loss that is not finite, or ten times that
    of the start, sends the run back to its best picture with empty memory; the fourth time it
    raises DivergedError. The yielded image is live: clone it to keep it.
    """
    pixels = image.detach().clone()
    optimizer: torch.optim.Optimizer | None = None
    best, best_loss = pixels.clone(), math.inf
    first_loss: float | None = None
    restarts = 0
    for _ in range(steps):
        terms, gradient = evaluate(pixels)
        loss = float(terms["total"])
        first_loss = loss if first_loss is None else first_loss
        if not math.isfinite(loss) or loss > DIVERGENCE * first_loss:
            restarts += 1
            if restarts > RESTARTS or optimizer is None:
                raise DivergedError(_diverged(loss, first_loss, settings))
            pixels.copy_(best)
            optimizer = None
            terms, gradient = evaluate(pixels)
        elif loss < best_loss:
            best_loss = loss
            best.copy_(pixels)
        if optimizer is None:
            optimizer = _optimizer(pixels, gradient, settings)
        pixels.grad = gradient
        optimizer.step()
        pixels.grad = None
        if settings.optimizer != "lbfgs":
            pixels.clamp_(0, 1)
        yield Iterate(pixels, terms)


def _diverged(loss: float, first: float, settings: Settings) -> str:
    rate = settings.learning_rate or LEARNING_RATES[settings.optimizer]
    return (
        f"the loss went from {first:.4g} to {loss:.4g} with {settings.optimizer} at learning rate "
        f"{rate:g}: lower --learning-rate, or use --optimizer adam or --precision float32"
    )


def _optimizer(pixels: Tensor, gradient: Tensor, settings: Settings) -> torch.optim.Optimizer:
    rate = settings.learning_rate or LEARNING_RATES[settings.optimizer]
    match settings.optimizer:
        case "lbfgs":
            return Lbfgs(pixels, rate, settings.history)
        case "adam":
            return torch.optim.Adam([pixels], lr=rate, betas=(0.9, 0.99), eps=1e-16)
        case "adagrad":
            return torch.optim.Adagrad([pixels], lr=rate, eps=1e-16)
        case "rmsprop":
            return torch.optim.RMSprop([pixels], lr=rate, eps=1e-16)
        case "sgd":
            # The rate in units of brightness: losses differ by ten orders of magnitude.
            scale = gradient.square().mean().sqrt().clamp_min(1e-30)
            return torch.optim.SGD([pixels], lr=rate / float(scale), momentum=settings.momentum)
