"""The device that these tests run on: a card, or another one that $IMPASTO_TEST_DEVICE names.

With IMPASTO_TEST_DEVICE=cpu the tests' own logic is tried where there is no card; with `meta` they
run on a pretended one, which refuses what a card refuses.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from pretended import pretended_card

NAME = os.environ.get("IMPASTO_TEST_DEVICE", "cuda")


@pytest.fixture(autouse=True)
def _only_with_a_card() -> Iterator[None]:
    if NAME.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA card, or IMPASTO_TEST_DEVICE=cpu")
    if NAME != "meta":
        yield
        return
    with pretended_card():
        yield


@pytest.fixture
def card() -> str:
    """The device to be tested, by its name."""
    return NAME
