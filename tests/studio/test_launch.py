"""The studio as it runs: who may come in, what it says to whom, and what is left of it."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hostile import REFUSED, SECRET, TAKEN
from PIL import Image
from serving import Running, studio

from impasto import images
from impasto.errors import SettingError
from impasto.images.paintings import PAINTINGS
from impasto.studio.jobs import CHECKPOINT
from impasto.studio.launch import Options, opened, users

gradio_client = pytest.importorskip("gradio_client")
Call = Callable[..., tuple[int, str, str]]


# Who may come in


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "localhost.example"])
def test_nobody_else_comes_in_unless_it_is_said(host: str) -> None:
    with pytest.raises(SettingError, match=r"give --auth USER:PASSWORD, or say --open"):
        with opened(Options(host=host)):
            pass


def test_the_command_says_so_in_one_line(impasto: Call) -> None:
    status, out, err = impasto("studio", "--host", "0.0.0.0", "--no-browser")
    assert (status, out) == (2, "")
    assert "the host 0.0.0.0 can be reached by others" in err
    assert len(err.strip().splitlines()) == 1


def test_users_are_named_or_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("anna:one\n\n ben:two:three \n", "utf-8")
    assert users(None) is None
    assert users("anna:a secret") == [("anna", "a secret")]
    assert users(str(file)) == [("anna", "one"), ("ben", "two:three")]
    assert users("anna:" + "x" * 5000) == [("anna", "x" * 5000)]


@pytest.mark.parametrize("auth", ["anna", ":one", "anna:", "", "an\0na"])
def test_what_names_nobody_is_refused(auth: str) -> None:
    with pytest.raises(SettingError, match="USER:PASSWORD, or a file"):
        users(auth)


def test_a_file_that_names_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(SettingError, match="USER:PASSWORD, or a file"):
        users(str(tmp_path / "empty"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe:\xff")
    with pytest.raises(SettingError, match="cannot be read as text"):
        users(str(tmp_path / "binary"))


@pytest.mark.parametrize(
    ("option", "value"), [("--max-upload", 0), ("--max-pixels", -1), ("--hours", 0)]
)
def test_limits_are_above_zero(option: str, value: int, impasto: Call) -> None:
    status, _, err = impasto("studio", option, value)
    assert status == 2
    assert f"{option} is" in err


# The studio in a process of its own


@pytest.fixture(scope="module")
def running(painter_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A studio for all tests of this module, of 2 MB, 1 million pixels and 128 px."""
    with studio(tmp_path_factory.mktemp("studio")) as found:
        yield found


@contextlib.contextmanager
def visitor(running: Running, folder: Path) -> Iterator[Any]:
    client = gradio_client.Client(
        running.url, verbose=False, download_files=str(folder), httpx_kwargs={"timeout": 300}
    )
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def guest(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One visitor for all that is refused."""
    with visitor(running, tmp_path_factory.mktemp("guest")) as client:
        yield client


def ask(client: Any, photo: Path, **given: Any) -> Any:
    """An instant picture, if nothing else is asked for."""
    words: dict[str, Any] = {
        "style": "great-wave", "preset": "instant", "size": 64, "strength": 0.5,
    } | given  # fmt: skip
    file = gradio_client.handle_file(str(photo))
    return client.submit(file, *words.values(), api_name="/stylize")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.05)


def test_a_program_paints(running: Running, photo: Path, tmp_path: Path) -> None:
    with visitor(running, tmp_path) as client:
        found = ask(client, photo).result(300)
        with Image.open(found) as image:
            assert image.size == (64, 43)
        recipe = images.recipe_of(Path(found))
        assert recipe["style"] == ["great-wave"]
        assert str(running.folder) not in json.dumps(recipe), "nobody is told where things are"


@pytest.mark.parametrize("what", ["bomb", "swollen", "svg as png", "empty", "raw", "long"])
def test_hostile_files_are_refused(what: str, running: Running, guest: Any, tmp_path: Path) -> None:
    name, write, _ = REFUSED[what]
    write(tmp_path / name)
    with pytest.raises(Exception, match=r".") as refused:
        ask(guest, tmp_path / name).result(300)
    text = str(refused.value)
    assert 10 < len(text) < 400
    assert "Traceback" not in text
    assert str(running.folder) not in text


@pytest.mark.parametrize("what", ["dots", "recipe"])
def test_odd_pictures_are_painted(what: str, running: Running, tmp_path: Path) -> None:
    name, write = TAKEN[what]
    write(tmp_path / name)
    with (
        visitor(running, tmp_path) as client,
        Image.open(ask(client, tmp_path / name).result(300)) as image,
    ):
        assert image.size == (64, 48)


@pytest.mark.parametrize(
    "given",
    [
        {"style": SECRET}, {"style": "../x.png"}, {"style": None}, {"style": ["great-wave"]},
        {"style": ""}, {"preset": "x"}, {"preset": None, "size": "x"}, {"size": 1e9}, {"size": -1},
        {"size": [64]}, {"strength": "x"}, {"strength": 7}, {"strength": {"a": 1}},
    ],
)  # fmt: skip
def test_odd_words_are_refused(
    given: dict[str, Any], running: Running, guest: Any, photo: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=r".") as refused:
        ask(guest, photo, **given).result(300)
    assert len(str(refused.value)) < 400


def test_a_picture_of_this_machine_is_no_style(
    running: Running, photo: Path, tmp_path: Path
) -> None:
    with visitor(running, tmp_path) as client:
        with pytest.raises(Exception, match="choose one of those shown"):
            ask(client, photo, style=str(photo)).result(300)


def test_no_file_of_the_server_is_taken_for_an_upload(running: Running, photo: Path) -> None:
    """The client says that a file of the server is the one that it sent."""
    for path in (SECRET, str(photo), "http://127.0.0.1:9/x.png", "https://example.com/x.png"):
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [sent, "great-wave", "instant", 64, 0.5]}
        asked = httpx.post(f"{running.url}gradio_api/call/stylize", json=body, timeout=300)
        event = asked.json()["event_id"]
        said = httpx.get(f"{running.url}gradio_api/call/stylize/{event}", timeout=300).text
        assert "event: error" in said
        assert "root:" not in said


@pytest.mark.parametrize(
    "path",
    [
        f"gradio_api/file={SECRET}", f"gradio_api/file=..{SECRET}",
        "gradio_api/file=pyproject.toml",
        "gradio_api/file=http://127.0.0.1:9/", "gradio_api/file=https://example.com/",
        "gradio_api/file=file:///etc/passwd", "static/../../../../../../etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "assets/..%2f..%2f..%2fetc/passwd",
        f"gradio_api/proxy=http://127.0.0.1:9{SECRET}", f"file/{SECRET}",
        "custom_component/x/../../../../etc/passwd",
    ],
)  # fmt: skip
def test_no_file_of_the_server_is_given_out(path: str, running: Running) -> None:
    answer = httpx.get(httpx.URL(running.url + path), timeout=300)
    assert answer.status_code in (400, 401, 403, 404, 405)
    assert "root:" not in answer.text


def test_no_file_of_another_visitor_is_given_out(
    running: Running, photo: Path, tmp_path: Path
) -> None:
    with visitor(running, tmp_path) as client:
        ask(client, photo).result(300)
        mine = running.visits()
        assert mine
        for file in (*mine, mine[0].parent, mine[0].parent.parent):
            answer = httpx.get(f"{running.url}gradio_api/file={file}", timeout=300)
            assert answer.status_code == 403


def test_gradios_other_doors_are_closed(running: Running) -> None:
    sent = {"video": ("x.mp4", b"\0" * 100)}
    answer = httpx.post(f"{running.url}gradio_api/process_recording", files=sent, timeout=300)
    assert answer.status_code == 404
    for path in ("vibe-code", f"proxy=http://127.0.0.1:9{SECRET}", "deep_link?session_hash=x"):
        assert httpx.get(f"{running.url}gradio_api/{path}", timeout=300).status_code == 404


def test_what_is_too_large_is_refused_as_it_comes(running: Running) -> None:
    before = running.files()
    sent = {"files": ("large.png", b"\0" * 3_000_000)}
    answer = httpx.post(f"{running.url}gradio_api/upload", files=sent, timeout=300)
    assert answer.status_code == 413
    until(lambda: running.files() <= before)


def test_who_cancels_frees_the_painter(running: Running, photo: Path, tmp_path: Path) -> None:
    with visitor(running, tmp_path) as anna, visitor(running, tmp_path) as ben:
        slow = ask(anna, photo, preset="best", size=128)
        time.sleep(1)
        slow.cancel()
        assert ask(ben, photo).result(300)
        best = [f for f in running.visits() if f.suffix == ".png" and preset_of(f) == "best"]
        assert all((f.parent / CHECKPOINT).exists() for f in best), "none was finished meanwhile"


def preset_of(file: Path) -> str:
    return str(images.recipe_of(file)["settings"]["preset"])


def test_who_leaves_leaves_nothing(running: Running, photo: Path, tmp_path: Path) -> None:
    """The page's own thumbnails stay, one for each painting that ships."""
    with visitor(running, tmp_path) as client:
        ask(client, photo).result(300)
        assert running.visits()
    until(lambda: len(running.files()) == len(PAINTINGS))


def test_no_word_goes_to_another_host(running: Running) -> None:
    """After all that: the server looked up and connected to nothing but this machine."""
    hosts = set(running.connected())
    assert hosts <= {"127.0.0.1", "localhost", "0.0.0.0", "::1"}, hosts


def test_closing_leaves_no_process_and_no_file(running: Running) -> None:
    family = running.process.children(recursive=True)
    assert family
    running.connection.send(None)
    assert running.connection.poll(60)
    threads = running.connection.recv()
    assert not [name for name in threads if name.startswith("impasto")], threads
    running.process.wait(60)
    assert not [one for one in family if one.is_running() and one.status() != "zombie"]
    assert not list(running.folder.iterdir())
