"""What only Linux or POSIX has is left out where it is missing."""

import ast
import ctypes
import mmap
import platform
import sys
from pathlib import Path

import pytest

from impasto import images
from impasto.cli import words
from impasto.machine import buffers, keep_large_buffers
from small import ROOT

POSIX_MODULES = {"fcntl", "grp", "posix", "pwd", "resource", "termios", "tty"}
POSIX_NAMES = {
    "os": {
        "O_DIRECTORY", "O_NOFOLLOW", "chown", "fork", "getegid", "geteuid", "getgid", "getpgid",
        "getuid", "killpg", "mkfifo", "nice", "sched_getaffinity", "setsid", "statvfs", "uname",
    },
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "pthread_sigmask", "setitimer"},
    "mmap": {"MADV_HUGEPAGE", "MAP_ANONYMOUS", "MAP_PRIVATE"},
    "time": {"tzset"},
}  # fmt: skip
GUARDS = {("mmap", "MAP_ANONYMOUS"): "MAP_PRIVATE"}
"""Names that are there wherever another is."""
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def unguarded(source: str) -> list[str]:
    """The names of POSIX alone that a module uses without having asked for them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name in POSIX_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            asked = f'hasattr({module}, "{GUARDS.get((module, name), name)}")'
            if name in POSIX_NAMES.get(module, ()) and asked not in source:
                found.append(f"{module}.{name}")
    return found


def test_nothing_of_posix_alone_is_taken_for_granted() -> None:
    assert len(SOURCES) > 100
    names = {path.name: unguarded(path.read_text("utf-8")) for path in SOURCES}
    assert {name: found for name, found in names.items() if found} == {}


def test_the_check_sees_what_it_should() -> None:
    assert unguarded("import os\nos.fork()") == ["os.fork"]
    assert unguarded('import os\nif hasattr(os, "fork"):\n    os.fork()') == []
    assert unguarded("from resource import getrusage\nimport signal\nsignal.SIGHUP") == [
        "resource",
        "signal.SIGHUP",
    ]


def test_the_allocator_of_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise AssertionError("no library is opened")

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", none)
    assert keep_large_buffers() is False


@pytest.mark.parametrize("missing", [("MADV_HUGEPAGE",), ("MADV_HUGEPAGE", "MAP_PRIVATE")])
def test_memory_is_mapped_where_there_are_no_huge_pages(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    for name in missing:
        monkeypatch.delattr(mmap, name, raising=False)
    assert len(buffers._mapped(8192)) == 8192


def test_memory_is_mapped_where_the_kernel_refuses_huge_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refused(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Refused)
    assert len(buffers._mapped(8192)) == 8192


def test_a_disk_without_permissions_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    images.write_bytes(b"new", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"new"


def test_names_are_printed_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out.txt").open("w", encoding="cp1252") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        words.print_any_name()
        print("größe 波.png")
    assert (tmp_path / "out.txt").read_text("cp1252") == "größe \\u6ce2.png\n"
