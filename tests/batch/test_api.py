"""A batch as it is painted: bytes, manifest, a second run, and what is broken on the way."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hostile import REFUSED
from PIL import Image

import impasto
import workers
from impasto import Masks
from impasto.batch.api import Remaining, paint, remaining
from impasto.batch.painter import Orders, Painter
from impasto.batch.plan import plan_batch
from impasto.errors import PictureError, SettingError
from impasto.reports.manifest import NAME, Row
from impasto.settings import settings_for
from small import EXAMPLES

SETTINGS = settings_for(preset="instant", size=48, threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "deep/b.png", "c.webp")):
        with Image.open(EXAMPLES / "china.jpg") as image:
            image.crop((0, 0, 200 + 40 * number, 160)).resize((64, 48)).save(folder / name)
    return folder


def left(folder: Path, *styles: str, force: bool = False, **words: Any) -> Remaining:
    named, out = styles or ("great-wave",), folder.parent / "out"
    settings = words.pop("settings", SETTINGS)
    return remaining(plan_batch([folder], named, out, settings, **words), force)


def painted(asked: Remaining) -> list[Row]:
    batch = asked.batch
    painter = Painter(Orders(batch.settings, batch.output, batch.bits, batch.keep_gps))
    pool = workers.Here(lambda: painter)
    rows = [event for event in paint(asked, pool) if isinstance(event, dict)]
    assert pool.closed
    return rows


def manifest(folder: Path) -> dict[str, Row]:
    lines = (folder.parent / "out" / NAME).read_text().splitlines()
    assert json.loads(lines[0]) == {"of": "batch"}
    return {row["output"]: row for row in map(json.loads, lines[1:])}


def test_a_batch_has_the_bytes_of_single_pictures(photos: Path) -> None:
    rows = painted(left(photos, "great-wave", "poppies"))
    assert len(rows) == 6
    for row in rows:
        name = f"{Path(row['input']).stem}-{row['style']}.png"
        made = photos.parent / "out" / row["output"]
        assert made.name == name
        single = impasto.stylize(Path(row["input"]), row["style"], SETTINGS)
        assert made.read_bytes() == single.encoded("PNG")
        assert (row["width"], row["height"]) == single.picture.size
        assert row["seconds"] > 0
    assert manifest(photos) == {row["output"]: row for row in rows}


def test_optimized_pictures_share_what_is_measured_and_are_the_same(photos: Path) -> None:
    settings = settings_for(preset="draft", size=48, steps="3", coarsest=0, threads=1)
    rows = painted(left(photos, settings=settings))
    for row in rows:
        single = impasto.stylize(Path(row["input"]), "great-wave", settings)
        assert (photos.parent / "out" / row["output"]).read_bytes() == single.encoded("PNG")
        assert row["losses"] == single.recipe["losses"]


def test_a_second_run_paints_what_is_missing_or_changed(photos: Path) -> None:
    first = {row["output"]: row for row in painted(left(photos))}
    assert left(photos).items == ()
    assert left(photos).done == 3
    out = photos.parent / "out"
    (out / "a-great-wave.png").unlink()
    (out / "c-great-wave.png").write_bytes(b"cut")
    with Image.open(photos / "deep" / "b.png") as image:
        image.rotate(180).save(photos / "deep" / "b.png")
    again = left(photos)
    assert len(again.items) == 3
    rows = {row["output"]: row for row in painted(again)}
    for name in ("a-great-wave.png", "c-great-wave.png"):
        assert rows[name]["sha256"] == first[name]["sha256"]
    changed = rows["deep/b-great-wave.png"]
    assert changed["sha256"] != first["deep/b-great-wave.png"]["sha256"]
    assert changed["recipe"] != first["deep/b-great-wave.png"]["recipe"]
    assert left(photos).items == ()


def test_other_settings_are_painted_anew_and_another_number_of_threads_is_not(
    photos: Path,
) -> None:
    painted(left(photos))
    same = settings_for(preset="instant", size=48, threads=2)
    assert left(photos, settings=same).items == ()
    other = settings_for(preset="instant", size=48, threads=1, strength=0.3)
    assert len(left(photos, settings=other).items) == 3
    assert len(left(photos, force=True).items) == 3


def test_a_stopped_batch_goes_on(photos: Path) -> None:
    asked = left(photos)
    painter = Painter(Orders(SETTINGS, asked.batch.output, 8, False))
    events = paint(asked, workers.Here(lambda: painter))
    first = next(event for event in events if isinstance(event, dict))
    next(event for event in events if not isinstance(event, dict))
    events.close()
    after = left(photos)
    assert after.done == 1
    assert first["output"] not in {item.output for item in after.items}
    before = (photos.parent / "out" / first["output"]).stat().st_mtime_ns
    painted(after)
    assert (photos.parent / "out" / first["output"]).stat().st_mtime_ns == before
    assert len(manifest(photos)) == 3


def test_a_picture_that_was_written_but_not_noted_is_painted_again(photos: Path) -> None:
    """A run that was killed between the two: the file is the batch's own, and in nobody's way."""
    rows = painted(left(photos))
    file = photos.parent / "out" / NAME
    lines = file.read_text().splitlines()
    kept = [line for line in lines if '"sha256"' not in line or rows[0]["output"] not in line]
    file.write_text("\n".join(kept) + "\n" + lines[-1][:20])
    assert [item.output for item in left(photos).items] == [rows[0]["output"]]
    painted(left(photos))
    assert left(photos).items == ()


def test_what_no_batch_painted_is_in_the_way(photos: Path) -> None:
    target = photos.parent / "out" / "a-great-wave.png"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(PictureError, match=r"a-great-wave\.png exists, and no batch painted it"):
        left(photos)
    assert target.read_bytes() == b"mine"
    painted(left(photos, force=True))
    assert left(photos).items == ()


def test_broken_files_have_a_line_each_and_all_others_come_out(photos: Path) -> None:
    kinds = {n: k for n, k in REFUSED.items() if Path(k[0]).suffix.lower() in (".png", ".jpg")}
    for number, (name, write, _) in enumerate(kinds.values()):
        write(photos / f"{number}-{name}")
    (photos / "gone.jpg").symlink_to(photos / "nowhere")
    os.mkfifo(photos / "pipe.png")
    (photos / os.fsdecode(b"caf\xe9.jpg")).write_bytes((photos / "a.jpg").read_bytes())
    rows = painted(left(photos))
    errors = {Path(row["input"]).name: row["error"] for row in rows if "error" in row}
    assert len(errors) == len(kinds) + 2 >= 12
    assert all(error and "\n" not in error for error in errors.values())
    made = {row["output"] for row in rows if "sha256" in row}
    expected = {"a-great-wave.png", "c-great-wave.png", "deep/b-great-wave.png"}
    assert made == expected | {os.fsdecode(b"caf\xe9-great-wave.png")}
    lines = (photos.parent / "out" / NAME).read_text().splitlines()[1:]
    noted = [row for row in map(json.loads, lines) if "error" in row]
    assert len(noted) == len(errors), "each has its line"
    assert len(left(photos).items) == len(kinds), "they are tried again"


def test_masks_by_word_and_by_pattern(photos: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("a", "b", "c"):
        half = Image.new("L", (64, 48))
        half.paste(255, (0, 0, 32, 48))
        half.save(masks / f"{name}.png")
    rows = painted(left(photos, masks=Masks(f"{masks}/{{stem}}.png")))
    for row in rows:
        source = Path(row["input"])
        single = impasto.stylize(source, "great-wave", SETTINGS, mask=masks / f"{source.stem}.png")
        assert (photos.parent / "out" / row["output"]).read_bytes() == single.encoded("PNG")
    Image.new("RGB", (64, 48), "teal").save(photos / "a.jpg")
    rows = painted(left(photos, masks=Masks("person"), name="{stem}-p.png"))
    (nobody,) = (row for row in rows if row["output"] == "a-p.png")
    assert "person" in nobody["error"]


def test_formats_and_bits(photos: Path) -> None:
    painted(left(photos, name="{stem}.jpg"))
    with Image.open(photos.parent / "out" / "a.jpg") as image:
        assert image.format == "JPEG"
    painted(left(photos, name="{stem}-16.png", bits=16))
    assert (photos.parent / "out" / "a-16.png").read_bytes()[24] == 16


def test_an_unforeseen_error_fails_one_picture(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.batch import painter

    run_of = painter.run_of

    def failing(item: Any, *others: Any) -> Any:
        if item.output.startswith("a-"):
            raise ZeroDivisionError("of course")
        return run_of(item, *others)

    monkeypatch.setattr(painter, "run_of", failing)
    rows = {row["output"]: row for row in painted(left(photos))}
    assert rows["a-great-wave.png"]["error"] == "ZeroDivisionError: of course (not foreseen)"
    assert sum("sha256" in row for row in rows.values()) == 2


def test_from_python_by_a_process(photos: Path) -> None:
    found = impasto.stylize_all(photos / "a.jpg", "great-wave", photos.parent / "out", SETTINGS)
    (row,) = found
    single = impasto.stylize(photos / "a.jpg", "great-wave", SETTINGS)
    assert (photos.parent / "out" / "a-great-wave.png").read_bytes() == single.encoded("PNG")
    assert row["output"] == "a-great-wave.png"
    with pytest.raises(SettingError, match="workers is 0: it must be at least 1"):
        impasto.stylize_all(photos, "poppies", photos.parent / "out", SETTINGS, workers=0)
