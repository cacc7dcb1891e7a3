"""`impasto augment`: a stylized copy of a folder of training pictures."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from impasto.cli.edge import SIGNALS
from impasto.cli.outputs import say
from impasto.errors import SettingError

if TYPE_CHECKING:
    from impasto.augmentation.folder import Skipped
    from impasto.augmentation.manifest import Entry


def augment(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    styles: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    copies: int = 1,
    p: float = 1.0,
    strength: str = "0.2,0.8",
    mix: bool = False,
    size: int | None = None,
    seed: int = 0,
    keep_originals: bool = False,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    resume: bool = False,
    force: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Write a stylized copy of a folder of training pictures, class by class.

    The folder is one of pictures by class, as torchvision's ImageFolder reads it; the copy has the
    same folders and names, and a manifest. The same seed writes the same copy.
    docs/guide/augment.md tells more, and of `impasto.StyleTransfer`, which does this in training.

    Parameters
    ----------
    folder
        The folder: a folder for each class, pictures in them.
    output
        The folder to write: pictures, manifest.csv and manifest.jsonl.
    styles
        The paintings, with commas or spaces between them: names that `impasto styles` lists,
        files, or folders of files. All that ship if not given.
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
    workers
        How many processes paint, each with its share of the cores, or a card: the copy is the same.
    ray
        Paint on a Ray cluster: its address, or local for one that is started here.
    resume
        Go on with a copy that was stopped, with the same options; what is there is kept.
    force
        Overwrite what is there.
    json
        Print one JSON object for each picture written.
    quiet
        Say nothing but what was skipped.
    """
    from impasto.augmentation.folder import plan_copy, stylized
    from impasto.augmentation.manifest import TABLE, Entry
    from impasto.augmentation.transform import StyleTransfer, styles_of
    from impasto.batch import Workers
    from impasto.cli.progress import Progress
    from impasto.machine.device import choose_device
    from impasto.machine.tasks import one_by_one

    began = time.perf_counter()
    plan = plan_copy(folder, output, copies, keep_originals, resume, force)
    team = Workers(device, count=None if ray and workers == 1 else workers, ray=ray)
    chosen = choose_device(team.device_of_each)
    named = None if styles is None else [name for text in styles for name in styles_of(text)]
    transfer = StyleTransfer(named, p, range_of(strength), size=size, mix=mix, seed=seed)
    total = sum(len(plan.targets(source)) for source in plan.sources)
    counts = {"written": 0, "skipped": 0}
    try:
        with Progress(quiet) as progress:
            spread = one_by_one if ray is None and workers == 1 else team.spread
            made = stylized(plan, transfer, chosen, spread)
            for one in progress.track(made, total, "pictures"):
                _say(one, json)
                counts["written" if isinstance(one, Entry) else "skipped"] += 1
    except KeyboardInterrupt as error:
        status = SIGNALS.hold(error)
        done = f"stopped after {counts['written']} of {total} pictures"
        say(False, f"{done}; go on with the same words and --resume")
        return status
    seconds = time.perf_counter() - began
    say(quiet, f"{counts['written']} pictures and {TABLE} are in {output} ({seconds:.0f} s)")
    if counts["skipped"]:
        say(False, f"{counts['skipped']} pictures could not be read and are left out")
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
    from impasto.augmentation.folder import Skipped

    if isinstance(one, Skipped):
        print(f"impasto: skipped {' '.join(one.reason.split())}", file=sys.stderr)
    elif json:
        import json as json_format

        print(json_format.dumps(one.row()), flush=True)
