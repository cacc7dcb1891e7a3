"""The manifest, the one journal: what is read of it after a run was killed anywhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.errors import PictureError, SettingError
from impasto.reports.manifest import NAME, Manifest

FACTS = {"of": "test", "sizes": (1, 2)}
ROWS: list[dict[str, Any]] = [{"output": "a.png", "n": 1}, {"output": "b.png", "n": 2}]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "out" / NAME, FACTS)


def test_what_was_added_is_there(manifest: Manifest) -> None:
    assert manifest.rows() == []
    manifest.begin()
    manifest.add(ROWS[:1])
    manifest.add(ROWS[1:])
    assert Manifest(manifest.path, FACTS).rows() == ROWS
    lines = manifest.path.read_text().splitlines()
    assert json.loads(lines[0]) == {"of": "test", "sizes": [1, 2]}
    assert len(lines) == 3


def test_a_later_row_takes_the_place_of_an_earlier_one(manifest: Manifest) -> None:
    manifest.begin(ROWS)
    manifest.add([{"output": "a.png", "n": 3}])
    assert manifest.rows() == [{"output": "a.png", "n": 3}, ROWS[1]]
    manifest.begin(manifest.rows())
    assert len(manifest.path.read_text().splitlines()) == 3


@given(cut=st.integers(0, 100))
def test_a_manifest_that_was_cut_anywhere_has_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    manifest = Manifest(tmp_path_factory.mktemp("cut") / NAME, FACTS)
    manifest.begin(ROWS)
    whole = manifest.path.read_bytes()
    manifest.path.write_bytes(whole[: max(0, len(whole) - cut)])
    found = manifest.rows()
    assert found == ROWS[: len(found)]
    first = len(whole.split(b"\n")[0]) + 1
    kept = len(whole) - cut - first
    ends = [len(json.dumps(ROWS[0])) + 1, len(whole) - first]
    assert len(found) == sum(kept >= end for end in ends)


def test_names_that_are_no_text_come_back(manifest: Manifest) -> None:
    row = {"output": b"caf\xe9.png".decode("utf-8", "surrogateescape")}
    manifest.begin([row])
    assert manifest.rows() == [row]


def test_other_facts_and_other_files_are_refused(manifest: Manifest) -> None:
    manifest.begin(ROWS)
    with pytest.raises(SettingError, match="was made with of test, not others"):
        Manifest(manifest.path, {"of": "others"}).rows()
    manifest.path.write_text("no manifest\nat all\n")
    with pytest.raises(SettingError, match="is no manifest: name another place"):
        manifest.rows()


def test_the_facts_that_differ_are_named(manifest: Manifest) -> None:
    assert manifest.others() == ["of", "sizes"]  # nothing is there
    manifest.begin(ROWS)
    assert manifest.others() == []
    assert Manifest(manifest.path, FACTS | {"sizes": [3], "new": 1}).others() == ["sizes", "new"]


def test_what_the_disk_refuses_is_told(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / NAME, {})
    manifest.path.mkdir()
    with pytest.raises(PictureError, match=r"cannot read .*manifest\.jsonl"):
        manifest.rows()
    with pytest.raises(PictureError, match=r"cannot write .*manifest\.jsonl"):
        manifest.add(ROWS)
