"""The specification of an objective: what its losses weigh, at which layers, in what units."""

from dataclasses import dataclass

from impasto.losses import LossScale
from impasto.settings import Settings
from impasto.settings.fields import LayerWeights


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The weights and layers of every loss, as settings have them."""

    content_weight: float = 1.0
    """alpha of Gatys et al. 2016, eq. 7."""
    style_weight: float = 1.0
    """beta of the same."""
    tv_weight: float = 0.0
    structure_weight: float = 0.0
    """Of the self-similarity loss."""
    matching_weight: float = 0.0
    range_weight: float = 0.0
    """Of pixels beyond black and white."""
    content_layers: LayerWeights = ()
    style_layers: LayerWeights = ()
    structure_layers: LayerWeights = ()
    matching_layers: LayerWeights = ()
    style_losses: tuple[str, ...] = ("gram",)
    scale: LossScale = "paper"

    @classmethod
    def of(cls, settings: Settings) -> "Spec":
        """The specification that settings ask for, at a strength of 0.5."""
        return cls(
            content_weight=settings.content_weight,
            style_weight=settings.style_weight,
            tv_weight=settings.tv_weight,
            structure_weight=settings.structure_weight,
            matching_weight=settings.matching_weight,
            range_weight=settings.range_weight,
            content_layers=settings.content_layers,
            style_layers=settings.style_layers,
            structure_layers=settings.structure_layers,
            matching_layers=settings.matching_layers,
            style_losses=settings.style_loss,
            scale=settings.loss_scale,
        )

    def matched_layers(self) -> tuple[str, ...]:
        """The layers that strokes are matched at."""
        return tuple(name for name, w in self.matching_layers if w and self.matching_weight)

    def layers(self) -> tuple[str, ...]:
        """Every layer that a picture's features are needed at, content first."""
        known = dict(self.content_layers) | dict(self.style_layers)
        alike = dict(self.structure_layers) if self.structure_weight else {}
        return tuple(dict.fromkeys([*known, *self.matched_layers(), *alike]))
