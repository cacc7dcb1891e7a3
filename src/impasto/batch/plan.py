"""What a batch is to paint: every photo times every style, each with the name of its file."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from impasto import fingerprint, images, segmentation
from impasto.batch import storage
from impasto.batch.inputs import Photo, Unread, photos_of
from impasto.errors import PictureError, SettingError
from impasto.images import folder, paintings
from impasto.images.files import expanded
from impasto.scene import Region
from impasto.settings import FILE_OR, Settings
from impasto.version import __version__
from impasto.weights import trained

NAME = "{stem}-{style}.png"
FIELDS = ("stem", "suffix", "folder", "style")
MASK_FIELDS = FIELDS[:3]
MACHINE = ("device", "threads", "memory_limit", "tile", "cuda_graphs")
"""Settings that change how a picture comes about, but not which: a batch goes on with others."""
PLACE = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Masks:
    """Where to paint, as `impasto.stylize` takes it: files, or words. In names, {stem}, {suffix}
    and {folder} are those of each photo: "masks/{folder}/{stem}.png"."""

    mask: str | None = None
    style_mask: str | None = None
    keep: str | None = None
    regions: tuple[Region, ...] = ()

    def of(self, photo: Photo) -> "Masks":
        """The masks of one photo."""
        its = partial(_mask, photo=photo)
        regions = [
            replace(region, mask=its(region.mask), style_mask=its(region.style_mask))
            for region in self.regions
        ]
        return Masks(its(self.mask), its(self.style_mask), its(self.keep), tuple(regions))

    @property
    def files(self) -> dict[str, str]:
        """All masks, and the paintings of regions, that are files or names, by what they are."""
        found: dict[str, Any] = {
            "mask": self.mask, "style mask": self.style_mask, "keep": self.keep,
        }  # fmt: skip
        for number, region in enumerate(self.regions):
            its = {"mask": region.mask, "style mask": region.style_mask, "style": region.style}
            found |= {f"{what} of region {number}": value for what, value in its.items()}
        return {what: os.fspath(name) for what, name in found.items() if name is not None}


@dataclass(frozen=True)
class Item:
    """One picture of a batch."""

    source: str
    """The photo: a file, absolute, or an address."""
    style: str | None
    """The painting; None where the regions have all."""
    output: str
    """The file to write, below the output folder, with / between its parts."""
    masks: Masks


@dataclass(frozen=True)
class Batch:
    """A batch that can be painted: everything was checked that can be beforehand."""

    items: tuple[Item, ...] = field(repr=False)
    """In the order of painting."""
    unread: tuple[Unread, ...]
    """What of the inputs cannot be read."""
    output: str
    """The output folder: absolute, or an address."""
    settings: Settings
    bits: int = 8
    keep_gps: bool = False

    def target(self, item: Item) -> str:
        """The whole name of an item's file."""
        return storage.joined(self.output, item.output)

    def recipe(self, item: Item, known: dict[str, str | None]) -> str:
        """A fingerprint of all that an item's picture depends on: another one is painted anew.

        `known` keeps the digests of files from item to item.
        """
        plain = {k: v for k, v in self.settings.as_dict().items() if k not in MACHINE}
        files = {"photo": item.source} | item.masks.files
        files |= {} if item.style is None else {"style": item.style}
        files |= {name: plain[name] for name, its in FILE_OR.items() if plain[name] not in its}
        digests = {what: _digests(name, known) for what, name in files.items()}
        regions = [(region.name, region.strength) for region in item.masks.regions]
        words = (__version__, plain, digests, regions, self.bits, self.keep_gps)
        return fingerprint.short(repr(words))


def plan_batch(
    inputs: Iterable[str | os.PathLike[str]],
    styles: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    settings: Settings,
    *,
    masks: Masks = Masks(),
    name: str = NAME,
    bits: int = 8,
    keep_gps: bool = False,
) -> Batch:
    """Check a batch before anything is painted. Raises SettingError or PictureError for what
    cannot be done; a photo that cannot be read stops nothing."""
    out = os.fspath(output)
    _check_output(out)
    _check_fields(name, FIELDS, "the name")
    for text in masks.files.values():
        _check_fields(text, MASK_FIELDS, "a mask")
    named: list[str | None] = [*_styles(styles)]
    if not named and not masks.regions:
        raise SettingError("there is no painting: name one, or regions with theirs")
    found = photos_of(inputs, out)
    photos = [one for one in found if isinstance(one, Photo)]
    items = [
        Item(photo.source, style, _output(name, photo, style, masks), masks.of(photo))
        for style in named or [None]
        for photo in sorted(photos, key=_size)
    ]
    _check_names(items, bits)
    unread = tuple(one for one in found if isinstance(one, Unread))
    whole = out if storage.is_address(out) else os.path.abspath(expanded(out))  # noqa: PTH100
    return Batch(tuple(items), unread, whole, settings, bits, keep_gps)


def _styles(styles: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The styles one by one, those in folders, too; each can be read."""
    found: list[str] = []
    for style in styles:
        text = os.fspath(style)
        if storage.is_address(text) or trained.is_network(style):
            found.append(text)
            continue
        for source in folder.sources(style):
            chosen = os.fspath(source)  # type: ignore[arg-type]
            paintings.picture(source if isinstance(style, str) else Path(chosen))
            known = paintings.is_painting(chosen) and isinstance(style, str)
            is_file = not known and expanded(chosen).exists()
            found.append(os.path.abspath(expanded(chosen)) if is_file else chosen)  # noqa: PTH100
    return list(dict.fromkeys(found))


def _output(pattern: str, photo: Photo, style: str | None, masks: Masks) -> str:
    """The name of an item's file, in the folder that the photo has below the input."""
    parts = [style] if style is not None else [os.fspath(r.style) for r in masks.regions]  # type: ignore[arg-type]
    word = "-".join(PurePosixPath(part).stem for part in parts)
    name = _filled(pattern, photo.fields | {"style": word})
    if "{folder}" in pattern:
        return str(PurePosixPath(name))
    return str(PurePosixPath(photo.fields["folder"], name))


def _mask(mask: Any, photo: Photo) -> Any:
    """A mask as a photo takes it: a word, or a file whose name may have the photo's in it."""
    if mask is None or segmentation.is_word(mask):
        return mask
    text = _filled(os.fspath(mask), photo.fields)
    if storage.is_address(text):
        return text
    segmentation.check_word(text)
    return os.path.abspath(expanded(text))  # noqa: PTH100


def _filled(pattern: str, fields: Mapping[str, str]) -> str:
    return PLACE.sub(lambda place: fields[place[1]], pattern)


def _check_fields(pattern: str, known: Sequence[str], what: str) -> None:
    """SettingError for a pattern that asks for what there is not."""
    for field_ in PLACE.findall(pattern):
        if field_ not in known:
            names = ", ".join(f"{{{one}}}" for one in known)
            raise SettingError(f"{what} is {pattern!r}, but there is no {{{field_}}}: use {names}")


def _check_output(output: str) -> None:
    """PictureError for an output that is no folder."""
    if not output.strip():
        raise PictureError("the name of the output folder is empty: name one with -o")
    if storage.is_address(output):
        return
    path = expanded(output)
    if path.exists() and not path.is_dir():
        raise PictureError(f"{output} is a file: name a folder with -o")
    images.make_folder(path)
    images.check_place(path / "picture.png")


def _check_names(items: Sequence[Item], bits: int) -> None:
    """SettingError or PictureError for a name that cannot be written, or that two pictures have."""
    taken: dict[str, Item] = {}
    for item in items:
        path = PurePosixPath(item.output)
        if ".." in path.parts or path.is_absolute():
            raise SettingError(f"the name {item.output!r} leaves the output folder: leave .. out")
        kind = images.FORMATS.get(path.suffix.lower())
        if kind is None:
            endings = ", ".join(images.FORMATS)
            raise SettingError(f"cannot write {path.name!r}: end the name in {endings}")
        if bits == 16 and kind != "PNG":
            raise SettingError(f"16 bit are written to PNG only: end {path.name!r} in .png")
        images.check_name(path.name)
        before = taken.setdefault(item.output.casefold(), item)
        if before is not item:
            raise PictureError(
                f"{before.source} and {item.source} would both be written to {item.output}: give "
                "another --name, such as {stem}-{suffix}-{style}.png"
            )


def _size(photo: Photo) -> tuple[int, int, str]:
    """What pictures are sorted by: those of a size one after the other, the large ones first, as
    the last picture alone keeps all waiting."""
    width = height = 0
    if not storage.is_address(photo.source):
        try:
            from impasto.images.reading import own_size

            width, height = own_size(Path(photo.source))
        except (PictureError, OSError):
            pass  # it is told when its turn comes
    return -max(width, height), -min(width, height), photo.name


def _digests(name: str, known: dict[str, str | None]) -> list[str | None]:
    """The digests of a file, of all pictures in a folder, or of a painting; a word is its own."""
    if segmentation.is_word(name):
        return [name]
    if storage.is_address(name):
        sources: list[Any] = [name]
    elif paintings.is_painting(name):
        sources = [paintings.path(name)]
    elif trained.is_network(name):
        sources = [trained.network_path(name)]
    else:
        sources = [Path(os.fspath(one)) for one in folder.sources(Path(name))]  # type: ignore[arg-type]
    for source in map(os.fspath, sources):
        if source not in known:
            known[source] = storage.digest(source)
    return [known[source] for source in map(os.fspath, sources)]
