"""Training a network of one's own style: the optimiser's objective, on crops of many photos.

Johnson, Alahi and Fei-Fei 2016: what the optimiser does to the pixels of one picture, Adam does to
the weights of a network that paints all pictures. The objective is the same: each crop has its
content from the photo and its style from the painting's moments, `Objective` gives the gradient in
the painted pixels, and the network takes it on from there.
"""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import checkpoint, images, residual, vgg
from impasto import device as machine
from impasto.course import Course
from impasto.errors import DivergedError, PictureError, SettingError
from impasto.images import Picture
from impasto.objective import Objective, Target, Terms, Weights
from impasto.photos import Photos
from impasto.residual import Residual, Shape
from impasto.scene import Part, Scene, Style
from impasto.settings import Settings
from impasto.targets import part_moments

COARSE = 0.6  # the part of the run on squares of half the side: a quarter of the time for each
RISE = 0.05  # the part of the run in which the learning rate rises; then it falls to zero
SEEDS = 1_000_003  # squares of a run before one of them is another seed's; a prime
BETAS = (0.9, 0.99)  # of Adam
ELSEWHERE = ("device", "tile", "memory_limit", "preset")  # settings that change no result


@dataclass(frozen=True, eq=False)
class Update:
    """One step of training, as every front end sees it."""

    step: int
    """Number of the step, from 1."""
    steps: int
    """How many steps there will be in all."""
    size: tuple[int, int]
    """Width and height of the squares, px."""
    work: float
    """The part of all the work that is done, 0 to 1, by pixels and steps."""
    terms: Terms
    """The loss terms before this step, weighted, as scalar tensors, means over the batch; see
    `objective.Terms`."""
    note: str | None
    """What a front end should tell its user, once."""
    _trainer: "Trainer" = field(repr=False)

    @property
    def losses(self) -> dict[str, float]:
        """The loss terms before this step as numbers."""
        return {name: float(value) for name, value in self.terms.items()}

    def picture(self, photo: Picture) -> Picture:
        """A photo painted with the network after this step, at the size of the settings."""
        return self._trainer.painted(photo)

    @property
    def network(self) -> Residual:
        """The network after this step, with its recipe. It goes on changing with later steps."""
        return self._trainer.trained()

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write all that a Trainer needs to go on from here, whole or not at all."""
        checkpoint.write(Path(path), *self._trainer.state())


class Trainer:
    """One training run: the painting, the photos, and where it stands.

    style: what `stylize` takes; photos: a folder. `init` is a network to start from. Raises
    ImpastoError for what cannot be read or does not go together.
    """

    def __init__(
        self,
        style: Style,
        photos: str | os.PathLike[str],
        settings: Settings | None = None,
        course: Course | None = None,
        init: Residual | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings, self.course = settings or Settings(), course or Course()
        _check(self.settings, self.course)
        self.photos = Photos(photos, max(self.course.crop, self.settings.size))
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
            self.inputs["init"] = residual.fingerprint(init)
            shape = init.shape
            self.course = replace(self.course, width=shape.width, blocks=shape.blocks)
        machine.use_threads(self.settings.threads)
        self.device = machine.choose_device(self.settings.device)
        self.dtype = machine.choose_dtype(self.settings.precision, self.device, float16=False)
        machine.tune(self.device, self.settings.precision)
        machine.keep_large_buffers()
        layers = _layers(self.settings)
        self.vgg = vgg.load(
            self.settings.backbone, layers, self.settings.pooling, self.settings.padding,
            self.dtype, self.device,
        )  # fmt: skip
        self.part: Part = self.scene.parts[0]
        self.target = self._target(layers)
        shape = Shape(self.course.width, self.course.blocks)
        self._begin(init or residual.fresh(shape, self.settings.seed))
        self.taken, self.seconds, self.last = 0, 0.0, math.nan
        if resume is not None:
            self.load(*checkpoint.read(Path(resume)))

    def train(self) -> Iterator[Update]:
        """All steps, from wherever the run stands. DivergedError if the loss is no number."""
        while self.taken < self.course.steps:
            began = time.perf_counter()
            terms = self._learn()
            self.taken += 1
            self.last = float(terms["total"])
            self.seconds += time.perf_counter() - began
            note = "; ".join(self.photos.notes) or None
            self.photos.notes.clear()
            side = self.side_at(self.taken - 1)
            yield Update(
                self.taken, self.course.steps, (side, side), self._work(), terms, note, self
            )

    def trained(self) -> Residual:
        """The network as it stands, with its recipe."""
        recipe = self.recipe() | {"steps_taken": self.taken, "loss": self.last}
        return Residual(self.network.shape, self.network.tensors, recipe, self.dtype)

    def painted(self, photo: Picture) -> Picture:
        """A photo painted with the network as it stands, at the size of the settings."""
        small = photo.resized(*images.fit(photo.size, self.settings.size))
        with torch.no_grad():
            pixels = self.network(small.pixels.to(self.device)).clamp_(0, 1).cpu()
        return Picture(pixels, small.alpha, photo.name)

    def recipe(self) -> dict[str, Any]:
        """How the network is trained, as JSON holds it."""
        from impasto import __version__

        return {
            "impasto": __version__,
            "torch": torch.__version__,
            "style": self.scene.paintings,
            "photos": len(self.photos.files),
            "inputs": self.inputs,
            "features": str(self.dtype).removeprefix("torch."),
            "settings": self.settings.as_dict(),
            "course": asdict(self.course),
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
        mine, its = self.recipe(), facts["recipe"]
        for name in ("impasto", "torch", "features", "inputs", "settings", "course"):
            differing = _differing(mine[name], its[name])
            if differing:
                raise PictureError(
                    f"the checkpoint was made with other {name} ({differing}): give the same "
                    "painting, photos and options, or start without --resume"
                )
        self.taken, self.seconds, self.last = facts["taken"], facts["seconds"], facts["last"]
        shape = Shape(facts["width"], facts["blocks"])
        self._begin(Residual(shape, _under("network.", tensors)))
        for name, tensor in self.network.tensors.items():
            memory = _under(f"adam.{name}.", tensors)
            self.optimizer.state[tensor] = {
                key: value.to(self.device, copy=True) for key, value in memory.items()
            }

    def square(self, number: int) -> Float[Tensor, "1 3 side side"]:
        """The square of that number in the run, from 0, whatever came before it."""
        seed = (self.settings.seed * SEEDS + number) % 2**63
        side = self.side_at(number // self.course.batch)
        return self.photos.crop(side, torch.Generator().manual_seed(seed))

    def side_at(self, step: int) -> int:
        """The side of the squares at a step, from 0, px: small ones first, as they are quick."""
        crop = self.course.crop
        return crop // 2 if step < COARSE * self.course.steps else crop

    def _work(self) -> float:
        """The part of the run that is done, small squares counting a quarter."""
        coarse = math.ceil(COARSE * self.course.steps)

        def until(step: int) -> float:
            return min(step, coarse) / 4 + max(0, step - coarse)

        return until(self.taken) / until(self.course.steps)

    def _begin(self, start: Residual) -> None:
        """A copy of a network to go on from, and an optimiser without memory."""
        tensors = {n: t.to(self.device).clone().requires_grad_() for n, t in start.tensors.items()}
        self.network = Residual(start.shape, tensors, dtype=self.dtype)
        self.optimizer = self._adam()

    def _learn(self) -> Terms:
        """One step of Adam on a batch; the mean loss terms before it."""
        batch = self.course.batch
        found: list[Terms] = []
        for number in range(batch):
            photo = self.square(self.taken * batch + number).to(self.device)
            painted = self.network(photo)
            terms, gradient = self.evaluate(photo, painted.detach())
            torch.autograd.backward(painted, gradient / batch)
            found.append(terms)
        mean = {name: torch.stack([t[name] for t in found]).mean() for name in found[0]}
        slopes = [t.grad for t in self.network.tensors.values() if t.grad is not None]
        finite = bool(torch.stack([slope.isfinite().all() for slope in slopes]).all())
        if not (finite and math.isfinite(float(mean["total"]))):
            self.optimizer.zero_grad()
            raise DivergedError(
                f"the loss is no number at step {self.taken + 1}: lower --learning-rate, which is "
                f"{self.course.learning_rate:g}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return mean

    def _rate(self) -> float:
        """The learning rate: up in a line, down in half a cosine."""
        done = self.taken / self.course.steps
        rise = min(1.0, (self.taken + 1) / (RISE * self.course.steps))
        return self.course.learning_rate * rise * (1 + math.cos(math.pi * done)) / 2

    def evaluate(self, photo: Tensor, painted: Tensor) -> tuple[Terms, Tensor]:
        """The optimiser's own objective of a crop: terms, and their gradient in the pixels."""
        settings = self.settings
        weights = Weights(
            settings.content_weight * self.part.hold, settings.style_weight, settings.tv_weight,
            settings.structure_weight, settings.range_weight,
        )  # fmt: skip
        objective = Objective(
            self.vgg, photo, [self.target], weights, settings.content_layers,
            settings.style_layers, settings.style_loss, settings.loss_scale,
            settings.structure_layers,
        )  # fmt: skip
        return objective.evaluate(painted)

    def _target(self, layers: tuple[str, ...]) -> Target:
        """The painting's moments at the size of the pictures to be painted."""
        padding = self.settings.padding
        found = part_moments(
            self.scene, self.part, self.vgg, self.settings.size, None,
            vgg.smallest_side(layers, padding),
        )  # fmt: skip
        return Target(found, weight=(2 * self.part.strength) ** 2)

    def _adam(self) -> torch.optim.Adam:
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(
            list(self.network.tensors.values()), self.course.learning_rate, BETAS, fused=fused
        )


def _check(settings: Settings, course: Course) -> None:
    """SettingError for settings that a network cannot be trained with."""
    for name in ("keep_colors", "palette"):
        if getattr(settings, name) != "none":
            raise SettingError(
                f"{name} is {getattr(settings, name)}, but a network learns the painting's "
                "colours: give it to the command that paints with the network"
            )
    if settings.method != "optimise":
        raise SettingError(
            f"method is {settings.method}, but a network is trained with the optimiser's "
            "objective: leave it at optimise"
        )
    if settings.precision == "float16":
        raise SettingError(
            "precision is float16, which loses a network's small gradients: take bfloat16 or "
            "float32"
        )
    if settings.seamless:
        raise SettingError("seamless is on, but a network pads by reflection: leave it off")
    least = vgg.smallest_side(_layers(settings), settings.padding)
    if course.crop // 2 < least:
        raise SettingError(f"crop is {course.crop} px: these layers need at least {2 * least}")


def _layers(settings: Settings) -> tuple[str, ...]:
    """All layers of the objective."""
    known = dict(settings.content_layers) | dict(settings.style_layers)
    return tuple(known | (dict(settings.structure_layers) if settings.structure_weight else {}))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _differing(mine: Any, its: Any) -> str:
    """What a checkpoint has where this run has something else, in a few words."""
    if not isinstance(its, dict):
        return "" if its == mine else str(its)
    return ", ".join(f"{k} {v}" for k, v in its.items() if mine.get(k) != v and k not in ELSEWHERE)
