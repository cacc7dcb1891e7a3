"""Many pictures: every photo times every style, by as many processes as the machine has room for.

The manifest in the output folder has a row for each picture, written by this process alone: what is
there, of the same photo, painting and settings, is not painted again.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from impasto.batch import pool, storage
from impasto.batch.journal import Journal
from impasto.batch.painter import Orders, Painter, run_of
from impasto.batch.plan import NAME, Batch, Item, Masks, plan_batch
from impasto.batch.pool import Begun, Done, Failed, Pool, Tick
from impasto.batch.workers import Workers
from impasto.errors import PictureError
from impasto.machine.tasks import Make
from impasto.painting import Loaded
from impasto.reports.manifest import Row
from impasto.settings import Settings, changed, settings_for


def stylize_all(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    styles: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    masks: Masks = Masks(),  # noqa: B008 - frozen
    name: str = NAME,
    bits: int = 8,
    keep_gps: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    force: bool = False,
    **changes: Any,
) -> Iterator[Row]:
    """Paint every photo in every style into a folder; yield a row of the manifest for each picture.

    inputs: photos, folders of photos, patterns such as "photos/**/*.jpg", addresses that fsspec
    knows ("s3://bucket/photos"). output: a folder or an address; `name` says what files in it are
    called. A row has `input`, `output`, `style`, `recipe` (a fingerprint of all that the picture
    depends on), `seconds`, `losses`, `sha256`; or `error`, and the others go on. Pictures that are
    there already, from the same files and settings, have no row. workers: how many processes; by
    default one for each core or card that memory allows. ray: "local", or the address of a Ray
    cluster. force: paint everything, and overwrite what is no picture of a batch.

    Scripts must call this under `if __name__ == "__main__":`, since processes are spawned. Raises
    ImpastoError, before anything is painted, for what cannot be done.
    """
    chosen = settings_for(**changes) if settings is None else changed(settings, **changes)
    batch = plan_batch(
        _several(inputs), _several(styles), output, chosen,
        masks=masks, name=name, bits=bits, keep_gps=keep_gps,
    )  # fmt: skip
    left, team = remaining(batch, force), Workers(chosen.device, chosen.threads, workers, ray)
    return (event for event in paint(left, pool_for(left, team)) if isinstance(event, dict))


@dataclass(frozen=True)
class Remaining:
    """What of a batch is to be painted, and what the manifest says of the rest."""

    batch: Batch
    items: tuple[Item, ...]
    recipes: dict[str, str]
    """By the name of the output."""
    done: int
    """How many pictures are there already."""
    rows: tuple[Row, ...]
    """The manifest so far."""


def remaining(batch: Batch, force: bool = False) -> Remaining:
    """What is missing or changed. PictureError for a file that is in the way, and no batch's."""
    journal = Journal(batch.output)
    rows = journal.rows()
    known = {row["output"]: row for row in rows}
    far = set(storage.files_under(batch.output)) if journal.is_far else None
    digests: dict[str, str | None] = {}
    recipes = {item.output: batch.recipe(item, digests) for item in batch.items}
    items = []
    for item in batch.items:
        row = known.get(item.output)
        taken = storage.exists(batch.target(item)) if far is None else item.output in far
        if row is None and taken and not force:
            raise PictureError(
                f"{batch.target(item)} exists, and no batch painted it: name another folder with "
                "-o, or overwrite with --force"
            )
        if force or not _is_there(batch, item, row, recipes[item.output], far):
            items.append(item)
    return Remaining(batch, tuple(items), recipes, len(batch.items) - len(items), tuple(rows))


def paint(left: Remaining, workers: Pool) -> Generator[Row | Tick]:
    """Paint what is left; yield a row for each picture, and now and then how far all are.

    What was asked for and cannot be read has a row with an `error`, too.
    """
    journal = Journal(left.batch.output)
    journal.begin(left.rows)
    try:
        yield from _painted(left, workers, journal)
    finally:
        journal.close()


def _painted(left: Remaining, workers: Pool, journal: Journal) -> Iterator[Row | Tick]:
    for unread in left.batch.unread:
        row: Row = {"output": None, "input": unread.source, "style": None, "error": unread.error}
        journal.add([row])
        yield row
    for event in pool.work_off(workers, left.items):
        match event:
            case Begun(item):
                journal.add([_row(item, left, {"begun": True})])
            case Done(item, found):
                row = _row(item, left, found)
                journal.add([row])
                yield row
            case Failed(item, error):
                row = _row(item, left, {"error": error})
                journal.add([row])
                yield row
            case Tick():
                yield event


def estimate(left: Remaining, team: Workers) -> tuple[float, int, int]:
    """Seconds of all that is left, bytes of each process, and how many there are; from a few
    evaluations of the first photo that can be read."""
    workers, threads = team.size(len(left.items))
    settings = changed(left.batch.settings, threads=threads, device=team.device_of_each)
    for item in left.items:
        try:
            run = run_of(item, settings, Loaded())
            seconds, size = run.estimate()
        except PictureError:
            continue
        return seconds * len(left.items) / workers, size, workers
    return 0.0, 0, workers


def pool_for(left: Remaining, team: Workers) -> Pool:
    """The processes that paint it. SettingError for a cluster that is not reached."""
    batch = left.batch

    def tools(threads: int) -> Make[Item, Row]:
        settings = changed(batch.settings, threads=threads, device=team.device_of_each)
        return partial(Painter, Orders(settings, batch.output, batch.bits, batch.keep_gps))

    return team.pool(tools, len(left.items))


def _is_there(batch: Batch, item: Item, row: Row | None, recipe: str, far: set[str] | None) -> bool:
    """Whether a picture is as the manifest says, and as it would be painted. Of one at an address
    only its name is looked at: `far` are all that are there."""
    if row is None or "sha256" not in row or row.get("recipe") != recipe:
        return False
    if far is not None:
        return item.output in far
    return bool(storage.digest(batch.target(item)) == row["sha256"])


def _row(item: Item, left: Remaining, found: Row) -> Row:
    about = {"output": item.output, "input": item.source, "style": item.style}
    return about | {"recipe": left.recipes[item.output]} | found


def _several(names: Any) -> list[Any]:
    return [names] if isinstance(names, str | os.PathLike) else list(names)
