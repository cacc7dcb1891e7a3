"""The tensors of weights, as they are stored."""

from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import WeightsError
from impasto.weights import download
from impasto.weights.catalogue import entry
from impasto.weights.files import path

if TYPE_CHECKING:
    from torch import Tensor


def load(name: str, prefix: tuple[str, ...] | None = None) -> dict[str, "Tensor"]:
    """The tensors of these weights, as stored; only those of the named layers if asked.

    Raises WeightsError if the file is not there (with where to put it) or cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    where = path(name)
    if not where.is_file():
        if not (url := entry(name).url) or not where.with_name(Path(url).name).is_file():
            raise WeightsError(download.absent(entry(name)))
        download.get(name)  # put there by hand: check and convert it, no network needed
    try:
        with safe_open(where, framework="pt") as stored:
            keys = [k for k in stored.keys() if prefix is None or k.split(".")[0] in prefix]
            return {key: stored.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        remedy = (
            "reinstall impasto"
            if entry(name).ships
            else f"delete it and `{download.command(name)}`"
        )
        raise WeightsError(f"{where} is damaged ({error}): {remedy}") from error
