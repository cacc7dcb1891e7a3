"""The objective of one scale: targets in, loss terms and their gradient out."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses, moments
from impasto.losses import LossScale
from impasto.moments import Moments
from impasto.settings import LayerWeights
from impasto.vgg import VGG, Features

Terms = dict[str, Float[Tensor, ""]]
"""Loss terms by name, already weighted: `content`, `style`, `tv` and their sum, `total`."""


@dataclass(frozen=True)
class Weights:
    """What each loss weighs: alpha, beta and the weight of total variation."""

    content: float
    style: float
    tv: float = 0.0


class Objective:
    """alpha L_content + beta L_style + tv L_tv as a function of a picture's pixels.

    L_content = sum_l v_l content(F_l, P_l) and L_style = sum_l w_l sum_k style_k(M_l, M*_l) over
    the layers l with their weights and the chosen style losses k (Gatys et al. 2016, eq. 5 and 7).
    """

    def __init__(
        self,
        network: VGG,
        content: Float[Tensor, "1 3 h w"],
        style: dict[str, Moments],
        weights: Weights,
        content_layers: LayerWeights,
        style_layers: LayerWeights,
        style_losses: Iterable[str] = ("gram",),
        scale: LossScale = "paper",
    ) -> None:
        self.network, self.weights, self.scale = network, weights, scale
        self.content_layers = {name: w for name, w in content_layers if w and weights.content}
        self.style_layers = {name: w for name, w in style_layers if w and weights.style}
        self.style_losses = tuple(style_losses)
        self.layers = tuple({**self.content_layers, **self.style_layers})
        self.style = style
        with torch.no_grad():
            self.content: Features = (
                network(content, self.content_layers) if self.content_layers else {}
            )

    def terms(self, image: Float[Tensor, "1 3 h w"]) -> Terms:
        """The weighted loss terms of a picture, differentiable with respect to it."""
        features = self.network(image, self.layers) if self.layers else {}
        zero = image.new_zeros(())
        content = zero + sum(
            weight * losses.content(features[layer], self.content[layer], self.scale).sum()
            for layer, weight in self.content_layers.items()
        )
        style = zero
        for layer, weight in self.style_layers.items():
            painted = moments.measure(features[layer])
            for name in self.style_losses:
                value = losses.style(name, painted, self.style[layer], self.scale)
                style = style + weight * value.sum()
        terms = {"content": self.weights.content * content, "style": self.weights.style * style}
        if self.weights.tv:
            terms["tv"] = self.weights.tv * losses.total_variation(image).sum()
        return terms | {"total": zero + sum(terms.values())}

    def evaluate(self, image: Float[Tensor, "1 3 h w"]) -> tuple[Terms, Float[Tensor, "1 3 h w"]]:
        """The weighted loss terms of a picture and the gradient of their sum."""
        pixels = image.detach().requires_grad_()
        terms = self.terms(pixels)
        if terms["total"].requires_grad:
            torch.autograd.backward(terms["total"])
        gradient = torch.zeros_like(pixels) if pixels.grad is None else pixels.grad
        return {name: value.detach() for name, value in terms.items()}, gradient


def style_moments(
    network: VGG, style: Float[Tensor, "1 3 h w"], layers: Iterable[str]
) -> dict[str, Moments]:
    """The moments of a painting at each of the layers."""
    with torch.no_grad():
        features = network(style, layers)
        return {layer: moments.measure(found) for layer, found in features.items()}
