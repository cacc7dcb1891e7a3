"""Names of files as users give them; files, written whole or not at all; and where they can be.

A stream, such as a named pipe, is written as it comes: no name can be moved to its place.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from impasto import fingerprint
from impasto.errors import PictureError

URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:[\w.+/-]*[;,]", re.IGNORECASE)
SHOWN = 60  # characters of a URL in a message
LONGEST_NAME = 255  # bytes, of most file systems
STREAMS = re.compile(r"/dev(/fd)?|/proc/\d+(/task/\d+)?/fd")
"""The folders of the system's own names for streams, which may be redirected to files."""


def path_of(name: str | os.PathLike[str]) -> Path:
    """A path whose `~` is the home folder. PictureError for no name at all, and for a URL."""
    text = os.fsdecode(name)
    if not text.strip():
        raise PictureError("the name of a picture is empty: name a file, or leave it out")
    if URL.match(text):
        raise PictureError(
            f"{text[:SHOWN]!r} is a URL: download the picture first, and give the file's name"
        )
    return expanded(text)


def expanded(name: str | os.PathLike[str]) -> Path:
    """A path whose `~` is the home folder, where there is one."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails without a home


def exists(path: Path) -> bool:
    """True for what is there; False, and no error, for a name that nothing can have."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """True for a folder; False, and no error, for a name that nothing can have."""
    return os.path.isdir(path)  # noqa: PTH112


def check_place(path: Path) -> None:
    """PictureError if no file can be written there: before anything is painted."""
    folder = path.absolute().parent
    try:
        if path.is_dir():
            raise PictureError(f"{path} is a folder: name a file in it")
        if not folder.is_dir():
            raise PictureError(f"there is no folder {folder}: make it first")
        path.lstat()  # a name may be too long
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PictureError(
            f"cannot write {path} ({reason(error)}): name another place with -o"
        ) from error
    if is_stream(path):
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PictureError(
            f"cannot write to the folder {folder} ({reason(error)}): name another with -o"
        ) from error


def check_name(name: str) -> None:
    """PictureError for the name of a file, made of others, that is longer than a name may be."""
    length = len(name) if os.name == "nt" else len(os.fsencode(name))
    if length > LONGEST_NAME:
        raise PictureError(
            f"a file would be called {name}, {length} bytes, but a name has {LONGEST_NAME} at "
            "most: rename what it is made of"
        )


def companion(path: Path, suffix: str) -> Path:
    """A path beside another, called as it and a suffix; cut, where that is longer than a name may
    be, with a fingerprint in place of the rest."""
    name = os.fsencode(path.name)
    if len(name) + len(suffix) > LONGEST_NAME:
        mark = f"-{fingerprint.short(name)}"
        name = name[: LONGEST_NAME - len(mark) - len(suffix)] + mark.encode()
        return path.with_name(name.decode("utf-8", "ignore") + suffix)
    return path.with_name(path.name + suffix)


def is_stream(path: Path) -> bool:
    """True for what has to be written as it comes, without a name to be moved to: a named pipe, a
    device, /dev/stdout, /dev/fd/3."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return True
    return stat.S_ISREG(mode) and STREAMS.fullmatch(os.path.realpath(path.parent)) is not None


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in. PictureError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(
            f"cannot make the folder {folder} ({reason(error)}): name another place with -o"
        ) from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, to be written; it is synced and takes that name at the end.

    What was written is sent to a `path` that is a stream. Raises PictureError, with nothing left
    behind, where the disk is full or says no.
    """
    part, stream = None, is_stream(path)
    folder = None if stream else path.parent
    with _refusals(path):
        try:
            # A name of its own: one that begins as that of `path` may be too long.
            handle, name = tempfile.mkstemp(dir=folder, prefix=".impasto-", suffix=".part")
            os.close(handle)
            part = Path(name)
            yield part
            if stream:
                _send(part.read_bytes(), path)
                return
            with part.open("r+b") as file:
                os.fsync(file.fileno())
            with contextlib.suppress(OSError):  # a disk that knows no permissions
                part.chmod(0o666 & ~_umask())
            part.replace(path)
        finally:
            if part is not None:
                part.unlink(missing_ok=True)


def write_bytes(data: bytes, path: Path) -> None:
    """Write a file whole or not at all; a stream at once. PictureError where the disk is full or
    says no."""
    if is_stream(path):
        with _refusals(path):
            _send(data, path)
        return
    with written_whole(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PictureError(
            f"cannot write {path} ({reason(error)}): free space or name another place with -o"
        ) from error


def _send(data: bytes, path: Path) -> None:
    """Write to a stream; behind what it has, where it is a file."""
    with path.open("ab") as stream:
        stream.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def reason(error: OSError | ValueError) -> str:
    """Why the system refused, in its own words."""
    return getattr(error, "strerror", None) or str(error)
