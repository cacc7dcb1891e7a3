"""impasto repaints a picture in the style of another.

    import impasto
    impasto.stylize("photo.jpg", "great-wave").save("painted.png")

Neural style transfer after Gatys, Ecker and Bethge 2016, on VGG-19. The names below are the public
ones. ARCHITECTURE.md tells where everything is: `painting` is the recipe, `losses` the mathematics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from impasto.version import __version__

if TYPE_CHECKING:
    from impasto.augmentation import StyleTransfer
    from impasto.batch import Masks, stylize_all
    from impasto.errors import (
        DivergedError,
        ImpastoError,
        PictureError,
        SettingError,
        WeightsError,
    )
    from impasto.evaluation import Classifier, Prediction, Verdict, evaluate
    from impasto.images import Picture
    from impasto.painting import Finished, Result, Step, mix, steps, stylize
    from impasto.scene import Region
    from impasto.segmentation import find_mask
    from impasto.settings import Settings, settings_for

__all__ = [
    "Classifier", "DivergedError", "Finished", "ImpastoError", "Masks", "Picture", "PictureError",
    "Prediction", "Region", "Result", "SettingError", "Settings", "Step", "StyleTransfer",
    "Verdict", "WeightsError", "__version__", "evaluate", "find_mask", "mix", "settings_for",
    "steps", "stylize", "stylize_all",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `impasto --help` need not wait for PyTorch."""
    packages = (
        "errors", "settings", "images", "segmentation", "scene", "painting", "evaluation",
        "augmentation", "batch",
    )  # fmt: skip
    for package in packages if name in __all__ else ():
        module = import_module(f"impasto.{package}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")
