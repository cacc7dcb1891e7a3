"""The command `impasto`. Only this package and the web page print, and know exit statuses.

0 done; 1 partly done (the run diverged, its last good picture is saved); 2 refused, one line on
stderr says why and what to do; 130 stopped with Ctrl-C, the picture so far is saved.
"""

import os
import sys
from collections.abc import Sequence

import cyclopts

from impasto import __version__
from impasto.cli import (
    augment,
    classify,
    doctor,
    evaluate,
    export,
    recipes,
    study,
    styles,
    stylize,
    train,
    video,
    weights,
)
from impasto.errors import DivergedError, ImpastoError

app = cyclopts.App(
    name="impasto",
    help="Repaint a photo in the style of a painting.\n\nTry: impasto stylize photo.jpg great-wave",
    version=__version__,
    help_flags=["--help", "-h"],
    suppress_keyboard_interrupt=False,  # `main` says what became of the picture
)
app.command(stylize.stylize)
app.command(video.video)
app.command(recipes.texture)
app.command(recipes.rerun)
app.command(recipes.info)
app.command(study.app)
app.command(evaluate.evaluate)
app.command(classify.classify)
app.command(augment.augment)
app.command(train.train)
app.command(export.export)
app.command(styles.styles)
app.command(weights.app)
app.command(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    try:
        status = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        return int(status or 0)
    except cyclopts.UnusedCliTokensError as error:
        words = " ".join(error.unused_tokens or ())
        return refuse(f"there is nothing to do with {words!r}. {_see(arguments)}")
    except cyclopts.CycloptsError as error:
        return refuse(f"{one_line(error)} {_see(arguments)}")
    except DivergedError as error:
        return refuse(one_line(error), status=1)
    except ImpastoError as error:
        return refuse(one_line(error))
    except KeyboardInterrupt:
        return refuse("stopped before there was a picture", status=130)
    except BrokenPipeError:  # the reader of our output has gone: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return refuse("there is not enough memory for this picture: use a smaller --size")


def refuse(message: str, status: int = 2) -> int:
    """One line on stderr; the status to exit with."""
    print(f"impasto: {message}", file=sys.stderr)
    return status


def _see(arguments: Sequence[str] | None) -> str:
    """Which help to read: that of the command, if there is one."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = f"impasto {words[0]}" if words and words[0] in app else "impasto"
    return f"See `{command} --help`."


def one_line(error: Exception) -> str:
    """An error's text without line breaks."""
    return " ".join(str(error).split())


def run() -> None:
    """The console script."""
    raise SystemExit(main())
