"""Neural style transfer as the well-known scripts do it: what `race` runs against.

float32, NCHW, autograd through everything, one scale, torch.optim.LBFGS with its default history
of 100. It shares nothing with impasto but the weights and the objective it is asked to minimize.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impasto import weights

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CHANNELS = (64, 128, 256, 512, 512)
CONTENT_LAYER = "relu4_2"


class Network(nn.Module):
    """VGG-19 down to relu5_1 with max pooling; padding: `zero` or `replicate`."""

    def __init__(self, padding: str, device: torch.device) -> None:
        super().__init__()
        self.padding = "constant" if padding == "zero" else padding
        self.tensors = {k: v.to(device).float() for k, v in weights.load("vgg19").items()}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image - self.tensors["mean"].view(1, 3, 1, 1)
        found = {}
        for name in weights.convolution_names(weights.VGG19_CONVOLUTIONS):
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.pad(x, (1, 1, 1, 1), mode=self.padding)
            x = F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])
            x = F.relu(x)
            found[name.replace("conv", "relu")] = x
            if name == "conv5_1":
                break
        return found


def statistics(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrix over positions, mean and standard deviation."""
    flat = features[0].flatten(1)
    gram = flat @ flat.T / flat.shape[1]
    mean = flat.mean(1)
    deviation = ((gram.diagonal() - mean**2).clamp_min(0) + 1e-5).sqrt()
    return gram, mean, deviation


class Objective(ABC):
    """A loss of an image, of shape 1 3 h w in [0, 1], on the device of the content."""

    padding = "zero"

    def __init__(self, content: Tensor, style: Tensor) -> None:
        self.network = Network(self.padding, content.device)
        with torch.no_grad():
            self.content = self.network(content)[CONTENT_LAYER]
            features = self.network(style)
            self.style = [statistics(features[name]) for name in STYLE_LAYERS]

    def __call__(self, image: Tensor) -> Tensor:
        features: dict[str, Tensor] = self.network(image)
        found = [statistics(features[name]) for name in STYLE_LAYERS]
        return self.loss(features[CONTENT_LAYER], found)

    @abstractmethod
    def loss(self, content: Tensor, style: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """The loss of these features and statistics."""


class Authors(Objective):
    """mean (F - P)^2 + sum over layers of 1e3 / C^2 mean (G - A)^2, zero padding.

    What L. Gatys' own PyTorch script minimizes, from the photo, with torch.optim.LBFGS as it is
    (github.com/leongatys/PytorchNeuralStyleTransfer, NeuralStyleTransfer.ipynb).
    """

    def loss(self, content: Tensor, style: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        total = F.mse_loss(content, self.content)
        for (gram, _, _), (gram0, _, _), channels in zip(style, self.style, CHANNELS, strict=True):
            total = total + 1e3 / channels**2 * F.mse_loss(gram, gram0)
        return total


class Relative(Objective):
    """0.1 content + mean over layers of (relative gram + relative means and deviations).

    The relative losses of the preset `best`, replicate padding.
    """

    padding = "replicate"

    def loss(self, content: Tensor, style: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        difference = (content - self.content).square().sum()
        total: Tensor = 0.1 * difference / self.content.square().sum()
        for found, target in zip(style, self.style, strict=True):
            (gram, mean, deviation), (gram0, mean0, deviation0) = found, target
            spread = (mean - mean0).square().sum() + (deviation - deviation0).square().sum()
            size = mean0.square().sum() + (deviation0 - 1e-5**0.5).square().sum()
            total = total + (gram - gram0).square().sum() / gram0.square().sum() / 5
            total = total + spread / size / 5
        return total


def minimize(objective: Objective, start: Tensor, steps: int) -> Iterator[tuple[Tensor, float]]:
    """The picture after each step, and the loss before it."""
    image = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1, tolerance_grad=0, tolerance_change=0)
    for _ in range(steps):
        losses: list[Tensor] = []

        def closure(losses: list[Tensor] = losses) -> Tensor:
            optimizer.zero_grad()
            loss = objective(image)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        yield image.detach(), float(losses[0])
