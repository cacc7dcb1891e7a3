"""`impasto studio`: a page on this machine where people paint."""

from typing import Annotated, Any

from cyclopts import Group, Parameter

from impasto.cli.edge import SIGNALS
from impasto.cli.options import GROUPS
from impasto.errors import SettingError

MACHINE = GROUPS["Machine"]
DOORS = Group.create_ordered("Who may come in")
LIMITS = Group.create_ordered("Limits")


def studio(
    *,
    host: Annotated[str, Parameter(group=DOORS)] = "127.0.0.1",
    port: Annotated[int | None, Parameter(group=DOORS)] = None,
    auth: Annotated[str | None, Parameter(group=DOORS)] = None,
    open: Annotated[bool, Parameter(group=DOORS)] = False,
    browser: Annotated[bool, Parameter(group=DOORS)] = True,
    max_upload: Annotated[int, Parameter(group=LIMITS)] = 64,
    max_pixels: Annotated[int, Parameter(group=LIMITS)] = 100,
    max_size: Annotated[int, Parameter(group=LIMITS)] = 2048,
    hours: Annotated[float, Parameter(group=LIMITS)] = 1.0,
    device: Annotated[str, Parameter(group=MACHINE)] = "auto",
    threads: Annotated[int, Parameter(group=MACHINE)] = 0,
    memory_limit: Annotated[str | None, Parameter(group=MACHINE)] = None,
) -> int:
    """Open a page in the browser where people paint: drop a photo, choose a painting.

    Nothing leaves this machine, and nobody else can come in unless --host lets them. Ctrl-C closes
    the studio.

    Parameters
    ----------
    host
        The address to listen at: 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in.
    port
        The port to listen at; the first that is free from 7860 on if none is given.
    auth
        Who may come in, as USER:PASSWORD, or a file with one such line for each user.
    open
        Let everybody in who can reach the host.
    browser
        Show the page in the browser.
    max_upload
        Most megabytes of a file that a visitor hands in.
    max_pixels
        Most pixels of a photo or painting, in millions.
    max_size
        Long side of the largest picture that a visitor may paint, px.
    hours
        How long a visitor's files stay after the last click; they go at once with the tab.
    device
        Where to compute: auto, cpu, cuda, cuda:1, mps.
    threads
        CPU threads; 0 takes one for each core.
    memory_limit
        Most memory that painting may take, such as 3G; most of what is free if none is given.
    """
    from impasto.cli.outputs import say
    from impasto.settings import settings_for
    from impasto.studio import Limits, Options, serve

    given = {"max-upload": max_upload, "max-pixels": max_pixels, "max-size": max_size}
    for name, value in (given | {"hours": hours}).items():
        if not value > 0:
            raise SettingError(f"--{name} is {value}: it must be above 0")
    settings: dict[str, Any] = {"device": device, "threads": threads, "memory_limit": memory_limit}
    settings_for(**settings)
    limits = Limits(max_upload * 1_000_000, max_pixels * 1_000_000, max_size)
    try:
        serve(
            Options(host, port, auth, open, limits, hours, browser, settings),
            lambda words: say(False, words),
        )
    except KeyboardInterrupt as error:
        say(False, "the studio is closed")
        return SIGNALS.hold(error)
    return 0
