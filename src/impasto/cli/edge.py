"""Where the command meets its user: streams that fail, signals, warnings, and any error in a line.

Whatever happens, the user gets a line that says what to do; the traceback is shown where the
environment has IMPASTO_TRACEBACK.
"""

import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self, TextIO

from impasto.errors import ImpastoError, LeftOutWarning
from impasto.reports.words import printable

TRACEBACK = "IMPASTO_TRACEBACK"
STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
CLOSED = (
    ("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY),
)  # fmt: skip
"""How each standard stream is opened where it is closed."""
MANY = 10  # signals while something is saved: they are meant, as where a pipe has no reader


class StdoutError(ImpastoError):
    """Stdout takes no more: the disk is full, or its reader has gone."""


class Stopped(KeyboardInterrupt):
    """A signal asks the run to stop. `status` is what the command exits with, and its text, if it
    has one, what it says."""

    def __init__(self, status: int, words: str = "") -> None:
        super().__init__(words)
        self.status = status


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP raise Stopped while this context lasts, until `hold`.

    What was ignored before, as SIGHUP is under nohup, stays ignored.
    """

    def __enter__(self) -> Self:
        self.held, self.came, self.before = False, 0, dict[int, Any]()
        usual = (signal.SIG_DFL, signal.default_int_handler)
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, (getattr(signal, name, None) for name in STOPPING)):
                if signal.getsignal(number) in usual:
                    self.before[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hold(self, error: KeyboardInterrupt | None = None) -> int:
        """Ignore signals from now on: what was made is being saved. The status that `error` asks
        for."""
        self.held = True
        return error.status if isinstance(error, Stopped) else 130

    def _answer(self, number: int, _: FrameType | None) -> None:
        self.came += self.held
        if not self.held or self.came > MANY:
            raise Stopped(128 + number)


SIGNALS = Signals()


class _Stream:
    """Stdout or stderr. An error of stdout is a StdoutError; one of stderr is passed over, since a
    picture is worth more than what is said of it."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name

    def write(self, data: Any) -> int:
        with self._errors():
            try:
                self._stream.write(data)
            except UnicodeEncodeError:  # a name has letters that it cannot show
                encoding = self._stream.encoding
                self._stream.write(data.encode(encoding, "backslashreplace").decode(encoding))
        return len(data)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    @property
    def buffer(self) -> "_Stream":
        return _Stream(self._stream.buffer, self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Python would try again at its end, and complain: what is left goes nowhere.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self._name == "stdout":
                why = (
                    "its reader has gone" if isinstance(error, BrokenPipeError) else error.strerror
                )
                raise StdoutError(f"stdout takes no more ({why}): write to a file") from error


@contextmanager
def guarded() -> Iterator[None]:
    """Streams, signals and warnings as the command wants them, and as they were afterwards."""
    _open_closed()
    out, err = sys.stdout, sys.stderr
    last = logging.lastResort  # where libraries log to, if nobody has said where else
    streams: Any = _Stream(out, "stdout"), _Stream(err, "stderr")
    with SIGNALS, warnings.catch_warnings():
        warnings.simplefilter("always", LeftOutWarning)
        warnings.showwarning = _show_warning
        sys.stdout, sys.stderr = streams
        logging.lastResort = logging.NullHandler()
        try:
            yield
        finally:
            with suppress(StdoutError):
                sys.stdout.flush()
            sys.stdout, sys.stderr, logging.lastResort = out, err, last


def _open_closed() -> None:
    """Open the standard streams that are closed, so that no file takes their numbers: an empty
    stdin, a stdout that cannot be written, a stderr that nobody reads."""
    for name, mode, way in CLOSED:
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, way), mode))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - as Python calls it
    line: str | None = None,
) -> None:
    """A line for what impasto warns of; what libraries warn of only where it is asked for."""
    if issubclass(category, LeftOutWarning):
        print(f"impasto: {message}", file=sys.stderr)
    elif os.environ.get(TRACEBACK):
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr)


def _ran_out(error: BaseException) -> bool:
    from impasto.machine import memory  # which loads PyTorch

    return memory.ran_out(error)


def refuse(message: str, status: int = 2) -> int:
    """One line on stderr; the status to exit with."""
    print(f"impasto: {printable(message)}", file=sys.stderr)
    return status


def one_line(error: BaseException) -> str:
    """What to tell the user of an error, without line breaks."""
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, ImpastoError):
        return text
    if isinstance(error, MemoryError | RuntimeError) and _ran_out(error):
        return "there is not enough memory for this picture: use a smaller --size"
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename} cannot be used" if error.filename else "the system refuses"
        return f"{what} ({error.strerror}): check the name, or name another"
    return (
        f"{type(error).__name__}: {text or 'no more is known'} (not foreseen: with {TRACEBACK}=1 "
        "the command shows where it happened, please report that)"
    )
