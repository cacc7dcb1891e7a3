"""Minimize an objective over the pixels of one scale, one step at a time."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.errors import DivergedError
from impasto.machine.buffers import Buffers
from impasto.machine.exchange import ALONE, mean_of
from impasto.machine.strips import Strips
from impasto.optimizers.lbfgs import FIRST_STEP, Lbfgs
from impasto.settings import Settings

Terms = dict[str, Float[Tensor, ""]]
Evaluate = Callable[[Tensor], tuple[Terms, Tensor]]
"""A picture to its loss terms (with their sum as `total`) and the gradient of that sum."""
Optimizer = Lbfgs | torch.optim.Optimizer

LEARNING_RATES = {"lbfgs": 1.0, "adam": 0.02, "adagrad": 0.1, "sgd": 0.02, "rmsprop": 0.005}
DIVERGENCE = 10.0  # a loss so many times that of the start has run away
LOST = 2.0  # times the loss of the start, in the end, with nothing better on the way: it ran away
RISE = 1.1  # times the loss before: such a step of L-BFGS is taken back
RETREATS = 5  # in a row; after that the rise is taken, unless it has run away
RESTARTS = 3  # of a run that diverged, from its best picture and with empty memory


class Minimizer:
    """The pixels of one scale and the memory of the optimizer that moves them.

    Every step is one evaluation: L-BFGS takes its full step, and takes it back if the loss rose by
    a tenth. Its pixels are free, those of the first-order methods are clamped to [0, 1]. A loss
    that is not finite, or ten times that of the start, sends the run back to its best picture with
    empty memory; the fourth time it raises DivergedError. Then, and after `finish`, the pixels are
    those of the best picture. `pixels` is live: clone it to keep it. Optimizers see the gradient
    times a power of two that brings it near 1: squares of it neither overflow nor vanish.
    `first_step` is that of L-BFGS, in units of full brightness; `known` is what it knows of the
    loss before its first step (see `Spectrum`). `buffers` lend it memory between evaluations. Its
    pairs are kept in `dtype`, else in that of the pixels. Of several `strips` the image is this
    member's: all members take each step together, and decide the same.
    """

    def __init__(
        self,
        image: Float[Tensor, "1 3 h w"],
        settings: Settings,
        first_step: float = FIRST_STEP,
        known: Tensor | None = None,
        buffers: Buffers | None = None,
        dtype: torch.dtype | None = None,
        strips: Strips | None = None,
    ) -> None:
        self.settings, self.first_step, self.known = settings, first_step, known
        self.buffers, self.dtype, self.strips = buffers, dtype, strips
        self.exchange = ALONE if strips is None else strips.exchange
        self.pixels = image.detach().clone()
        self.best, self.best_loss = self.pixels.clone(), math.inf
        self.first_loss: float | None = None
        self.last_loss: float | None = None  # before the step that was taken last
        self.restarts = self.retreats = 0  # of the run; in a row
        self.optimizer: Optimizer | None = None
        self.sgd_rate = 0.0  # the rate of sgd in units of its first gradient
        self.steps = 0  # taken
        self.unit = 0.0  # what gradients are multiplied by; 0 before the first one

    def step(self, evaluate: Evaluate) -> Terms:
        """Take one step; the loss terms before it, where the processor reads them."""
        terms, gradient = self._evaluate(evaluate)
        self.steps += 1
        loss = float(terms["total"])
        if self.first_loss is None and not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} before the first step: {self._smaller(terms)}")
        self.first_loss = loss if self.first_loss is None else self.first_loss
        if self._uphill(loss):
            assert isinstance(self.optimizer, Lbfgs)
            self.retreats += 1
            self.pixels.grad = gradient
            self.optimizer.retreat()
            self.pixels.grad = None
            return terms
        if not math.isfinite(loss) or loss > DIVERGENCE * self.first_loss:
            terms, gradient = self._restart(loss, evaluate)
        elif loss < self.best_loss:
            self.best_loss = loss
            self.best.copy_(self.pixels)
        self.last_loss, self.retreats = float(terms["total"]), 0
        if self.optimizer is None:
            # The rate in units of brightness: losses differ by ten orders of magnitude.
            square = mean_of(gradient.square(), self.exchange)
            size = float(square.sqrt().clamp_min(1e-30))
            self.sgd_rate = self._rate() / size
            self.optimizer = self._optimizer()
        self.pixels.grad = gradient
        self.optimizer.step()
        self.pixels.grad = None
        if self.settings.optimizer != "lbfgs":
            self.pixels.clamp_(0, 1)
        return terms

    def finish(self, evaluate: Evaluate) -> str | None:
        """Settle on the best picture if the last steps led away from it; what to tell the user.

        One evaluation more where the steps before, or a learning rate of the user's own, make that
        likely. DivergedError where no step led to anything better than the start.
        """
        if self.first_loss is None or self.last_loss is None:
            return None
        if self.steps > 1 and self.last_loss == self.first_loss == self.best_loss > 0:
            return self._stuck()
        own_rate = self.settings.learning_rate is not None
        if not (own_rate or self.retreats or self.last_loss > RISE * self.best_loss):
            return None
        loss = float(self._evaluate(evaluate)[0]["total"])
        if loss <= RISE * self.best_loss:
            return None
        self.pixels.copy_(self.best)
        if self.best_loss == self.first_loss and not loss <= LOST * self.first_loss:
            raise self._diverged(loss)
        return (
            f"the loss rose from {self.best_loss:.4g} to {loss:.4g} in the last steps: went back "
            f"to the best picture; {self._advice()}"
        )

    @property
    def learned(self) -> Tensor | None:
        """What another size of the same loss may begin with as `known`."""
        spectrum = self.optimizer.spectrum if isinstance(self.optimizer, Lbfgs) else None
        return spectrum.scale if spectrum is not None and spectrum.learned else self.known

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a later `load` needs to go on as if nothing had happened: tensors, numbers."""
        tensors = {"pixels": self.pixels, "best": self.best}
        if self.known is not None:
            tensors["known"] = self.known.clone()  # a file holds no tensor twice
        numbers = {
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "first_loss": self.first_loss,
            "last_loss": self.last_loss,
            "retreats": self.retreats,
            "restarts": self.restarts,
            "sgd_rate": self.sgd_rate,
            "steps": self.steps,
            "unit": self.unit,
        }
        if self.optimizer is not None:
            for name, value in _state_of(self.optimizer).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{name}"] = value
                else:
                    numbers[f"optimizer.{name}"] = value
        return tensors, numbers

    def load(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.pixels.copy_(tensors["pixels"])
        self.best.copy_(tensors["best"])
        known = tensors.get("known")
        self.known = None if known is None else known.to(self.pixels, copy=True)
        best_loss = numbers["best_loss"]
        self.best_loss = math.inf if best_loss is None else best_loss
        self.first_loss, self.last_loss = numbers["first_loss"], numbers["last_loss"]
        self.restarts, self.retreats = numbers["restarts"], numbers["retreats"]
        self.sgd_rate = numbers["sgd_rate"]
        self.steps, self.unit = numbers.get("steps", 0), numbers.get("unit", 0.0)
        memory: dict[str, Any] = {
            name.removeprefix("optimizer."): value
            for name, value in {**tensors, **numbers}.items()
            if name.startswith("optimizer.")
        }
        gradient = memory.get("gradient")
        of_squares = gradient is not None and gradient.dim() > 1  # 0.1.0: it begins with no memory
        if memory and not of_squares:
            self.optimizer = self._optimizer()
            _load_into(self.optimizer, memory, self.pixels)

    def _uphill(self, loss: float) -> bool:
        """True if L-BFGS, which has no line search, took a step that it had better not."""
        if not isinstance(self.optimizer, Lbfgs) or self.last_loss is None:
            return False
        return RISE * self.last_loss < loss < math.inf and self.retreats < RETREATS

    def _restart(self, loss: float, evaluate: Evaluate) -> tuple[Terms, Tensor]:
        """Back to the best picture with empty memory, or DivergedError."""
        self.restarts += 1
        self.pixels.copy_(self.best)
        if self.restarts > RESTARTS or self.optimizer is None:
            raise self._diverged(loss)
        self.optimizer = None
        return self._evaluate(evaluate)

    def _diverged(self, loss: float) -> DivergedError:
        return DivergedError(
            f"the loss went from {self.first_loss:.4g} to {loss:.4g} with "
            f"{self.settings.optimizer} at learning rate {self._rate():g}: {self._advice()}"
        )

    def _advice(self) -> str:
        """What helps against a loss that rises."""
        optimizer, usual = self.settings.optimizer, LEARNING_RATES[self.settings.optimizer]
        if self._rate() > usual:
            return f"lower --learning-rate ({usual:g} is usual for {optimizer})"
        if optimizer == "lbfgs":
            return "use --optimizer adam, or --precision float32"
        return f"lower --learning-rate (half of it is {self._rate() / 2:g})"

    def _smaller(self, terms: Terms) -> str:
        """What helps against a loss that is not finite before any step was taken."""
        bad = [name for name, value in terms.items() if not math.isfinite(float(value))]
        names = " and ".join(f"--{name}-weight" for name in bad if name != "total")
        return f"lower {names or 'the weights'}, or use --precision float32"

    def _stuck(self) -> str:
        return (
            f"the loss stayed at {self.last_loss:.4g} from the first step to the last: nothing "
            "was painted; raise --learning-rate, or bring the weights nearer to their defaults"
        )

    def _evaluate(self, evaluate: Evaluate) -> tuple[Terms, Tensor]:
        """An evaluation, its terms fetched together: a card is waited for once a step."""
        terms, gradient = evaluate(self.pixels)
        values = torch.stack(list(terms.values())).cpu()
        if not self.unit:
            largest = float(self.exchange.largest(gradient.abs().max()))
            usable = 0 < largest < math.inf
            self.unit = 2.0 ** -math.frexp(largest)[1] if usable else 1.0
        return dict(zip(terms, values, strict=True)), gradient.mul_(self.unit)

    def _rate(self) -> float:
        return self.settings.learning_rate or LEARNING_RATES[self.settings.optimizer]

    def _optimizer(self) -> Optimizer:
        pixels, rate = [self.pixels], self._rate()
        match self.settings.optimizer:
            case "lbfgs":
                return Lbfgs(
                    self.pixels,
                    rate,
                    self.settings.history,
                    self.first_step,
                    self.settings.precondition,
                    self.known,
                    self.buffers,
                    self.dtype,
                    self.strips,
                )
            case "adam":
                # fused: in one pass over the pixels, with no picture on the way
                fused = self.pixels.device.type in ("cpu", "cuda")
                return torch.optim.Adam(pixels, rate, (0.9, 0.99), eps=1e-16, fused=fused)
            case "adagrad":
                return torch.optim.Adagrad(pixels, lr=rate, eps=1e-16)
            case "rmsprop":
                return torch.optim.RMSprop(pixels, lr=rate, eps=1e-16)
            case "sgd":
                return torch.optim.SGD(pixels, lr=self.sgd_rate, momentum=self.settings.momentum)


def _state_of(optimizer: Optimizer) -> dict[str, Any]:
    """What an optimizer remembers, by name."""
    if isinstance(optimizer, Lbfgs):
        return optimizer.state()
    found: dict[str, Any] = optimizer.state_dict()["state"].get(0, {})
    return {name: value for name, value in found.items() if value is not None}


def _load_into(optimizer: Optimizer, memory: dict[str, Any], pixels: Tensor) -> None:
    """The reverse of `_state_of`: a file's tensors go to the pixels' device, but for the number of
    steps, which only fused optimizers count there."""
    if isinstance(optimizer, Lbfgs):
        optimizer.load(memory)
        return
    counts_there = bool(optimizer.defaults.get("fused"))
    optimizer.state[pixels] = {
        name: value.to("cpu" if name == "step" and not counts_there else pixels.device, copy=True)
        if isinstance(value, Tensor)
        else value
        for name, value in memory.items()
    }
