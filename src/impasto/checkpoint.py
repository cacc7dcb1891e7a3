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

FORMAT = 2  # of the file; another number is another version of impasto


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
