"""Checkpoints: the state of a run in one safetensors file, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from impasto.errors import PictureError
from impasto.images import write_bytes
from impasto.settings import from_recipe

FORMAT = 2  # of the file; another number is another version of impasto
COMPARED = ("impasto", "torch", "features", "inputs", "settings", "training")
EARLIER_NAMES = {"training": "course"}  # of parts of a recipe
ELSEWHERE = ("device", "cuda_graphs", "tile", "memory_limit", "original_size", "preset")
"""Settings that decide where and how a picture is computed, not what it is."""


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


def _difference(its: Any, mine: Any) -> str:
    """What a checkpoint has where this run has something else, in a few words."""
    if not isinstance(its, dict):
        return "" if its == mine else str(its)
    return ", ".join(
        f"{name} {value}"
        for name, value in its.items()
        if name not in ELSEWHERE and json.dumps(mine.get(name)) != json.dumps(value)
    )
