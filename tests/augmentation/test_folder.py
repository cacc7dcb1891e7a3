"""A folder of pictures copied in style, from Python and from the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from impasto import images
from impasto.augmentation import transform
from impasto.augmentation.folder import CopyPainter, plan_copy, stylized
from impasto.augmentation.transform import StyleTransfer
from impasto.errors import PictureError, SettingError
from impasto.images.folder import pictures_in
from impasto.machine.tasks import one_by_one
from small import Run, elsewhere

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def tree(tmp_path: Path, batch: Tensor) -> Path:
    """Two classes of pictures of different kinds, and what is none."""
    folder = tmp_path / "photos"
    for name, number in (("cats/a.png", 1), ("cats/deep/b.jpg", 2), ("cups/c.bmp", 3)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(batch[number].permute(1, 2, 0).numpy()).save(folder / name)
    (folder / "cups" / "notes.txt").write_text("no picture")
    (folder / "cups" / ".hidden.png").write_bytes(b"hidden")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*")) if file.is_file()
    }  # fmt: skip


FAST = ("--styles", "great-wave,poppies", "--size", "32")


def test_a_folder_is_copied_in_style(impasto: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, printed, err = impasto("augment", tree, "-o", out, *FAST, "--seed", 4, "--json")
    assert status == 0, err
    assert "3 pictures and manifest.csv" in err
    found = files(out)
    pictures = ["cats/a.png", "cats/deep/b.jpg", "cups/c.png"]
    assert list(found) == [*pictures, "manifest.csv", "manifest.jsonl"]
    rows = list(csv.DictReader(found["manifest.csv"].decode().splitlines()))
    assert [row["output"] for row in rows] == pictures
    assert [row["source"] for row in rows] == ["cats/a.png", "cats/deep/b.jpg", "cups/c.bmp"]
    assert [row["class"] for row in rows] == ["cats", "cats", "cups"]
    lines = [json.loads(line) for line in found["manifest.jsonl"].decode().splitlines()]
    assert lines[0]["strength"] == [0.2, 0.8]
    assert lines[1:] == [json.loads(line) for line in printed.splitlines()]
    assert [str(line["sha256"]) for line in lines[1:]] == [row["sha256"] for row in rows]
    assert {row["style"] for row in rows} <= {"great-wave", "poppies"}
    # Copy 1 is what the transform makes of the same pixels in epoch 1.
    transform = StyleTransfer(["great-wave", "poppies"], p=1.0, size=32, seed=4)
    transform.set_epoch(1)
    with Image.open(tree / "cats" / "a.png") as before, Image.open(out / "cats" / "a.png") as now:
        assert np.array_equal(np.asarray(transform(before)), np.asarray(now))
        assert not np.array_equal(np.asarray(before), np.asarray(now))
    again = tmp_path / "again"
    assert impasto("augment", tree, "-o", again, *FAST, "--seed", 4, "-q")[0] == 0
    assert files(again) == found
    assert impasto("augment", tree, "-o", again, *FAST, "--seed", 5, "-q", "--force")[0] == 0
    assert files(again)["cats/a.png"] != found["cats/a.png"]


def test_copies_and_originals(impasto: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--copies", 3, "--keep-originals", "--p", 0.5, "--strength", 0.7, "-q")
    assert impasto("augment", tree, "-o", out, *FAST, *words)[:2] == (0, "")
    found = files(out)
    assert found["cups/c.bmp"] == (tree / "cups" / "c.bmp").read_bytes()
    rows = list(csv.DictReader(found["manifest.csv"].decode().splitlines()))
    assert len(rows) == len(found) - 2 == 12
    assert [row["output"] for row in rows[:4]] == [
        "cats/a.png", "cats/a-style1.png", "cats/a-style2.png", "cats/a-style3.png",
    ]  # fmt: skip
    copies = [row for row in rows if row["copy"] != "0"]
    assert {float(row["strength"]) for row in copies if row["style"]} == {0.7}
    assert {float(row["strength"]) for row in rows if not row["style"]} == {0.0}
    assert 0 < sum(bool(row["style"]) for row in copies) < 9
    for row in copies[:3]:
        with Image.open(out / row["output"]) as now, Image.open(tree / row["source"]) as before:
            assert np.array_equal(np.asarray(now), np.asarray(before)) is not bool(row["style"])


def test_transparency_is_kept(impasto: Run, tree: Path, tmp_path: Path) -> None:
    with Image.open(tree / "cats" / "a.png") as image:
        image.putalpha(Image.linear_gradient("L").resize((32, 32)))
        image.save(tree / "cats" / "a.png")
        before = np.asarray(image)
    assert impasto("augment", tree, "-o", tmp_path / "out", *FAST, "-q")[0] == 0
    with Image.open(tmp_path / "out" / "cats" / "a.png") as image:
        found = np.asarray(image)
    assert np.array_equal(found[..., 3], before[..., 3])
    assert not np.array_equal(found[..., :3], before[..., :3])


def test_stopped_and_resumed_is_the_same(
    impasto: Run, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    words = (*FAST, "--copies", 2, "-q")
    assert impasto("augment", tree, "-o", whole, *words)[0] == 0
    real, written = CopyPainter.made, []

    def noted(*arguments: object) -> object:
        written.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    def stopped(*arguments: object) -> object:
        if len(written) == 1:
            raise KeyboardInterrupt
        return noted(*arguments)

    monkeypatch.setattr(CopyPainter, "made", stopped)
    status, _, err = impasto("augment", tree, "-o", out, *words)
    assert status == 130
    assert "--resume" in err
    assert list(files(out)) == ["cats/a-style1.png", "cats/a-style2.png", "manifest.jsonl"]
    with (out / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"source": "cats/deep/b.jpg", "outp')  # as if killed while writing
    monkeypatch.setattr(CopyPainter, "made", noted)
    assert impasto("augment", tree, "-o", out, *words, "--resume")[0] == 0
    assert len(written) == 1 + 2
    assert files(out) == files(whole)
    # Once more: a picture that was changed in the copy is made again, and nothing else.
    (out / "cats" / "a-style1.png").write_bytes(b"broken")
    assert impasto("augment", tree, "-o", out, *words, "--resume")[0] == 0
    assert len(written) == 1 + 2 + 1
    assert files(out) == files(whole)
    # A picture that has become another is painted anew, too.
    (tree / "cats" / "a.png").write_bytes((tree / "cups" / "c.bmp").read_bytes())
    changed = tmp_path / "changed"
    assert impasto("augment", tree, "-o", changed, *words)[0] == 0
    assert impasto("augment", tree, "-o", out, *words, "--resume")[0] == 0
    assert files(out) == files(changed) != files(whole)
    status, _, err = impasto("augment", tree, "-o", out, *words, "--resume", "--seed", 9)
    assert status == 2
    assert "was made with seed 0, not 9" in err
    assert files(out) == files(changed)


def test_broken_pictures_are_skipped_and_told(impasto: Run, tree: Path, tmp_path: Path) -> None:
    (tree / "cats" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tree / "cats" / "empty.png").touch()
    status, _, err = impasto("augment", tree, "-o", tmp_path / "out", *FAST)
    assert status == 1
    assert "skipped cats/broken.jpg" in err
    assert "cats/empty.png is empty" in err
    assert "2 pictures could not be read" in err
    assert len(files(tmp_path / "out")) == 3 + 2
    lines = (tmp_path / "out" / "manifest.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[1:]]
    assert [row["output"] for row in rows if "error" not in row] == [
        "cats/a.png", "cats/deep/b.jpg", "cups/c.png",
    ]  # fmt: skip
    errors = {row["output"]: row["error"] for row in rows if "error" in row}
    assert list(errors) == ["cats/broken.jpg", "cats/empty.png"]
    assert "cats/empty.png is empty" in errors["cats/empty.png"]
    (tree / "cats" / "broken.jpg").write_bytes((tree / "cats" / "a.png").read_bytes())
    (tree / "cats" / "empty.png").unlink()
    assert impasto("augment", tree, "-o", tmp_path / "out", *FAST, "--resume")[0] == 0
    assert len(files(tmp_path / "out")) == 4 + 2
    assert "error" not in (tmp_path / "out" / "manifest.jsonl").read_text("utf-8")


def test_the_copy_is_the_same_in_any_processes(
    tree: Path, tmp_path: Path, always: StyleTransfer
) -> None:
    (tree / "cats" / "broken.jpg").write_bytes(b"broken")
    always.set_epoch(7)
    found = {}
    for name, way in (("whole", one_by_one), ("spread", elsewhere)):
        plan = plan_copy(tree, tmp_path / name, copies=2, keep_originals=True)
        found[name] = sorted(map(str, stylized(plan, always, spread=way)))
    assert found["whole"] == found["spread"]
    assert files(tmp_path / "whole") == files(tmp_path / "spread")
    assert len(found["whole"]) == 3 * 3 + 1
    assert int(always._epoch) == 7  # painters have transforms of their own


def test_two_processes_write_the_same_copy(impasto: Run, tree: Path, tmp_path: Path) -> None:
    (tree / "cats" / "broken.jpg").write_bytes(b"broken")
    for out, workers in (("one", 1), ("two", 2)):
        words = ("augment", tree, "-o", tmp_path / out, *FAST, "--workers", workers)
        status, _, err = impasto(*words)
        assert status == 1
        assert "1 pictures could not be read" in err
    assert files(tmp_path / "one") == files(tmp_path / "two")
    status, _, err = impasto("augment", tree, "-o", tmp_path / "no", *FAST, "--workers", 0)
    assert (status, err) == (2, "impasto: workers is 0: it must be at least 1\n")


def test_a_painter_shows_how_far_it_is(tree: Path, tmp_path: Path, always: StyleTransfer) -> None:
    plan, shown = plan_copy(tree, tmp_path / "out", copies=4), []
    made = CopyPainter(plan, always)()(plan.sources[0], shown.append)
    assert len(made) == 4
    assert shown == [0.25, 0.5, 0.75, 1]


def test_a_full_disk_stops_it(
    impasto: Run, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = images.write_bytes

    def full(data: bytes, path: Path) -> None:
        if path.name == "b.jpg":
            raise PictureError(f"cannot write {path} (No space left on device): free space")
        real(data, path)

    monkeypatch.setattr(images, "write_bytes", full)
    status, _, err = impasto("augment", tree, "-o", tmp_path / "out", *FAST)
    assert status == 2
    assert "No space left" in err
    assert len(err.strip().splitlines()) == 1
    assert list(files(tmp_path / "out")) == ["cats/a.png", "manifest.jsonl"]


def test_what_cannot_be_done_is_refused(impasto: Run, tree: Path, tmp_path: Path) -> None:
    """One line, exit status 2, and nothing written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("mine")
    before = files(tmp_path)
    out = tmp_path / "out"
    for words, message in (
        ((tmp_path / "none", "-o", out), "there is no folder"),
        ((tmp_path / "empty", "-o", out), "has no pictures"),
        ((tree, "-o", tree / "out"), "lie in each other"),
        ((tree, "-o", tree), "lie in each other"),
        ((tree, "-o", tmp_path), "lie in each other"),
        ((tree, "-o", tmp_path / "file"), "is a file"),
        ((tree, "-o", tmp_path / "full"), "is not empty: name another with -o"),
        ((tree, "-o", tmp_path / "full", "--resume"), "no copy to go on with"),
        ((tree, "-o", out / "deep"), "there is no folder"),
        ((tree, "-o", out, "--copies", 0), "copies is 0"),
        ((tree, "-o", out, "--styles", "monet"), "no file and no painting is called 'monet'"),
        ((tree, "-o", out, "--strength", "much"), "strength is 'much'"),
        ((tree, "-o", out, "--strength", "0.8,0.2"), "strength is 0.8 to 0.2"),
        ((tree, "-o", out, "--p", 2), "p is 2"),
        ((tree, "-o", out, "--device", "abacus"), "device 'abacus' cannot be used"),
        ((tree, "-o", out, "--resume", "--force"), "choose one"),
        ((tree,), "--output"),
    ):
        status, printed, err = impasto("augment", *words)
        assert (status, printed) == (2, ""), words
        assert message in err
        assert len(err.strip().splitlines()) == 1, err
    assert files(tmp_path) == before


def test_two_pictures_of_one_name_are_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "cups" / "c.gif").write_bytes((tree / "cups" / "c.bmp").read_bytes())
    with pytest.raises(PictureError, match=r"c\.bmp and .*c\.gif would both be written"):
        plan_copy(tree, tmp_path / "out")


def test_a_copy_needs_a_seed(tree: Path, tmp_path: Path) -> None:
    plan = plan_copy(tree, tmp_path / "out")
    with pytest.raises(SettingError, match="no seed"):
        next(stylized(plan, StyleTransfer("poppies")))


def test_styles_are_named_with_commas_and_spaces() -> None:
    assert transform.styles_of("great-wave, poppies,") == ["great-wave", "poppies"]
    assert transform.styles_of("") == []
    assert len(transform.styles_of(",".join(["poppies"] * 60))) == 60  # too long for a file name


def test_linked_folders_are_classes_too(tree: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for label in sorted(path for path in tree.iterdir() if path.is_dir()):
        (linked / label.name).symlink_to(label)
    assert pictures_in(linked, deep=True) == pictures_in(tree, deep=True)
    assert pictures_in(linked, deep=True)
