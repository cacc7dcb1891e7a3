"""A pretended card refuses what a card refuses; a run with a mask is the processor's, and goes on.

More of impasto runs on the pretended card with IMPASTO_TEST_DEVICE=meta, see tests/gpu.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impasto
from pretended import OnCard, pretended_card

RUN: dict[str, Any] = {
    "size": 48, "coarsest": 0, "steps": (3,), "matching_steps": 1, "precision": "float32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _card() -> Iterator[None]:
    with pretended_card():
        yield


def test_tensors_of_two_devices_are_refused() -> None:
    here, there = torch.arange(4.0), torch.arange(4.0, device="meta")
    assert isinstance(there, OnCard)
    torch.testing.assert_close((2 * there).cpu(), 2 * here)
    torch.testing.assert_close(there[torch.tensor([1, 3])].cpu(), here[1::2])
    assert float(there.sum()) == 6
    for mix in (lambda: here + there, lambda: here[there.long()], lambda: there.add_(here)):
        with pytest.raises(RuntimeError, match="on the same device"):
            mix()
    with pytest.raises((RuntimeError, TypeError)):
        there.numpy()


def test_gradients_come_back_to_the_card() -> None:
    x = torch.arange(4.0, device="meta").requires_grad_()
    torch.autograd.backward((x * x).sum())
    assert isinstance(x.grad, OnCard)
    torch.testing.assert_close(x.grad.cpu(), 2 * torch.arange(4.0))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_run_is_the_processors_and_goes_on(photo: Path, tmp_path: Path, optimizer: str) -> None:
    mask: Tensor = torch.linspace(0, 1, 96).expand(64, 96)
    changes = RUN | {"optimizer": optimizer, "mask": mask}
    wanted = impasto.stylize(photo, "great-wave", device="cpu", **changes)
    file = tmp_path / "run.safetensors"
    for step in impasto.steps(photo, "great-wave", device="meta", **changes):
        if step.step == 2:
            step.save_checkpoint(file)
    *_, last = impasto.steps(photo, "great-wave", device="meta", resume=file, **changes)
    for found in (step.result(), last.result()):
        assert found.recipe["device"] == "meta"
        assert (found.picture.pixels - wanted.picture.pixels).abs().mean() < 1 / 255
