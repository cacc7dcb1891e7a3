"""The command `impasto`. Only this package and the web page print, and know exit statuses.

0 done; 1 partly done: the picture is saved, but the run diverged, or something that goes with the
picture could not be written; 2 refused; one line on stderr says why and what to do. 130, 143, 129:
stopped with Ctrl-C, SIGTERM, SIGHUP; the picture so far is saved.
"""

import signal
import sys
from collections.abc import Sequence

import cyclopts

from impasto.cli import edge, words
from impasto.cli.commands import (
    augment,
    batch,
    classify,
    doctor,
    evaluate,
    export,
    mask,
    mix,
    rerun,
    studio,
    study,
    styles,
    stylize,
    texture,
    train,
    video,
    weights,
)
from impasto.cli.help import HELP_ALL, HELP_FLAGS, HELPER
from impasto.errors import DivergedError
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
app.command(batch.batch)
app.command(video.video)
app.command(texture.texture)
app.command(mask.mask)
app.command(mix.mix)
app.command(rerun.rerun)
app.command(rerun.info)
app.command(study.app)
app.command(studio.studio)
app.command(evaluate.evaluate)
app.command(classify.classify)
app.command(augment.augment)
app.command(train.train)
app.command(export.export)
app.command(styles.app)
app.command(weights.app)
app.command(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with edge.guarded():
        try:
            status = _run(words.as_meant(app, given))
            sys.stdout.flush()  # here, where an error can still be said
            return status
        except cyclopts.CycloptsError as error:
            return edge.refuse(words.advice(app, given, error))
        except (DivergedError, edge.StdoutError) as error:
            return edge.refuse(edge.one_line(error), status=1)
        except KeyboardInterrupt as error:
            what = str(error) or "stopped before there was a picture"
            return edge.refuse(what, status=edge.SIGNALS.hold(error))
        except Exception as error:
            return edge.refuse(edge.one_line(error))


def _run(given: Sequence[str]) -> int:
    """Run the words, and say below a short help that there is a longer one."""
    if not given:
        print(words.FIRST, end="")
        return 0
    HELPER.begin(everything=HELP_ALL in given)
    status = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    if HELPER.hidden:
        command = " ".join(["impasto", *(word for word in given if not word.startswith("-"))])
        print(f"{HELPER.hidden} more options: {command} {HELP_ALL}")
    return int(status or 0)


def run() -> None:
    """The console script."""
    words.print_any_name()
    status = main()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own end is no place for a traceback
    raise SystemExit(status)
