"""Each visitor has a folder, which goes with the visit, and nothing leads out of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from impasto.errors import PictureError
from impasto.studio import visits
from impasto.studio.visits import Visits, plain_name

HOUR = 3600.0


@pytest.fixture
def left() -> list[str]:
    return []


@pytest.fixture
def house(left: list[str], tmp_path: Path) -> Iterator[Visits]:
    """Visits with a folder for copies, as the page's server has one."""
    (tmp_path / "copies").mkdir()
    with Visits(left.append, copies=tmp_path / "copies") as made:
        yield made


def copy(house: Visits, name: str, words: str = "picture") -> Path:
    """A file as the page's server keeps it, an hour and a half old if `age` is asked of it."""
    assert house.copies is not None
    folder = house.copies / f"{len(list(house.copies.iterdir()))}"
    folder.mkdir()
    (folder / name).write_text(words)
    return folder / name


def test_a_visit_is_the_same_for_the_same_key_alone(house: Visits) -> None:
    anna, ben = house.of("anna"), house.of("ben")
    assert house.of("anna") is anna
    assert anna.folder != ben.folder
    assert anna.folder.parent == ben.folder.parent == house.root
    assert anna.folder.stat().st_mode & 0o077 == 0, "for nobody else on this machine"
    assert len(anna.folder.name) >= 20, "nobody guesses it"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("photo", "photo"),
        ("../../etc/passwd", "etc-passwd"),
        ("/etc/passwd", "etc-passwd"),
        ("..\\..\\system", "system"),
        ("a\n\x00\x1b[31mb", "a-31mb"),
        ("$(reboot); `ls`", "reboot-ls"),
        ("....", "picture"),
        ("", "picture"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 5000, "x" * 60),
        ("-rf", "rf"),
        (".hidden", "hidden"),
    ],
)
def test_names_are_plain(name: str, plain: str, house: Visits) -> None:
    assert plain_name(name) == plain
    visit = house.of("anna")
    place = visit.place(name, ".png")
    assert place.parent == visit.folder
    assert place.resolve() == place


def test_files_of_one_name_do_not_meet(house: Visits, tmp_path: Path) -> None:
    visit = house.of("anna")
    (tmp_path / "photo.PNG").write_text("one")
    places = [visit.take(tmp_path / "photo.PNG") for _ in range(2)]
    assert [place.name for place in places] == ["photo-1.png", "photo-2.png"]
    assert (tmp_path / "photo.PNG").exists(), "it is not ours"


def test_a_suffix_is_letters_alone(house: Visits, tmp_path: Path) -> None:
    odd = tmp_path / "photo.p;n$g and much more"
    odd.write_text("one")
    assert house.of("anna").take(odd).name == "photo-1.pngandm"


def test_what_is_gone_is_said(house: Visits, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png could not be taken in"):
        house.of("anna").take(tmp_path / "gone.png")


def test_nothing_is_taken_in_for_somebody_who_left(house: Visits, tmp_path: Path) -> None:
    """The tab was closed while the photo was on its way: no folder comes back."""
    (tmp_path / "photo.png").write_text("one")
    visit = house.of("anna")
    house.leave("anna")
    with pytest.raises(PictureError, match="could not be taken in"):
        visit.take(tmp_path / "photo.png")
    assert not visit.folder.exists()


def test_leaving_takes_the_folder_and_says_so(house: Visits, left: list[str]) -> None:
    visit = house.of("anna")
    visit.place("photo", ".png").write_text("one")
    assert house.has(visit)
    house.leave("anna")
    house.leave("anna")
    house.leave("nobody")
    assert left == ["anna"]
    assert not visit.folder.exists()
    assert not house.has(visit)
    assert house.of("anna") is not visit


def test_visits_end_after_an_hour_of_silence(house: Visits, left: list[str]) -> None:
    anna, ben = house.of("anna"), house.of("ben")
    anna.photos.append(anna.folder)
    ben.photos.append(ben.folder)
    house.sweep(anna.seen + HOUR - 1)
    assert not left
    ben.seen += 10
    house.sweep(anna.seen + HOUR + 1)
    assert left == ["anna"]


def test_a_visit_without_files_ends_soon(house: Visits, left: list[str]) -> None:
    seen = house.of("anna").seen
    house.sweep(seen + visits.UNUSED - 1)
    assert not left
    house.sweep(seen + visits.UNUSED + 1)
    assert left == ["anna"]


def test_no_visit_ends_whose_picture_is_painted_or_waits(left: list[str]) -> None:
    busy = {"anna"}
    with Visits(left.append, busy=busy.__contains__) as house:
        seen = house.of("anna").seen
        house.sweep(seen + 100 * HOUR)
        assert not left
        busy.clear()
        house.sweep(seen + 100 * HOUR)
        assert left == ["anna"]


def test_copies_go_after_the_visit(house: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = house.of("anna")
    visit.place("painted", ".png").write_text("picture")
    painted, other = copy(house, "painted-1.png"), copy(house, "painted-1.png", "another one")
    visit.taken.add(visits.mark(sent := copy(house, "sent.jpg")))
    monkeypatch.setattr(visits, "GRACE", -1.0)
    house.sweep()
    assert painted.exists()
    assert sent.exists()
    house.leave("anna")
    house.sweep()
    assert not painted.parent.exists()
    assert not sent.parent.exists()
    assert other.exists(), "of the same name, and yet another file"
    house.sweep()
    assert not house.gone, "nothing is remembered for ever"


def test_copies_stay_for_those_who_have_the_same(
    house: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two visitors sent the same photo."""
    sent = copy(house, "sent.jpg")
    for key in ("anna", "ben"):
        house.of(key).taken.add(visits.mark(sent))
    house.leave("anna")
    monkeypatch.setattr(visits, "GRACE", -1.0)
    house.sweep()
    assert sent.exists()
    house.leave("ben")
    house.sweep()
    assert not sent.exists()


def test_copies_stay_a_while_for_those_who_just_sent_the_same(house: Visits) -> None:
    """The photo of the next visitor has arrived, and is not taken in yet."""
    sent = copy(house, "sent.jpg")
    house.of("anna").taken.add(visits.mark(sent))
    house.leave("anna")
    house.sweep()
    assert sent.exists()


def test_what_was_refused_goes_though_the_visit_lasts(
    house: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = copy(house, "bomb.png")
    house.of("anna").refused.add(visits.mark(sent))
    monkeypatch.setattr(visits, "GRACE", -1.0)
    house.sweep()
    assert not sent.exists()


def test_what_nobody_asked_for_goes_after_an_hour(
    house: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = copy(house, "forgotten.png")
    house.sweep()
    assert sent.exists()
    now = sent.stat().st_ctime
    monkeypatch.setattr(visits.time, "time", lambda: now + HOUR + 1)
    house.sweep()
    assert not sent.exists()


def test_the_pages_own_copies_stay_and_empty_files_go(
    house: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio shows thumbnails from there, and leaves an empty file for each that it hands on."""
    thumbnail = copy(house, "thumbnail.jpg")
    house.keep_copies()
    assert house.copies is not None
    empty = house.copies / "tmpabc"
    empty.touch()
    now = thumbnail.stat().st_ctime
    house.sweep()
    assert empty.exists(), "it may be in use"
    monkeypatch.setattr(visits.time, "time", lambda: now + HOUR + 1)
    house.sweep()
    assert not empty.exists()
    assert thumbnail.exists()


def test_closing_leaves_nothing(left: list[str]) -> None:
    threads = set(threading.enumerate())
    with Visits(left.append) as house:
        house.of("anna").place("photo", ".png").write_text("one")
        house.of("ben")
        assert set(threading.enumerate()) > threads
    assert sorted(left) == ["anna", "ben"]
    assert not house.root.exists()
    assert set(threading.enumerate()) <= threads
