"""The command `impasto`. Only this package and the web page print, and know exit statuses.

0 done; 1 partly done (the run diverged, its last good picture is saved); 2 refused, one line on
stderr says why and what to do; 130 stopped with Ctrl-C, the picture so far is saved.
"""

import os
import sys
from collections.abc import Sequence

import cyclopts

from impasto.cli import words
from impasto.cli.commands import (
    augment,
    classify,
    doctor,
    evaluate,
    export,
    rerun,
    study,
    styles,
    stylize,
    texture,
    train,
    video,
    weights,
)
from impasto.cli.help import HELP_ALL, HELP_FLAGS, HELPER
from impasto.errors import DivergedError, ImpastoError
from impasto.version import __version__

app = cyclopts.App(
    name="impasto",
    help=f"Repaint a photo in the style of a painting.\n\nTry: {words.EXAMPLE}",
    version=__version__,
    help_flags=HELP_FLAGS,
    help_formatter=HELPER,
    suppress_keyboard_interrupt=False,  # `main` says what became of the picture
)
app.command(stylize.stylize)
app.command(video.video)
app.command(texture.texture)
app.command(rerun.rerun)
app.command(rerun.info)
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
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        print(words.FIRST, end="")
        return 0
    try:
        return _run(words.with_switch_values(app, given))
    except cyclopts.CycloptsError as error:
        return refuse(words.advice(app, given, error))
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


def _run(given: Sequence[str]) -> int:
    """Run the words, and say below a short help that there is a longer one."""
    HELPER.begin(everything=HELP_ALL in given)
    status = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    if HELPER.hidden:
        command = " ".join(["impasto", *(word for word in given if not word.startswith("-"))])
        print(f"{HELPER.hidden} more options: {command} {HELP_ALL}")
    return int(status or 0)


def refuse(message: str, status: int = 2) -> int:
    """One line on stderr; the status to exit with."""
    print(f"impasto: {message}", file=sys.stderr)
    return status


def one_line(error: Exception) -> str:
    """An error's text without line breaks."""
    return " ".join(str(error).split())


def run() -> None:
    """The console script."""
    words.print_any_name()
    raise SystemExit(main())
