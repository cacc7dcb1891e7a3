"""Many pictures: every photo times every style, by as many processes as the machine has room for.

The manifest in the output folder has a row for each picture, written by this process alone: what is
there, of the same photo, painting and settings, is not painted again.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from impasto import machine
from impasto.batch import pool, storage
from impasto.batch.inputs import Unread
from impasto.batch.journal import Journal
from impasto.batch.painter import Orders, Painter, run_of
from impasto.batch.plan import NAME, Batch, Item, Masks, plan_batch
from impasto.batch.pool import Begun, Done, Failed, LocalPool, Make, Pool, Tick
from impasto.errors import PictureError, SettingError
from impasto.machine import memory
from impasto.painting import Shared
from impasto.reports.manifest import Row
from impasto.settings import Settings, changed, settings_for

LEAST_ROOM = 1_500_000_000  # bytes of a process: what does not fit with so many is painted by fewer
SHARE = 0.85  # of the free memory, for all processes together


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
    left = remaining(batch, force)
    return (e for e in paint(left, pool_for(left, workers, ray)) if isinstance(e, dict))


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


def paint(left: Remaining, members: Pool) -> Generator[Row | Tick]:
    """Paint what is left; yield a row for each picture, and now and then how far all are.

    What was asked for and cannot be read has a row with an `error`, too.
    """
    batch, journal = left.batch, Journal(left.batch.output)
    journal.begin(left.rows)
    for unread in batch.unread:
        yield _row_of_unread(unread)
    for event in pool.work_off(members, left.items):
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


def estimate(left: Remaining, workers: int | None = None) -> tuple[float, int, int]:
    """Seconds of all that is left, bytes of each process, and how many there are; from a few
    evaluations of the first photo that can be read."""
    settings, members = _orders(left, workers)[0].settings, len(_orders(left, workers))
    for item in left.items:
        try:
            run = run_of(item, settings, Shared())
            seconds, size = run.estimate()
        except PictureError:
            continue
        return seconds * len(left.items) / members, size, members
    return 0.0, 0, members


def pool_for(left: Remaining, workers: int | None = None, ray: str | None = None) -> Pool:
    """The processes that paint it: here, or where Ray is. SettingError for a number or an address
    that cannot be."""
    if ray is None:
        all_orders = _orders(left, workers)
        makes = [partial(Painter, orders) for orders in all_orders]
        return LocalPool(makes, all_orders[0].settings.threads)
    from impasto.batch.on_ray import RayPool

    _check_workers(workers)
    batch, settings = left.batch, left.batch.settings
    threads = settings.threads or 1

    def tools(sharers: int) -> Make:
        own = changed(settings, threads=threads)
        orders = Orders(own, batch.output, batch.bits, batch.keep_gps, SHARE / sharers)
        return partial(Painter, orders)

    most = min(max(1, len(left.items)), workers or len(left.items) or 1)
    return RayPool(tools, ray, threads, most, gpus=settings.device != "cpu")


def _check_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise SettingError(f"workers is {workers}: it must be at least 1")


def _orders(left: Remaining, workers: int | None) -> list[Orders]:
    """What each process of this machine paints with."""
    _check_workers(workers)
    settings, count = left.batch.settings, max(1, len(left.items))
    devices = devices_of(settings)
    cores = machine.cores()
    on_cpu = machine.choose_device(devices[0]).type == "cpu"
    if workers is None:
        room = int(memory.available(machine.choose_device("cpu")) * SHARE // LEAST_ROOM)
        workers = max(1, min(cores, room)) if on_cpu else len(devices)
    workers = min(workers, count)
    threads = settings.threads or max(1, cores // workers)
    per_device = workers if on_cpu else -(-workers // len(devices))
    batch = left.batch
    return [
        Orders(
            changed(settings, threads=threads, device=devices[member % len(devices)]),
            batch.output, batch.bits, batch.keep_gps, SHARE / per_device,
        )
        for member in range(workers)
    ]  # fmt: skip


def devices_of(settings: Settings) -> list[str]:
    """The devices that a batch is spread over: every card where there are any."""
    chosen = machine.choose_device(settings.device)
    if settings.device in ("auto", "cuda") and chosen.type == "cuda":
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [settings.device]


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


def _row_of_unread(unread: Unread) -> Row:
    return {"output": "", "input": unread.source, "style": None, "error": unread.error}


def _several(names: Any) -> list[Any]:
    return [names] if isinstance(names, str | os.PathLike) else list(names)
