"""The page, as a person uses it: in a browser, from the first photo to the download."""

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from browser import page_at
from impasto import images
from small import EXAMPLES, ROOT

pytest.importorskip("gradio")

WAIT = 300_000  # ms at most: no test depends on how fast the machine is
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def studio() -> Iterator[SimpleNamespace]:
    """The studio, open; `called` are the addresses that the page's process connected to."""
    from impasto.studio import Options, opened

    called: list[Any] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> Any:
        called.append(address)
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", noted)
        with opened(Options(browser=False, settings={"threads": 1})) as page:
            yield SimpleNamespace(url=page.local_url, called=called)


@pytest.fixture
def page(studio: SimpleNamespace, tmp_path: Path) -> Iterator[Any]:
    with page_at(studio.url, tmp_path / "profile", accept_downloads=True) as opened:
        opened.set_default_timeout(WAIT)
        opened.wait_for_selector("#paint")
        yield opened


def upload(page: Any, file: Path) -> None:
    """Hand in a file, as soon as the page listens: what comes before is lost."""
    with page.expect_response("**/queue/join*"):
        for _ in range(100):
            page.set_input_files("#photo input[type=file]", file)
            page.wait_for_timeout(3000)
            if not page.get_by_text("Your picture will grow here").count():
                break


def says(page: Any, words: str) -> None:
    """Wait until the stage says so."""
    page.locator("#stage", has_text=words).wait_for()


def picture(page: Any) -> str:
    """What the stage shows."""
    return str(page.locator("#stage img").first.get_attribute("src"))


def changes(page: Any, before: str) -> str:
    """Wait until the stage shows another picture."""
    page.wait_for_function(
        "old => { const i = document.querySelector('#stage img'); return i && i.src !== old }",
        arg=before,
    )
    return picture(page)


def pick(page: Any, label: str, value: str) -> None:
    """Choose an entry of a dropdown."""
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option", name=value, exact=True).click()


def errors(page: Any) -> list[str]:
    return [line for line in page.said if line.startswith("error")]


def test_a_person_paints(page: Any, studio: SimpleNamespace, tmp_path: Path) -> None:
    """Upload, choose, the instant picture, refine, watch, stop, mix, download, drop it back."""
    photo = tmp_path / "astronaut.png"
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        image.resize((256, 256)).save(photo)
    upload(page, photo)
    says(page, "Now choose a painting")
    seen = [picture(page)]
    page.get_by_label("The Great Wave off Kanagawa", exact=True).click()
    says(page, "Instant sketch")
    seen.append(picture(page))
    page.get_by_text("Where to paint", exact=True).click()
    page.locator("#keep").get_by_label("the face", exact=True).check()
    seen.append(changes(page, seen[-1]))
    pick(page, "Size, px", "256")
    page.get_by_label("best", exact=True).check()
    page.click("#paint")
    says(page, "Scale 1 of")
    for _ in range(3):
        seen.append(changes(page, seen[-1]))
    assert len(set(seen)) == len(seen)
    page.click("#stop")
    says(page, "Stopped; this is the picture so far")
    page.locator("#go-on").wait_for()
    whole = picture(page)

    slider = page.locator("#amount input[type=range]")
    slider.fill("0.6")
    mixed = changes(page, whole)
    says(page, "of the painting")
    assert mixed != whole
    page.wait_for_timeout(1500)  # the file follows the slider

    with page.expect_download() as download:
        page.click("#download")
    file = tmp_path / "painted.png"
    download.value.save_as(file)
    recipe = images.recipe_of(file)
    assert recipe["settings"]["size"] == 256
    assert recipe["style"] == ["great-wave"]
    assert recipe["sources"]["keep"] == "face"
    with Image.open(file) as image:
        assert max(image.size) == 256

    page.reload()
    page.wait_for_selector("#paint")
    assert page.get_by_label("draft", exact=True).is_checked()
    upload(page, file)
    says(page, "The settings of that picture are back")
    page.wait_for_function("document.querySelector('input[value=best]').checked")
    assert page.get_by_label("Size, px", exact=True).first.input_value() == "256"
    page.get_by_text("Where to paint", exact=True).click()
    assert page.locator("#keep").get_by_label("the face", exact=True).is_checked()

    assert errors(page) == []
    assert all(url.startswith((studio.url, "data:", "blob:")) for url in page.asked)
    hosts = {a[0] if isinstance(a, tuple) else a for a in studio.called}
    assert hosts <= {"127.0.0.1", "localhost", "::1"}


def guide(language: str) -> str:
    """The last example in a language that the guide shows."""
    text = (ROOT / "docs" / "guide" / "studio.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[-1]


def smaller(example: str, url: str) -> str:
    """An example of the guide that paints a small picture, by the studio that is open here."""
    return example.replace("http://127.0.0.1:7860", url.rstrip("/")).replace("256, 0.5", "64, 0.5")


def test_the_guide_in_python(studio: SimpleNamespace) -> None:
    pytest.importorskip("gradio_client")
    words = [sys.executable, "-W", "ignore", "-c", smaller(guide("python"), studio.url)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    with Image.open(done.stdout.splitlines()[-1]) as image:
        assert image.size == (64, 64)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_guide_with_curl(studio: SimpleNamespace) -> None:
    words = ["bash", "-euo", "pipefail", "-c", smaller(guide("sh"), studio.url)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "event: complete" in done.stdout
    found = json.loads(done.stdout.split("data: ")[-1])[0]
    with urllib.request.urlopen(found["url"]) as file, Image.open(io.BytesIO(file.read())) as image:
        assert image.size == (64, 64)
