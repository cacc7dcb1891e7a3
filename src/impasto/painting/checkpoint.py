"""Checkpoints: the state of a run in one safetensors file, written whole or not at all.

A state is that of the whole picture. Where several members paint it, each has its strip's part.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from impasto.errors import PictureError
from impasto.images import write_bytes
from impasto.machine.strips import Strips
from impasto.networks.layer_names import stride_of
from impasto.settings import from_recipe

FORMAT = 2  # of the file; another number is another version of impasto
COMPARED = ("impasto", "torch", "features", "inputs", "settings", "training")
EARLIER_NAMES = {"training": "course"}  # of parts of a recipe
ELSEWHERE = ("device", "cuda_graphs", "tile", "memory_limit", "original_size", "preset")
"""Settings that decide where and how a picture is computed, not what it is."""

FLAT = ("optimizer.gradient", "optimizer.change", "optimizer.vectors")
"""The tensors of L-BFGS, that have the pixels in one row."""
MATCHES = "matches."  # before the name of a layer: the matches that were found there


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts (what JSON holds). Raises PictureError where the disk refuses."""
    metadata = {"impasto": json.dumps({"format": FORMAT} | dict(facts))}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes(save(plain, metadata), path)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a checkpoint. Raises PictureError if it is none."""
    try:
        with safe_open(path, framework="pt") as stored:
            facts = json.loads((stored.metadata() or {})["impasto"])
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
    except FileNotFoundError as error:
        raise PictureError(f"there is no checkpoint {path}: check the name") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise PictureError(
            f"{path} is no checkpoint of impasto ({error}): start without --resume"
        ) from error
    if facts.get("format") != FORMAT:
        raise PictureError(f"{path} was written by another version of impasto: start anew")
    return tensors, facts


def check_same(mine: Mapping[str, Any], its: Mapping[str, Any], what: str) -> None:
    """PictureError unless two recipes paint the same: versions, number format, inputs, settings.

    mine: of the run that goes on. its: of the checkpoint, of this version or an earlier one. what:
    what has to be given again.
    """
    for name in COMPARED:
        if name not in mine:
            continue
        wanted, found = mine[name], its.get(name, its.get(EARLIER_NAMES.get(name, name)))
        if name == "settings":
            wanted, found = dict(wanted), from_recipe(found)
        differing = _difference(found, wanted)
        if differing:
            raise PictureError(
                f"the checkpoint was made with other {name} ({differing}): give the same {what}, "
                "or start without --resume"
            )


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def scattered(
    name: str,
    whole: Tensor | None,
    shape: Sequence[int],
    dtype: torch.dtype,
    strips: Strips,
    width: int,
) -> Tensor:
    """This member's part of a tensor of a state, which the first member has, for a picture of that
    width, px. All members ask for it together."""
    if name in FLAT:
        wide = [*shape[:-1], 3, strips.height, width]
        maps = None if whole is None else whole.view(wide)
        return strips.scattered(maps, wide, dtype).reshape(*shape[:-1], -1)
    if name.startswith(MATCHES):
        stride = stride_of(name.removeprefix(MATCHES))
        return strips.placed(strips.scattered(whole, shape, dtype, stride), stride)
    if len(shape) == 4:
        return strips.scattered(whole, shape, dtype)
    return strips.handed(whole, shape, dtype)


def gathered(name: str, own: Tensor, strips: Strips, width: int) -> Tensor:
    """The reverse of `scattered`: a tensor of the whole on the first member, on the CPU, and its
    own part on each other."""
    own, found = own.detach().cpu(), None
    if name in FLAT:
        found = strips.gathered(own.view(*own.shape[:-1], 3, -1, width))
        found = None if found is None else found.reshape(*own.shape[:-1], -1)
    elif name.startswith(MATCHES):
        stride = stride_of(name.removeprefix(MATCHES))
        found = strips.gathered(strips.inside(own, stride), stride)
    elif own.dim() == 4:
        found = strips.gathered(own)
    return own if found is None else found


def _difference(its: Any, mine: Any) -> str:
    """What a checkpoint has where this run has something else, in a few words."""
    if not isinstance(its, dict):
        return "" if its == mine else str(its)
    return ", ".join(
        f"{name} {value}"
        for name, value in its.items()
        if name not in ELSEWHERE and json.dumps(mine.get(name)) != json.dumps(value)
    )
