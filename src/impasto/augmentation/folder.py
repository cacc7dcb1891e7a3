"""A folder of pictures by class, as torchvision's ImageFolder reads it, and its stylized copy.

plan = plan_copy("photos", "stylized", copies=2)
for made in stylized(plan, StyleTransfer(["great-wave"], p=1.0, seed=0)):
    print(made)
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from impasto import fingerprint, images
from impasto.augmentation.manifest import TABLE, Entry, table
from impasto.augmentation.transform import Draw, StyleTransfer
from impasto.errors import PictureError, SettingError
from impasto.images import Picture
from impasto.images.files import expanded
from impasto.images.folder import pictures_in
from impasto.machine.tasks import Show, Spread, Work, one_by_one
from impasto.reports.manifest import NAME, Manifest, Row


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, and why."""

    source: str
    reason: str


Made = list[Entry | Skipped]
"""What became of one picture: the entries of its copies, or one Skipped."""


@dataclass(frozen=True)
class CopyPlan:
    """What is to be written where; everything was checked that can be beforehand."""

    folder: Path
    output: Path
    copies: int
    keep_originals: bool
    sources: tuple[Path, ...] = field(repr=False)
    """The pictures, relative to the folder, by name."""
    resume: bool

    def targets(self, source: Path) -> list[tuple[int, Path]]:
        """The number and name of each copy of a picture; 0 for the picture itself."""
        suffix = source.suffix if source.suffix.lower() in images.FORMATS else ".png"
        alone = self.copies == 1 and not self.keep_originals
        named = [
            (copy, source.with_name(f"{source.stem}{'' if alone else f'-style{copy}'}{suffix}"))
            for copy in range(1, self.copies + 1)
        ]
        return [(0, source), *named] if self.keep_originals else named


def plan_copy(
    folder: Path | str,
    output: Path | str,
    copies: int = 1,
    keep_originals: bool = False,
    resume: bool = False,
    force: bool = False,
) -> CopyPlan:
    """Check a stylized copy before anything is painted.

    copies: how many of each picture. resume: go on with a copy that was stopped; force: overwrite
    what is there. Raises SettingError or PictureError for what cannot be done.
    """
    folder, output = expanded(folder), expanded(output)
    if copies < 1:
        raise SettingError(f"copies is {copies}: it must be at least 1")
    if not folder.is_dir():
        raise PictureError(f"there is no folder {folder}: name one that has pictures")
    inside, outside = folder.resolve(), output.resolve()
    if outside.is_relative_to(inside) or inside.is_relative_to(outside):
        raise PictureError(f"{output} and {folder} lie in each other: name another with -o")
    if not output.is_dir():
        images.check_place(output)
    sources = tuple(pictures_in(folder, deep=True))
    if not sources:
        raise PictureError(f"{folder} has no pictures: name a folder that has some, by class")
    plan = CopyPlan(folder, output, copies, keep_originals, sources, resume)
    _check_names(plan)
    _check_output(plan, force)
    return plan


def stylized(
    plan: CopyPlan,
    transfer: StyleTransfer,
    device: torch.device | str = "cpu",
    spread: Spread = one_by_one,
) -> Iterator[Entry | Skipped]:
    """Write the copy, and yield each picture once it is there; at the end write the table.

    Copy k is what the transform, which must have a seed, makes of a picture in epoch k. `spread`
    says in which processes pictures are painted; the copy is the same in all. A picture that
    cannot be read is skipped. Raises PictureError, with whole pictures left behind, where one
    cannot be written.
    """
    if transfer.seed is None:
        raise SettingError("the transform has no seed: give it one, such as StyleTransfer(seed=0)")
    manifest = Manifest(plan.output / NAME, _facts(plan, transfer))
    known = manifest.rows() if plan.resume else []
    (plan.output / TABLE).unlink(missing_ok=True)
    manifest.begin(known)
    earlier = {row["output"]: entry for row in known if (entry := Entry.of(row)) is not None}
    found: dict[str, Made] = {}
    left = []
    for source in plan.sources:
        if whole := _still_there(plan, source, earlier):
            found[source.as_posix()] = whole
            yield from whole
        else:
            left.append(source)
    for made in spread(CopyPainter(plan, transfer, device), left):
        manifest.add(_rows(plan, made))
        found[made[0].source] = made
        yield from made
    ordered = [found[source.as_posix()] for source in plan.sources]
    manifest.begin(row for made in ordered for row in _rows(plan, made))
    entries = (one for made in ordered for one in made if isinstance(one, Entry))
    images.write_bytes(table(entries), plan.output / TABLE)


@dataclass(frozen=True, eq=False)
class CopyPainter:
    """Paints a copy's pictures in any process: a `machine.tasks.Make` whose tasks are sources.

    The call returns work(source, show), which writes all copies of a source of the plan and returns
    their entries, or the one Skipped of a source that cannot be read. Pickled, it holds 4 kB for
    each painting; the network is loaded at the first picture.
    """

    plan: CopyPlan
    transfer: StyleTransfer
    device: torch.device | str = "cpu"

    def __call__(self) -> Work[Path, Made]:
        """What paints, with a transform of its own: processes may share the epoch of one."""
        return replace(self, transfer=deepcopy(self.transfer)).made

    def made(self, source: Path, show: Show) -> Made:
        """Write all copies of one picture."""
        try:
            data = (self.plan.folder / source).read_bytes()
            picture = images.read(data, str(source))
        except (OSError, PictureError) as error:
            return [Skipped(source.as_posix(), str(error))]
        targets = self.plan.targets(source)
        pixels = (picture.pixels * 255).round().to(torch.uint8)
        draws = [_draw(self.transfer, pixels, copy) for copy, _ in targets]
        batch = pixels.expand(len(draws), -1, -1, -1).to(self.device)
        painted = self.transfer.paint(batch, draws).cpu()
        found: Made = []
        for (copy, name), draw, each in zip(targets, draws, painted, strict=True):
            if copy:
                result = Picture(each[None].float() / 255, picture.alpha)
                made = images.encode(result, images.FORMATS[name.suffix.lower()])
            else:
                made = data
            target = self.plan.output / name
            images.make_folder(target.parent)
            images.write_bytes(made, target)
            digests = fingerprint.sha256(data), fingerprint.sha256(made)
            found.append(_entry(source, name, copy, draw, self.transfer, digests))
            show(len(found) / len(targets))
        return found


def _draw(transfer: StyleTransfer, pixels: torch.Tensor, copy: int) -> Draw | None:
    """What becomes of a copy; an original is not painted."""
    if copy == 0:
        return None
    transfer.set_epoch(copy)
    return transfer.draw(pixels[0])


def _entry(
    source: Path,
    name: Path,
    copy: int,
    draw: Draw | None,
    transfer: StyleTransfer,
    digests: tuple[str, str],
) -> Entry:
    label = source.parts[0] if len(source.parts) > 1 else ""
    style, share, strength = "", 0.0, 0.0
    if draw is not None:
        mixed = [draw.style, draw.second] if draw.share else [draw.style]
        style = "+".join(transfer.names[number] for number in mixed)
        share, strength = round(draw.share, 6), round(draw.strength, 6)
    assert transfer.seed is not None
    return Entry(
        source.as_posix(), name.as_posix(), label, copy, style, share, strength,
        transfer.seed, *digests,
    )  # fmt: skip


def _check_names(plan: CopyPlan) -> None:
    """PictureError if two pictures would have the same name, or one a name that is too long."""
    taken: dict[Path, Path] = {}
    for source in plan.sources:
        for _, name in plan.targets(source):
            images.check_name(name.name)
            if name in taken:
                raise PictureError(
                    f"{taken[name]} and {source} would both be written to {name}: rename one"
                )
            taken[name] = source


def _check_output(plan: CopyPlan, force: bool) -> None:
    """PictureError if something is there that is neither to be overwritten nor gone on with."""
    if plan.output.exists() and not plan.output.is_dir():
        raise PictureError(f"{plan.output} is a file: name a folder with -o")
    if plan.resume and force:
        raise SettingError("--resume keeps what is there and --force overwrites it: choose one")
    if not plan.output.is_dir() or not any(plan.output.iterdir()):
        return
    begun = (plan.output / NAME).is_file()
    if plan.resume and not begun:
        raise PictureError(f"{plan.output} holds no copy to go on with: name another with -o")
    if not plan.resume and not force:
        remedy = "go on with --resume, overwrite" if begun else "name another with -o, or overwrite"
        raise PictureError(f"{plan.output} is not empty: {remedy} with --force")


def _facts(plan: CopyPlan, transfer: StyleTransfer) -> dict[str, Any]:
    """What a copy depends on: the first line of the manifest."""
    return {
        "of": "augment",
        "folder": plan.folder.resolve().name,
        "styles": list(transfer.names),
        "styles_sha256": fingerprint.short(transfer.mean),
        "p": transfer.p,
        "strength": list(transfer.strength),
        "size": transfer.size,
        "mix": transfer.mix,
        "seed": transfer.seed,
        "precision": transfer.precision,
        "copies": plan.copies,
        "keep_originals": plan.keep_originals,
    }


def _rows(plan: CopyPlan, made: Made) -> list[Row]:
    """What the manifest says of a picture: a row for each copy, or for each that could not be."""
    rows = []
    for one in made:
        if isinstance(one, Entry):
            rows.append(one.row())
        else:
            names = [name.as_posix() for _, name in plan.targets(Path(one.source))]
            rows += [{"source": one.source, "output": n, "error": one.reason} for n in names]
    return rows


def _still_there(plan: CopyPlan, source: Path, earlier: Mapping[str, Entry]) -> Made:
    """The entries of a picture that is as it was, as all its copies are; or none."""
    found: Made = []
    for _, name in plan.targets(source):
        entry = earlier.get(name.as_posix())
        if (
            entry is None
            or entry.source != source.as_posix()
            or not _is_whole(plan.folder / source, entry.source_sha256)
            or not _is_whole(plan.output / name, entry.sha256)
        ):
            return []
        found.append(entry)
    return found


def _is_whole(file: Path, digest: str) -> bool:
    try:
        return fingerprint.of_file(file) == digest
    except OSError:
        return False
