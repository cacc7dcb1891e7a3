"""Strength: how far to go from the photo (0) to the painting (1), and what that weighs."""

import math
from dataclasses import dataclass

from impasto.settings.settings import Settings


@dataclass(frozen=True)
class Strength:
    """A strength s of 0 to 1, of the whole picture or of one of its regions."""

    value: float

    @property
    def style(self) -> float:
        """What s multiplies the style weight with: (2 s)^2, so 1 at 0.5."""
        return (2 * self.value) ** 2

    @property
    def content(self) -> float:
        """What s multiplies the content weight with: (2 (1 - s))^2, so 1 at 0.5."""
        return (2 * (1 - self.value)) ** 2

    def reach(self, settings: Settings) -> float:
        """How far the painting gets without asking the photo, 0 to 1: in the start's colors, in
        the number of detail steps.

        (2 s)^2 up to a strength s of 0.5, all the way from there. With relative losses s is the
        strength that gives the default weights the ratio of these: a style that weighs next to
        nothing must not be painted all the same.
        """
        if settings.loss_scale != "relative":
            return min(1.0, 2 * self.value) ** 2
        usual = Settings()
        style = math.sqrt(settings.style_weight / usual.style_weight) * self.value
        content = math.sqrt(settings.content_weight / usual.content_weight) * (1 - self.value)
        return min(1.0, 2 * style / (style + content)) ** 2 if style else 0.0
