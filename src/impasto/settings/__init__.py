"""Every option of impasto: its name, default, range and help text, once; parsed once."""

from impasto.settings.parsing import WHOLE, Crop, Turn, as_text
from impasto.settings.presets import PRESETS, from_recipe, settings_for
from impasto.settings.settings import FILE_OR, Preset, Settings, changed
from impasto.settings.strength import Strength
from impasto.settings.training import TrainingSettings

__all__ = [
    "FILE_OR", "PRESETS", "WHOLE", "Crop", "Preset", "Settings", "Strength", "TrainingSettings",
    "Turn", "as_text", "changed", "from_recipe", "settings_for",
]  # fmt: skip
