"""Training a network of one's own style: the optimizer's objective, on crops of many photos.

Johnson, Alahi and Fei-Fei 2016: what the optimizer does to the pixels of one picture, Adam does to
the weights of a network that paints all pictures. The objective is the same: each crop has its
content from the photo and its style from the painting's moments, `Objective` gives the gradient in
the painted pixels, and the network takes it on from there.
"""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import images, machine
from impasto.errors import DivergedError, PictureError, SettingError
from impasto.images import Picture
from impasto.images.files import expanded
from impasto.networks import residual, vgg
from impasto.networks.layer_names import smallest_side
from impasto.networks.residual import Residual, Shape
from impasto.objective import Objective, Spec, Styles, Target, Terms
from impasto.objective.backward import gradient_of
from impasto.painting import checkpoint
from impasto.painting.run import Record, Step
from impasto.scene import Part, Scene, Style
from impasto.settings import Settings, TrainingSettings, changed
from impasto.training.photos import Photos

COARSE = 0.6  # the part of the run on squares of half the side: a quarter of the time for each
RISE = 0.05  # the part of the run in which the learning rate rises; then it falls to zero
SEEDS = 1_000_003  # squares of a run before one of them is another seed's; a prime
BETAS = (0.9, 0.99)  # of Adam


class Trainer:
    """One training run: the painting, the photos, and where it stands.

    style: what `stylize` takes; photos: a folder. `init` is a network to start from. Raises
    ImpastoError for what cannot be read or does not go together.
    """

    @machine.neutral()
    def __init__(
        self,
        style: Style,
        photos: str | os.PathLike[str],
        settings: Settings | None = None,
        training: TrainingSettings | None = None,
        init: Residual | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings = changed(settings or Settings(), matching_weight=0.0)  # moments alone
        self.training = training or TrainingSettings()
        _check(self.settings, self.training)
        self.photos = Photos(photos, max(self.training.crop, self.settings.size))
        self.inputs = {"photos": self.photos.fingerprint}
        first = Picture(self.photos.at(0).float() / 255, name=self.photos.files[0].name)
        self.scene = Scene(first, style, self.settings)
        if self.scene.networks:
            raise SettingError(
                f"{', '.join(self.scene.paintings)} is a network: name the painting, and the "
                "network with --init"
            )
        self.inputs |= {n: p for n, p in self.scene.fingerprints.items() if n != "content"}
        if init is not None:
            self.inputs["init"] = residual.fingerprint_of(init)
            shape = init.shape
            self.training = replace(self.training, width=shape.width, blocks=shape.blocks)
        self.compute = machine.start(
            self.settings.device, self.settings.precision, self.settings.threads, float16=False
        )
        self.device, self.dtype = self.compute.device, self.compute.dtype
        machine.keep_large_buffers()
        self.spec = Spec.of(self.settings)
        layers = self.spec.layers()
        self.vgg = vgg.load(
            self.settings.backbone, layers, self.settings.pooling, self.settings.padding,
            self.dtype, self.device,
        )  # fmt: skip
        self.part: Part = self.scene.parts[0]
        with self.compute.tuned():
            self.target = self._target(layers)
        shape = Shape(self.training.width, self.training.blocks)
        self._begin(init or residual.fresh(shape, self.settings.seed))
        self.taken, self.seconds, self.last = 0, 0.0, math.nan
        self.history: list[Record] = []
        if resume is not None:
            self.load(*checkpoint.read(expanded(resume)))

    def train(self) -> Iterator[Step]:
        """All steps, from wherever the run stands. DivergedError if the loss is no number.

        Their loss terms are means over the batch, their picture is the first photo as the network
        paints it.
        """
        return self.compute.stepwise(self._steps())

    def _steps(self) -> Iterator[Step]:
        while self.taken < self.training.steps:
            began = time.perf_counter()
            terms = self._learn()
            self.taken += 1
            self.last = float(terms["total"])
            self.seconds += time.perf_counter() - began
            note = "; ".join(self.photos.notes) or None
            self.photos.notes.clear()
            side = self.side_at(self.taken - 1)
            step = Step(
                step=self.taken,
                steps=self.training.steps,
                size=(side, side),
                scale=1,
                scales=1,
                work=self._work(),
                terms=terms,
                ends_scale=self.taken == self.training.steps,
                note=note,
                _run=self,
            )
            self.history.append(step.record)
            yield step

    def picture(self, full_size: bool = True) -> Picture:  # noqa: ARG002 - as other runs have it
        """The first photo, painted with the network as it stands."""
        return self.painted(self.scene.photo)

    def trained(self) -> Residual:
        """The network as it stands, with its recipe."""
        recipe = self.recipe() | {"steps_taken": self.taken, "loss": self.last}
        return Residual(self.network.shape, self.network.tensors, recipe, self.dtype)

    def painted(self, photo: Picture) -> Picture:
        """A photo painted with the network as it stands, at the size of the settings."""
        with self.compute.tuned(), torch.no_grad():
            small = photo.resized(*images.fit(photo.size, self.settings.size))
            pixels = self.network(small.pixels.to(self.device)).clamp_(0, 1).cpu()
        return Picture(pixels, small.alpha, photo.name)

    def recipe(self) -> dict[str, Any]:
        """How the network is trained, as JSON holds it."""
        from impasto.version import __version__

        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "style": self.scene.paintings,
            "photos": len(self.photos.files),
            "inputs": self.inputs,
            "features": str(self.dtype).removeprefix("torch."),
            "settings": self.scene.recorded_settings(),
            "training": asdict(self.training),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the run stands, as tensors and facts. What is random follows from the step."""
        tensors: dict[str, Tensor] = {}
        for name, tensor in self.network.tensors.items():
            tensors[f"network.{name}"] = tensor
            memory = self.optimizer.state.get(tensor, {})
            tensors |= {f"adam.{name}.{key}": value for key, value in memory.items()}
        facts = {
            "kind": "training",
            "recipe": self.recipe(),
            "taken": self.taken,
            "seconds": self.seconds,
            "last": self.last,
            "width": self.network.shape.width,
            "blocks": self.network.shape.blocks,
        }
        return tensors, facts

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a state. PictureError if it is of another run."""
        if facts.get("kind") != "training":
            raise PictureError(
                "the checkpoint is one of a picture, not of a network: start without --resume"
            )
        checkpoint.check_same(self.recipe(), facts["recipe"], "painting, photos and options")
        self.taken, self.seconds, self.last = facts["taken"], facts["seconds"], facts["last"]
        shape = Shape(facts["width"], facts["blocks"])
        self._begin(Residual(shape, checkpoint.under("network.", tensors)))
        for name, tensor in self.network.tensors.items():
            memory = checkpoint.under(f"adam.{name}.", tensors)
            self.optimizer.state[tensor] = {
                key: value.to(self.device, copy=True) for key, value in memory.items()
            }

    def square(self, number: int) -> Float[Tensor, "1 3 side side"]:
        """The square of that number in the run, from 0, whatever came before it."""
        seed = (self.settings.seed * SEEDS + number) % 2**63
        side = self.side_at(number // self.training.batch)
        return self.photos.crop(side, torch.Generator().manual_seed(seed))

    def side_at(self, step: int) -> int:
        """The side of the squares at a step, from 0, px: small ones first, as they are quick."""
        crop = self.training.crop
        return crop // 2 if step < COARSE * self.training.steps else crop

    def _work(self) -> float:
        """The part of the run that is done, small squares counting a quarter."""
        coarse = math.ceil(COARSE * self.training.steps)

        def until(step: int) -> float:
            return min(step, coarse) / 4 + max(0, step - coarse)

        return until(self.taken) / until(self.training.steps)

    def _begin(self, start: Residual) -> None:
        """A copy of a network to go on from, and an optimizer without memory."""
        tensors = {n: t.to(self.device).clone().requires_grad_() for n, t in start.tensors.items()}
        self.network = Residual(start.shape, tensors, dtype=self.dtype)
        self.optimizer = self._adam()

    def _learn(self) -> Terms:
        """One step of Adam on a batch; the mean loss terms before it."""
        batch = self.training.batch
        found: list[Terms] = []
        for number in range(batch):
            photo = self.square(self.taken * batch + number).to(self.device)
            painted = self.network(photo)
            terms, gradient = self.loss(photo, painted.detach())
            torch.autograd.backward(painted, gradient / batch)
            found.append(terms)
        mean = {name: torch.stack([t[name] for t in found]).mean() for name in found[0]}
        slopes = [gradient_of(tensor) for tensor in self.network.tensors.values()]
        finite = bool(torch.stack([slope.isfinite().all() for slope in slopes]).all())
        if not (finite and math.isfinite(float(mean["total"]))):
            self.optimizer.zero_grad()
            raise DivergedError(
                f"the loss is no number at step {self.taken + 1}: lower --learning-rate, which is "
                f"{self.training.learning_rate:g}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return mean

    def _rate(self) -> float:
        """The learning rate: up in a line, down in half a cosine."""
        done = self.taken / self.training.steps
        rise = min(1.0, (self.taken + 1) / (RISE * self.training.steps))
        return self.training.learning_rate * rise * (1 + math.cos(math.pi * done)) / 2

    def loss(self, photo: Tensor, painted: Tensor) -> tuple[Terms, Tensor]:
        """The optimizer's own objective of a crop: terms, and their gradient in the pixels."""
        weight = self.spec.content_weight * self.part.strength.content
        spec = replace(self.spec, content_weight=weight)
        return Objective(self.vgg, photo, [self.target], spec).loss(painted)

    def _target(self, layers: tuple[str, ...]) -> Target:
        """The painting's moments at the size of the pictures to be painted."""
        least = smallest_side(layers, self.settings.padding)
        styles = Styles(self.vgg, self.settings, least)
        found = styles.of(self.part, self.settings.size, None).moments
        return Target(found, weight=self.part.strength.style)

    def _adam(self) -> torch.optim.Adam:
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(
            list(self.network.tensors.values()), self.training.learning_rate, BETAS, fused=fused
        )


def _check(settings: Settings, training: TrainingSettings) -> None:
    """SettingError for settings that a network cannot be trained with."""
    for name in ("keep_colors", "palette"):
        if getattr(settings, name) != "none":
            raise SettingError(
                f"{name} is {getattr(settings, name)}, but a network learns the painting's "
                "colors: give it to the command that paints with the network"
            )
    if settings.method != "optimize":
        raise SettingError(
            f"method is {settings.method}, but a network is trained with the optimizer's "
            "objective: leave it at optimize"
        )
    if settings.precision == "float16":
        raise SettingError(
            "precision is float16, which loses a network's small gradients: take bfloat16 or "
            "float32"
        )
    if settings.seamless:
        raise SettingError("seamless is on, but a network pads by reflection: leave it off")
    least = smallest_side(Spec.of(settings).layers(), settings.padding)
    if training.crop // 2 < least:
        raise SettingError(f"crop is {training.crop} px: these layers need at least {2 * least}")
