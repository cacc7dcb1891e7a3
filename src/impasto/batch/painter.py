"""Paints the items of a batch, one after the other, in a process of its own."""

import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from impasto import fingerprint, images, segmentation
from impasto.batch import storage
from impasto.batch.plan import Item, Masks
from impasto.errors import ImpastoError, LeftOutWarning
from impasto.images import paintings
from impasto.machine import memory
from impasto.machine.tasks import Show
from impasto.painting import Loaded, PaintingRun, Result, start_run
from impasto.reports.manifest import Row
from impasto.scene import Scene
from impasto.settings import Settings
from impasto.weights import trained

REMEMBERED = 8  # sizes at which a painting's moments are kept for the next photo


@dataclass(frozen=True)
class Orders:
    """What every picture of a batch is painted with."""

    settings: Settings
    output: str
    bits: int
    keep_gps: bool


class Painter:
    """Paints items; networks are loaded once, and paintings measured once."""

    def __init__(self, orders: Orders) -> None:
        self.orders, self.loaded = orders, Loaded(REMEMBERED)

    def __call__(self, item: Item, show: Show) -> Row:
        """Paint an item, write it, and tell what came of it: its losses, or the `error`."""
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", LeftOutWarning)
                result, written = self._painted(item, show)
        except (ImpastoError, OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not memory.ran_out(error):
                raise
            return {"error": one_line(error)}
        notes = [str(one.message) for one in said if issubclass(one.category, LeftOutWarning)]
        width, height = result.picture.size
        return {
            "width": width,
            "height": height,
            "seconds": round(result.seconds, 3),
            "losses": result.recipe["losses"],
            "sha256": fingerprint.sha256(written),
            **({"notes": notes} if notes else {}),
        }

    def _painted(self, item: Item, show: Show) -> tuple[Result, bytes]:
        orders = self.orders
        for step in run_of(item, orders.settings, self.loaded).paint():
            show(step.work)
        result = step.result()
        kind = images.FORMATS[PurePosixPath(item.output).suffix.lower()]
        data = result.encoded(kind, orders.bits, orders.keep_gps)
        storage.write(data, storage.joined(orders.output, item.output))
        return result, data


def run_of(item: Item, settings: Settings, loaded: Loaded) -> PaintingRun:
    """The run that paints an item. Raises ImpastoError."""
    masks = _opened(item.masks)
    style = None if item.style is None else [source_of(item.style)]
    scene = Scene(
        source_of(item.source), style, settings, masks["mask"], masks["style_mask"],
        masks["regions"], masks["keep"],
    )  # fmt: skip
    return start_run(scene, loaded=loaded)


def source_of(name: str) -> Any:
    """What `impasto.stylize` reads: a painting by its name, a network, a file, or what lies at an
    address."""
    if storage.is_address(name):
        file = io.BytesIO(storage.read(name))
        file.name = PurePosixPath(name).name
        return file
    known = paintings.is_painting(name) or trained.is_network(name)
    return name if known else Path(name)


def one_line(error: BaseException) -> str:
    """What went wrong with a picture, in one line."""
    if memory.ran_out(error):
        return "the memory does not suffice: use a smaller --size, or fewer --workers"
    return " ".join(str(error).split()) or type(error).__name__


def _opened(masks: Masks) -> Mapping[str, Any]:
    """The masks of an item as a scene takes them."""

    def one(mask: Any) -> Any:
        return mask if mask is None or segmentation.is_word(mask) else source_of(os.fspath(mask))

    regions = [
        replace(
            region,
            style=source_of(os.fspath(region.style)),  # type: ignore[arg-type]
            mask=one(region.mask),
            style_mask=one(region.style_mask),
        )
        for region in masks.regions
    ]
    return {
        "mask": one(masks.mask),
        "style_mask": one(masks.style_mask),
        "keep": one(masks.keep),
        "regions": regions,
    }
