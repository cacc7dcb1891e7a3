"""`impasto batch`: every photo times every style, by all cores or cards."""

import json as json_format
import time
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from impasto.cli.edge import SIGNALS
from impasto.cli.options import GROUPS, options_of, settings_from
from impasto.cli.outputs import OUTPUT, say
from impasto.cli.progress import Progress
from impasto.cli.regions import MASKS, regions, several
from impasto.errors import SettingError
from impasto.reports.words import duration, printable
from impasto.settings import Settings

if TYPE_CHECKING:
    from impasto.batch import Workers
    from impasto.batch.api import Remaining
    from impasto.reports.manifest import Row

MACHINE = GROUPS["Machine"]
BatchOptions: Any = options_of(
    "BatchOptions", (item for item in fields(Settings) if item.name != "style_weights")
)
"""The options of `impasto stylize` but for the shares of paintings: each photo has one here."""
SHOWN = 20  # names that a dry run lists
Switch = Parameter(group=OUTPUT, show_default=False)


def batch(
    *photos: str,
    output: Annotated[str, Parameter(alias="-o", group=OUTPUT)],
    styles: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative="", group=GROUPS["Style"])
    ] = None,
    name: Annotated[str, Parameter(group=OUTPUT)] = "{stem}-{style}.png",
    mask: Annotated[str | None, Parameter(group=MASKS)] = None,
    keep: Annotated[str | None, Parameter(group=MASKS)] = None,
    region: Annotated[tuple[str, ...], several(MASKS)] = (),
    style_mask: Annotated[tuple[str, ...], several(MASKS)] = (),
    workers: Annotated[int | None, Parameter(group=MACHINE)] = None,
    ray: Annotated[str | None, Parameter(group=MACHINE)] = None,
    dry_run: Annotated[bool, Switch] = False,
    force: Annotated[bool, Switch] = False,
    bits: Annotated[Literal[8, 16], Parameter(group=OUTPUT)] = 8,
    keep_gps: Annotated[bool, Switch] = False,
    json: Annotated[bool, Switch] = False,
    quiet: Annotated[bool, Parameter(alias="-q", group=OUTPUT, show_default=False)] = False,
    options: Annotated[BatchOptions | None, Parameter(name="*")] = None,
) -> int:
    """Repaint every photo in every style, by all cores or cards.

    OUTPUT/manifest.jsonl has a line for each picture. The same words again paint what is missing,
    or changed since. The exit status is 1 where some photos could not be painted; each has its
    line. docs/guide/batch.md tells more.

    Parameters
    ----------
    photos
        Photos, folders (with all that lies below them), patterns such as 'photos/**/*.jpg', or
        addresses such as s3://bucket/photos.
    output
        The folder to write, or an address. Folders below the photos' are kept.
    styles
        The paintings, with commas or spaces between them: names that `impasto styles` lists,
        files, or folders of files. Each photo is painted in each.
    name
        What the pictures are called: {stem} is the photo's name, {suffix} its ending, {folder} the
        folder it lies in, {style} the painting. The ending says how they are written.
    mask
        Where to paint: face, person or background, found in each photo; or the files of the photos'
        masks, such as 'masks/{stem}.png'.
    keep
        Where to paint softly, as --keep-strength says: a word, or files, as in --mask.
    region
        A part of each photo that takes a style of its own: NAME=MASK:STYLE, as in impasto stylize;
        MASK is a word, or files, as in --mask.
    style_mask
        Take the strokes from the white part of this mask of the painting; NAME=FILE for a region's.
    workers
        How many processes paint; one for each core or card that there is memory for if not given.
        --threads are those of each.
    ray
        Paint on a Ray cluster: its address, or local for one that is started here.
    dry_run
        Say what would be painted, and what it would take; paint nothing.
    force
        Paint everything anew, and overwrite what no batch painted.
    bits
        Bits a channel, 16 for PNG only.
    keep_gps
        Keep where the photos were taken; the rest of their EXIF is always kept.
    json
        Print one JSON object for each picture.
    quiet
        Say nothing but what could not be painted.
    """
    settings = settings_from(options)
    if not photos:
        raise SettingError("there is no photo: name photos, or folders of photos")

    from impasto.augmentation.transform import styles_of
    from impasto.batch import Masks, Workers, plan_batch, pool_for, remaining

    parts, main_mask = regions(region, style_mask)
    named = [one for text in styles or () for one in styles_of(text)]
    masks = Masks(mask, main_mask, keep, tuple(parts))
    plan = plan_batch(
        photos, named, output, settings, masks=masks, name=name, bits=bits, keep_gps=keep_gps
    )
    left, team = remaining(plan, force), Workers(settings.device, settings.threads, workers, ray)
    count = f"{len(left.items)} {'picture' if len(left.items) == 1 else 'pictures'}"
    there = f"; {left.done} are there already" if left.done else ""
    if dry_run:
        return _dry_run(left, team, count + there, json)
    pool = pool_for(left, team)
    say(quiet, f"painting {count}{there}")
    return _paint(left, pool, output, json, quiet)


def _paint(left: "Remaining", pool: Any, output: str, json: bool, quiet: bool) -> int:
    """Paint what is left, and say what came of it; the exit status."""
    from impasto.batch import paint
    from impasto.batch.pool import Tick

    began, counts, total = time.perf_counter(), Counter[str](), len(left.items)
    events = paint(left, pool)
    try:
        with Progress(quiet) as progress:
            for event in events:
                if isinstance(event, Tick):
                    done = counts["painted"] + counts["failed"] - counts["unread"]
                    share = (done + sum(event.shares)) / max(1, total)
                    each = ", ".join(f"{part:.0%}" for part in event.shares)
                    words = f"{done}/{total} pictures" + (f" ({each})" if each else "")
                    progress.update(words, share, ends=False)
                    continue
                counts["unread"] += not event["output"]
                counts["failed" if "error" in event else "painted"] += 1
                _say(event, json)
    except KeyboardInterrupt as error:
        events.close()
        status = SIGNALS.hold(error)
        say(False, f"stopped after {counts['painted']} of {total} pictures; the same words go on")
        return status
    if left.items:
        seconds = duration(time.perf_counter() - began)
        say(quiet, f"{counts['painted']} pictures are in {output} ({seconds})")
    if counts["failed"]:
        say(False, f"{counts['failed']} could not be painted; the same words try them again")
    return 1 if counts["failed"] else 0


def _say(row: "Row", json: bool) -> None:
    """One JSON object on stdout, and on stderr a line for what went wrong."""
    if json:
        print(json_format.dumps(row), flush=True)
    if "error" in row:
        say(False, f"impasto: {row['input']}: {row['error']}")
    for note in row.get("notes", ()):
        say(False, f"impasto: {row['output']}: {note}")


def _dry_run(left: "Remaining", team: "Workers", count: str, json: bool) -> int:
    """Say what would be painted, and what it would take."""
    from impasto.batch import estimate

    for unread in left.batch.unread:
        say(False, f"impasto: {unread.source}: {unread.error}")
    for number, item in enumerate(left.items):
        if json:
            about = {"output": item.output, "input": item.source, "style": item.style}
            print(json_format.dumps(about))
        elif number < SHOWN:
            print(printable(left.batch.target(item)))
    if not json and len(left.items) > SHOWN:
        print(f"and {len(left.items) - SHOWN} more")
    if not left.items:
        say(False, f"{count}: there is nothing to paint")
        return 0
    seconds, size, members = estimate(left, team)
    by = f"{members} processes" if members > 1 else "one process"
    say(False, f"{count}: about {duration(seconds)} by {by} of {size / 1e9:.1f} GB")
    return 0
