"""`impasto augment`: a stylised copy of a folder of training pictures."""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.imagefolder import Entry, Skipped

SECONDS_BETWEEN_LINES = 5.0

Item = TypeVar("Item")


def augment(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    styles: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    copies: int = 1,
    p: float = 1.0,
    strength: str = "0.2,0.8",
    mix: Annotated[bool, Parameter(negative="")] = False,
    size: int | None = None,
    seed: int = 0,
    keep_originals: Annotated[bool, Parameter(negative="")] = False,
    device: str = "auto",
    resume: Annotated[bool, Parameter(negative="")] = False,
    force: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
) -> int:
    """Write a stylised copy of a folder of training pictures, class by class.

    The folder is one of pictures by class, as torchvision's ImageFolder reads it; the copy has the
    same folders and names, and a manifest. The same seed writes the same copy. docs/augment.md
    tells more, and of `impasto.augment.StyleTransfer`, which does this while a network is trained.

    Parameters
    ----------
    folder
        The folder: a folder for each class, pictures in them.
    output
        The folder to write: pictures, manifest.csv and manifest.jsonl.
    styles
        The paintings, with commas or spaces between them: names of built-in ones, files, or folders
        of files. All built-in ones if not given.
    copies
        How many of each picture; more than one are called NAME-style1, NAME-style2, ...
    p
        The probability that a copy is painted.
    strength
        The range from which each copy's strength is drawn, or one number: 0 is the picture, 1 all
        painting.
    mix
        Paint each copy with two paintings, in shares drawn evenly.
    size
        The short side that pictures are painted at, px, before they go back to their own size;
        their own if not given, but at least 96.
    seed
        Seed of everything random: copy k is what StyleTransfer(seed=SEED) makes in epoch k.
    keep_originals
        Copy the pictures themselves, too, byte for byte.
    device
        Where to compute: auto, cpu, cuda, cuda:1, mps.
    resume
        Go on with a copy that was stopped, with the same options; what is there is kept.
    force
        Overwrite what is there.
    json
        Print one JSON object for each picture written.
    quiet
        Say nothing but what was skipped.
    """
    from impasto import imagefolder
    from impasto.augment import StyleTransfer, styles_of
    from impasto.device import choose_device

    began = time.perf_counter()
    plan = imagefolder.plan_copy(folder, output, copies, keep_originals, resume, force)
    chosen = choose_device(device)
    named = None if styles is None else [name for text in styles for name in styles_of(text)]
    transfer = StyleTransfer(named, p, range_of(strength), size=size, mix=mix, seed=seed)
    total = sum(len(plan.targets(source)) for source in plan.sources)
    made = _reported(imagefolder.stylized(plan, transfer, chosen), total, quiet)
    counts = {"written": 0, "skipped": 0}
    try:
        for one in made:
            _say(one, json)
            counts["written" if isinstance(one, imagefolder.Entry) else "skipped"] += 1
    except KeyboardInterrupt:
        print(f"stopped after {counts['written']} of {total} pictures; go on with the same words "
              "and --resume", file=sys.stderr)  # fmt: skip
        return 130
    if not quiet:
        seconds = time.perf_counter() - began
        print(f"{counts['written']} pictures and {imagefolder.TABLE} are in {output} "
              f"({seconds:.0f} s)", file=sys.stderr)  # fmt: skip
    if counts["skipped"]:
        print(f"{counts['skipped']} pictures could not be read and are left out", file=sys.stderr)
    return 1 if counts["skipped"] else 0


def range_of(text: str) -> tuple[float, float]:
    """The range that a text such as 0.2,0.8 or 0.5 names. SettingError if it is none."""
    try:
        numbers = [float(part) for part in text.split(",")]
        low, high = numbers if len(numbers) > 1 else numbers * 2
    except ValueError:
        raise SettingError(
            f"strength is {text!r}: give two numbers of 0 to 1, such as 0.2,0.8, or one"
        ) from None
    return low, high


def _say(one: "Entry | Skipped", json: bool) -> None:
    """One JSON object for a picture that was written, one line on stderr for one that was not."""
    from impasto.imagefolder import Skipped

    if isinstance(one, Skipped):
        print(f"impasto: skipped {' '.join(one.reason.split())}", file=sys.stderr)
    elif json:
        import json as json_format

        print(json_format.dumps(one.row()), flush=True)


def _reported(items: Iterable[Item], total: int, quiet: bool) -> Iterator[Item]:
    """The items, with a bar on a terminal as they come, or a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    if console.is_terminal and not quiet:
        columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bar:
            yield from bar.track(items, total=total)
        return
    last = time.perf_counter()
    for number, item in enumerate(items, 1):
        yield item
        if time.perf_counter() - last >= SECONDS_BETWEEN_LINES:
            last = time.perf_counter()
            console.print(f"{number}/{total} pictures")
