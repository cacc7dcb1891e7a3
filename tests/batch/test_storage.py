"""Batches from and to addresses, with fsspec's systems in memory and on disk."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import impasto
import workers
from impasto.batch import storage
from impasto.batch.api import paint, remaining
from impasto.batch.inputs import Photo, photos_of
from impasto.batch.painter import Orders, Painter
from impasto.batch.plan import plan_batch
from impasto.errors import PictureError
from impasto.reports.manifest import Row
from impasto.settings import settings_for

SETTINGS = settings_for(preset="instant", size=48, threads=1)


@pytest.fixture
def bucket(photo: Path) -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/photos/a.png", photo.read_bytes())
    memory.pipe_file("/bucket/photos/deep/b.png", photo.read_bytes())
    memory.pipe_file("/bucket/photos/notes.txt", b"no picture")
    yield "memory://bucket"
    memory.store.clear()


def test_names_and_addresses() -> None:
    assert storage.is_address("s3://bucket/a.png")
    assert not storage.is_address("photos/a.png")
    assert not storage.is_address("C:/photos")
    assert storage.joined("s3://bucket/out/", "deep/a.png") == "s3://bucket/out/deep/a.png"
    assert storage.joined("out", "deep/a.png") == str(Path("out", "deep", "a.png"))
    assert storage.fixed_part("s3://bucket/a/*/b?.png") == "s3://bucket/a"


def test_photos_at_an_address(bucket: str) -> None:
    expected = [
        Photo("memory://bucket/photos/a.png", "a.png"),
        Photo("memory://bucket/photos/deep/b.png", "deep/b.png"),
    ]
    assert photos_of([f"{bucket}/photos"], "out") == expected
    assert photos_of([f"{bucket}/photos/**/*.png"], "out") == expected
    assert photos_of([f"{bucket}/photos/deep/b.png"], "out") == [
        Photo("memory://bucket/photos/deep/b.png", "b.png")
    ]


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_files_are_written_whole(kind: str, tmp_path: Path) -> None:
    folder = f"{kind}://{tmp_path}"
    storage.write(b"one", f"{folder}/deep/a.png")
    first = storage.digest(f"{folder}/deep/a.png")
    storage.write(b"three", f"{folder}/deep/a.png")
    assert storage.read(f"{folder}/deep/a.png") == b"three"
    assert storage.files_under(folder) == ["deep/a.png"], "nothing of the way there is left"
    assert storage.digest(f"{folder}/deep/a.png") != first
    assert storage.exists(f"{folder}/deep/a.png")
    assert not storage.exists(f"{folder}/deep/b.png")
    assert storage.digest(f"{folder}/deep/b.png") is None


def test_what_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"cannot read memory://nowhere/a\.png .*check the name"):
        storage.read("memory://nowhere/a.png")
    with pytest.raises(PictureError, match="cannot reach nonsense://bucket"):
        storage.read("nonsense://bucket/a.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(PictureError, match="name another place with -o"):
        storage.write(b"x", f"file://{tmp_path}/file/a.png")


def painted(bucket: str) -> list[Row]:
    batch = plan_batch([f"{bucket}/photos"], ["great-wave"], f"{bucket}/out", SETTINGS)
    painter = Painter(Orders(SETTINGS, batch.output, 8, False))
    events = paint(remaining(batch), workers.Here(lambda: painter))
    return [event for event in events if isinstance(event, dict)]


def test_a_batch_from_and_to_an_address(bucket: str, photo: Path) -> None:
    rows = painted(bucket)
    assert sorted(row["output"] for row in rows) == ["a-great-wave.png", "deep/b-great-wave.png"]
    single = impasto.stylize(photo, "great-wave", SETTINGS).picture
    made = impasto.images.read(storage.read(f"{bucket}/out/a-great-wave.png"))
    assert (made.pixels - single.pixels).abs().max() <= 0.5 / 255 + 1e-6
    assert painted(bucket) == []
    fsspec.filesystem("memory").rm("/bucket/out/a-great-wave.png")
    fsspec.filesystem("memory").pipe_file("/bucket/photos/deep/b.png", photo.read_bytes() + b" ")
    assert len(painted(bucket)) == 2
    lines = storage.read(f"{bucket}/out/manifest.jsonl").splitlines()
    assert len(lines) == 1 + 2 + 2 * 2, "the newest of each, and two lines of each that was painted"
