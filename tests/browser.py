"""A page in Chromium, with everything that it says and asks for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def page_at(url: str, profile: Path, **options: Any) -> Iterator[Any]:
    """The page of an address: `said` has its errors and warnings, `asked` the addresses it asked
    for. Skips the test where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        context = browsers.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=list(FLAGS), headless=True, **options
        )
        opened = context.new_page()
        opened.said, opened.asked = [], []
        opened.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        opened.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(url)
        yield opened
        context.close()
