"""What was measured of paintings is kept: the same bits, never out of date, within a limit."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

import impasto
from impasto import images
from impasto.errors import SettingError
from impasto.images import paintings
from impasto.images.paintings import Painting
from impasto.networks import kept
from impasto.objective.targets import Styles
from impasto.painting import OptimizedRun, one_pass
from impasto.scene import Scene
from impasto.settings import settings_for

PIXELS = torch.linspace(0, 1, 3 * 4 * 4).reshape(1, 3, 4, 4)


class Measure:
    """Counts how often it measures: float32, laid out by columns, bfloat16 and a single number."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> dict[str, Tensor]:
        self.count += 1
        grid = torch.arange(6.0).reshape(2, 3).T / 7
        return {"a": grid, "b": grid.bfloat16(), "n": torch.tensor(3.5)}


def test_what_is_kept_has_the_same_bits_and_layout(kept_here: Path) -> None:
    measure = Measure()
    first, second = (kept.tensors("x", {"pixels": PIXELS}, measure) for _ in range(2))
    assert measure.count == 1
    assert len(list(kept_here.iterdir())) == 1
    for name, value in measure().items():
        for found in (first[name], second[name]):
            assert found.dtype == value.dtype
            assert torch.equal(found, value)
            assert found.is_contiguous()
            assert found.data_ptr() % 64 == 0


def test_whatever_numbers_depend_on_makes_another_file(
    kept_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Measure()
    other = PIXELS.clone()
    other[0, 0, 0, 0] += 1e-7
    kept.tensors("x", {"pixels": PIXELS, "counts": None}, measure)
    for words, inputs in (
        ("y", {"pixels": PIXELS}),
        ("x", {"pixels": other}),
        ("x", {"pixels": PIXELS.reshape(1, 3, 2, 8)}),
        ("x", {"pixels": PIXELS, "counts": PIXELS[:, :1]}),
        ("x", {"counts": PIXELS}),
    ):
        kept.tensors(words, inputs, measure)
    for where, name, value in (
        (torch, "__version__", "0"),
        (torch, "get_num_threads", lambda: 77),
        (torch.backends.cpu, "get_cpu_capability", lambda: "none"),
        (kept, "VERSION", 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            kept.tensors("x", {"pixels": PIXELS}, measure)
    assert measure.count == len(list(kept_here.iterdir())) == 10


@pytest.mark.parametrize("how", ["short", "empty", "flipped", "zeros", "folder"])
def test_a_damaged_file_is_measured_anew(kept_here: Path, how: str) -> None:
    measure = Measure()
    expected = kept.tensors("x", {"pixels": PIXELS}, measure)
    (file,) = kept_here.iterdir()
    whole = file.read_bytes()
    flipped = bytes([whole[-1] ^ 1])
    broken = {
        "short": whole[:-7], "empty": b"", "flipped": whole[:-1] + flipped,
        "zeros": bytes(len(whole)),
    }  # fmt: skip
    if how == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(broken[how])
    found = kept.tensors("x", {"pixels": PIXELS}, measure)
    assert measure.count == 2
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    if how != "folder":
        assert file.read_bytes() == whole  # written anew
    assert [f.name for f in kept_here.iterdir()] == [file.name]


def test_nothing_is_kept_where_that_is_said(
    kept_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPASTO_CACHE_MB", "0")
    measure = Measure()
    for _ in range(2):
        assert torch.equal(kept.tensors("x", {"pixels": PIXELS}, measure)["b"], measure()["b"])
    assert measure.count == 4
    assert not kept_here.exists()
    assert kept.size() == 0


@pytest.mark.parametrize("text", ["much", "-1", "1.5"])
def test_a_limit_that_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_CACHE_MB", text)
    with pytest.raises(SettingError, match=f"IMPASTO_CACHE_MB is '{text}': give whole megabytes"):
        kept.limit()


def test_the_usual_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPASTO_CACHE_MB")
    assert kept.limit() == 500e6


def test_what_was_read_last_stays(kept_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files of 0.4 MB under a limit of 1 MB: the one that was not read for longest goes."""
    monkeypatch.setenv("IMPASTO_CACHE_MB", "1")

    def measure() -> dict[str, Tensor]:
        return {"a": torch.zeros(100_000)}

    first, second = [], []
    for words, files in (("1", first), ("2", second)):
        before = set(kept_here.glob("*"))
        kept.tensors(words, {"pixels": PIXELS}, measure)
        files += set(kept_here.glob("*")) - before
    for age, file in ((300, first[0]), (200, second[0])):
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime - age))
    kept.tensors("1", {"pixels": PIXELS}, measure)  # read: now it is the younger one
    kept.tensors("3", {"pixels": PIXELS}, measure)
    assert first[0].exists()
    assert not second[0].exists()
    assert 0.8e6 < kept.size() < 1e6


def test_no_folder_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("IMPASTO_CACHE_MB", "500")
    measure = Measure()
    for _ in range(2):
        assert kept.tensors("x", {"pixels": PIXELS}, measure)["n"] == 3.5
    assert measure.count == 2


def test_several_at_once(kept_here: Path) -> None:
    """Eight threads write and read one file, again and again: nobody ever reads half of it."""
    expected = Measure()()

    def work(number: int) -> bool:
        if number % 3 == 0:
            kept.remove("great-wave")
        found = kept.tensors("x", {"pixels": PIXELS}, Measure(), "great-wave")
        return all(torch.equal(found[name], value) for name, value in expected.items())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert len(list(kept_here.iterdir())) <= 1


def test_what_is_kept_of_a_painting_goes_by_its_name(
    kept_here: Path, library: Path, tmp_path: Path
) -> None:
    data = paintings.path("poppies").read_bytes()
    for name in ("mine", "mine-2"):
        paintings.add(name, data, Painting())
    for name in ("mine", "mine-2", "no-painting", None):
        kept.tensors(f"{name}", {"pixels": PIXELS}, Measure(), name)
    names = sorted(file.name.split(".")[0] for file in kept_here.iterdir())
    assert len(names) == 4
    assert {"mine", "mine-2"} < set(names)
    assert "no-painting" not in names
    kept.remove("mine")
    assert "mine" not in {file.name.split(".")[0] for file in kept_here.iterdir()}
    assert len(list(kept_here.iterdir())) == 3


def small(photo: Path, style: object, **changes: object) -> impasto.Result:
    """Two steps, with matching, at the one scale of 32 px; or in one pass."""
    usual = {"size": 32, "coarsest": 0, "steps": (2,), "detail_steps": 0, "precision": "float32"}
    if changes.get("preset") == "instant":
        usual = {"size": 32}
    return impasto.stylize(photo, style, **(usual | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bfloat16"},
        {"style_turn": "45", "style_scale": 1.5, "tile": 32},
        {"preset": "instant"},
    ],
    ids=str,
)
def test_pictures_are_the_same_with_it_and_without(
    photo: Path, kept_here: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    """Bit for bit: with nothing kept, with it kept, and with no cache at all. The second time
    no painting is measured."""
    measured: list[object] = []
    for place, name in ((Styles, "_of_painting"), (one_pass.adain.AdaIN, "encode")):
        plain = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda *a, plain=plain, **k: measured.append(a) or plain(*a, **k)
        )

    def counted() -> tuple[Tensor, int]:
        measured.clear()
        result = small(photo, ["poppies", "great-wave"], **changes)
        return result.picture.pixels, len(measured)

    cold, first = counted()
    warm, second = counted()
    monkeypatch.setenv("IMPASTO_CACHE_MB", "0")
    without, third = counted()
    assert torch.equal(cold, warm)
    assert torch.equal(cold, without)
    assert first == third > second == ("preset" in changes)  # in one pass the photo is encoded, too


def test_settings_that_matter_measure_anew(photo: Path, kept_here: Path) -> None:
    """What changes the numbers makes files of their own; what does not, as the strength, none."""

    def files(**changes: object) -> int:
        settings = settings_for(**({"size": 32, "coarsest": 0, "precision": "float32"} | changes))
        run = OptimizedRun(Scene(photo, "great-wave", settings))
        run.engine.styles.of(run.scene.parts[0], 32, settings.tile or None)
        return len(list(kept_here.iterdir()))

    count = files()
    assert count == files(strength=0.9) == 1
    for changes in (
        {"pooling": "average"},
        {"padding": "zero"},
        {"seed": 1},
        {"precision": "bfloat16"},
        {"style_layers": "relu1_1,relu2_1"},
        {"matching_layers": "relu2_1"},
        {"style_crop": "0:0:0.5:1"},
        {"content_layers": "relu3_2"},
        {"tile": 32},
        {"keep_colors": "match"},
    ):
        count += 1
        assert files(**changes) == count, changes


def test_a_folder_of_many_paintings_is_not_kept(
    photo: Path, kept_here: Path, tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    for number in range(9):
        painting = paintings.read("poppies").resized(32, 24 + number)
        images.write_bytes(images.encode(painting), tmp_path / "many" / f"{number}.png")
    small(photo, tmp_path / "many", steps=(1,))
    assert not kept_here.exists()
