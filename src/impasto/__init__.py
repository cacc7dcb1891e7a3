"""impasto repaints a picture in the style of another.

    import impasto
    impasto.stylize("photo.jpg", "great-wave").save("painted.png")

Neural style transfer after Gatys, Ecker and Bethge 2016, on VGG-19. The names below are the
public ones; `paint.py` is the recipe, `moments.py` and `losses.py` the mathematics.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.augment import StyleTransfer
    from impasto.classify import Classifier, Prediction
    from impasto.errors import (
        DivergedError,
        ImpastoError,
        PictureError,
        SettingError,
        WeightsError,
    )
    from impasto.images import Picture
    from impasto.judge import Verdict, evaluate
    from impasto.paint import Result, steps, stylize
    from impasto.scene import Region
    from impasto.settings import Settings, settings_for
    from impasto.step import Step

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "classify",
    "Prediction": "classify",
    "DivergedError": "errors",
    "ImpastoError": "errors",
    "PictureError": "errors",
    "SettingError": "errors",
    "WeightsError": "errors",
    "Verdict": "judge",
    "evaluate": "judge",
    "Picture": "images",
    "Settings": "settings",
    "settings_for": "settings",
    "Region": "scene",
    "Result": "paint",
    "Step": "step",
    "steps": "paint",
    "stylize": "paint",
    "StyleTransfer": "augment",
}
__all__ = [
    "Classifier", "DivergedError", "ImpastoError", "Picture", "PictureError", "Prediction",
    "Region", "Result", "SettingError", "Settings", "Step", "StyleTransfer", "Verdict",
    "WeightsError", "__version__", "evaluate", "settings_for", "steps", "stylize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `impasto --help` need not wait for PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"impasto.{_HOMES[name]}"), name)
