"""`impasto weights`: the networks' files, listed, checked and fetched."""

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from impasto.cli.help import HELP_FLAGS
from impasto.errors import WeightsError

app = cyclopts.App(
    name="weights",
    help="List, verify and download the networks' weights.",
    help_flags=HELP_FLAGS,
)


@app.command(name="list")
def list_() -> None:
    """List all weights: whether they ship, where they are, and their license."""
    from impasto import weights

    for name, entry in weights.CATALOGUE.items():
        where = weights.path(name)
        if entry.ships:
            state = "ships with impasto"
        elif where.is_file():
            state = f"downloaded, {where}"
        else:
            state = f"`impasto weights get {name}` downloads {entry.download_bytes / 1e6:.0f} MB"
        print(f"{name}: {entry.summary}\n    {state}; {entry.license}")


@app.command
def verify() -> None:
    """Compare the SHA-256 of every file that is here with the recorded one."""
    from impasto import weights

    damaged = []
    for name in weights.CATALOGUE:
        state = weights.verify(name)
        print(f"{name}: {state}")
        if state == "damaged" or (state == "absent" and weights.entry(name).ships):
            damaged.append(name)
    if damaged:
        raise WeightsError(
            f"{', '.join(damaged)} not as recorded: reinstall impasto, or delete the file and "
            "`impasto weights get` it again"
        )


@app.command
def get(name: str, /, *, quiet: Annotated[bool, Parameter(alias="-q")] = False) -> None:
    """Download weights, check them and keep them in the user's cache.

    Parameters
    ----------
    name
        One that `impasto weights list` shows.
    quiet
        Show no progress.
    """
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from impasto import weights

    weights.entry(name)  # raises before there is a bar
    console = Console(stderr=True, quiet=quiet)
    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(name, total=None)
        where = weights.get(name, lambda done, whole: bar.update(task, completed=done, total=whole))
    print(where)
