"""The photos that a network learns from: random squares of what lies in a folder."""

import os
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import fingerprint, images
from impasto.errors import PictureError
from impasto.images.files import expanded
from impasto.images.folder import pictures_in

FEW = 200  # photos: a network that knows fewer may paint what they do not show badly
KEPT = 512 * 1024**2  # bytes of shrunken photos that stay in memory


class Photos:
    """The photos under a folder, each read when it is first needed and kept small.

    Raises PictureError where there is none.
    """

    def __init__(self, folder: str | os.PathLike[str], side: int) -> None:
        self.folder, self.side = expanded(folder), side
        if not self.folder.is_dir():
            raise PictureError(f"there is no folder {folder}: name one with photos in it")
        self.files = [self.folder / name for name in pictures_in(self.folder, deep=True)]
        if not self.files:
            raise PictureError(f"there are no photos under {folder}: name a folder that has some")
        self.notes: list[str] = []
        """What a front end should tell its user; it takes them away."""
        if len(self.files) < FEW:
            self.notes.append(
                f"{len(self.files)} photos are few: a network learns to paint what it saw, and "
                f"with less than {FEW} other photos may turn out worse"
            )
        self._small: dict[Path, Tensor] = {}
        self._unread: set[Path] = set()
        self._room = KEPT

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the files' names and sizes."""
        parts: list[bytes | str] = []
        for path in self.files:
            name = path.relative_to(self.folder).as_posix()
            parts += [os.fsencode(name), f" {path.stat().st_size}\n"]
        return fingerprint.short(*parts)

    def crop(self, side: int, generator: torch.Generator) -> Float[Tensor, "1 3 side side"]:
        """A random square of a random photo at a random size, mirrored half of the time.

        The photo's short side is between half of `self.side` and all of it, px, but not less than
        that of the square.
        """
        number, scale, y, x, mirrored = torch.rand(5, generator=generator).tolist()
        photo = self.at(int(number * len(self.files)))
        height, width = photo.shape[-2:]
        least, most = max(side, self.side / 2), max(side, self.side)
        box = round(min(height, width) * side / (least * (most / least) ** scale))
        top, left = round(y * (height - box)), round(x * (width - box))
        square = photo[..., top : top + box, left : left + box].float() / 255
        square = images.resize(square, side, side).clamp(0, 1)
        return square.flip(-1) if mirrored < 0.5 else square

    def at(self, number: int) -> Tensor:
        """A photo, or the next one that can be read; 8 bits, its short side `self.side` at most."""
        for path in self.files[number:] + self.files[:number]:
            if path in self._small:
                return self._small[path]
            if path in self._unread:
                continue
            try:
                small = self._read(path)
            except PictureError as error:
                self._unread.add(path)
                self.notes.append(f"left out: {error}")
                continue
            if small.numel() <= self._room:
                self._room -= small.numel()
                self._small[path] = small
            return small
        raise PictureError(f"no photo under {self.folder} can be read: name a folder that has some")

    def _read(self, path: Path) -> Tensor:
        picture = images.read(path, need=images.Need(self.side, short=self.side))
        width, height = picture.size
        scale = self.side / min(width, height)
        if scale < 1:
            picture = picture.resized(round(width * scale), round(height * scale))
        return (picture.pixels * 255).round().to(torch.uint8)
