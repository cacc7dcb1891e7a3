"""What the tests of augmentation share."""

from pathlib import Path

import pytest

from impasto.augmentation.transform import StyleTransfer

STYLES = ["great-wave", "composition-viii", "poppies"]


@pytest.fixture(scope="module")
def always(cache: Path) -> StyleTransfer:
    """Every picture is painted."""
    return StyleTransfer(STYLES, p=1.0, seed=1, size=32)
