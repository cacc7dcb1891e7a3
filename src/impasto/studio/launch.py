"""Opening the studio: who may come in, and that nothing leaves the machine."""

import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from impasto.errors import SettingError
from impasto.studio.uploads import Limits

LOCAL = ("127.0.0.1", "localhost", "::1")
AUTH = "USER:PASSWORD, or a file with one such line for each user"
WAIT = 0.2  # seconds between two looks whether the page is still open
CLOSED = re.compile("/(process_recording|(undo-)?vibe-|proxy=|deep_link|run_history)")
THREADS = 200  # visitors that may wait at a time: each has a thread of its own


@dataclass(frozen=True)
class Options:
    """How the studio is opened."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the first that is free from 7860 on."""
    auth: str | None = None
    """user:password, or a file with one such line for each user."""
    open: bool = False
    """Let anybody in who can reach the host."""
    limits: Limits = field(default_factory=Limits)
    hours: float = 1.0
    """How long a visitor's files stay."""
    browser: bool = True
    """Show the page in the browser."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of every picture: device, threads, memory_limit and so on."""


def serve(options: Options, say: Callable[[str], object] = print) -> None:
    """Open the studio and keep it open until a signal ends it; `say` is told the address."""
    with opened(options) as page:
        say(f"the studio is open at {page.local_url}  (Ctrl-C closes it)")
        while page.is_running:
            time.sleep(WAIT)


@contextmanager
def opened(options: Options) -> Iterator[Any]:
    """The page, open inside; `local_url` is its address. Nothing stays afterwards.

    Raises SettingError where the host is not this machine alone and nobody is kept out, or where
    Gradio is not installed.
    """
    auth = users(options.auth)
    if options.host not in LOCAL and auth is None and not options.open:
        raise SettingError(
            f"the host {options.host} can be reached by others: give --auth USER:PASSWORD, or say "
            "--open to let everybody in"
        )
    _silence()
    try:
        import gradio.routes
    except ImportError:
        raise SettingError(
            "the studio needs a library more: pip install 'impasto[studio]'"
        ) from None
    from impasto.studio.desk import Desk
    from impasto.studio.page import build, look

    assert gradio.__version__
    with tempfile.TemporaryDirectory(prefix="impasto-uploads-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = vars(gradio.routes)["DEFAULT_TEMP_DIR"] = uploads
        limits, copies = options.limits, Path(uploads)
        with _no_other_host(), Desk(limits, options.hours, copies, **options.settings) as desk:
            page = build(desk)
            page.queue(default_concurrency_limit=None)
            try:
                page.launch(
                    server_name=options.host, server_port=options.port, auth=auth, share=False,
                    inbrowser=options.browser, prevent_thread_lock=True, quiet=True,
                    max_threads=THREADS, max_file_size=limits.upload, ssr_mode=False,
                    strict_cors=True, run_history=False, enable_monitoring=False, pwa=False,
                    mcp_server=False, footer_links=["api"], theme=look.theme(),
                    css_paths=[look.CSS], js=look.NAMES, favicon_path=None, show_error=False,
                    allowed_paths=[], blocked_paths=[],
                    app_kwargs={"middleware": [(Doors, (), {})]},
                )  # fmt: skip
                desk.visits.keep_copies()
                yield page
            finally:
                page.close(verbose=False)


def users(auth: str | None) -> list[tuple[str, str]] | None:
    """Who may come in: from user:password, or from a file with one such line for each.

    Raises SettingError for what reads as neither."""
    if auth is None:
        return None
    lines, file = [auth], Path(auth)
    try:
        is_file = file.is_file()
    except (OSError, ValueError):  # too long a name, or with a zero in it: a password
        is_file = False
    if is_file:
        try:
            lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, ValueError):
            raise SettingError(f"--auth {auth} cannot be read as text: check the file") from None
    found = [tuple(line.strip().split(":", 1)) for line in lines]
    if not found or any(len(one) != 2 or not all(one) for one in found):
        raise SettingError(f"--auth must be {AUTH}")
    return [(user, password) for user, password in found]


class Doors:
    """Closes those of Gradio's doors that the page does not need: through one, videos of any size
    are handed to ffmpeg."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 404 at a closed door; hand on all else."""
        if scope["type"] == "http" and CLOSED.search(scope["path"]):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"there is nothing here"})
            return
        await self.app(scope, receive, send)


@contextmanager
def _no_other_host() -> Iterator[None]:
    """Inside, Gradio fetches nothing: a visitor may name an address in place of a file."""
    import safehttpx

    async def refuse(hostname: str) -> str:
        raise ValueError(f"nothing is fetched from {hostname}")

    before, safehttpx.async_validate_url = safehttpx.async_validate_url, refuse
    try:
        yield
    finally:
        safehttpx.async_validate_url = before


def _silence() -> None:
    """No word to any other host: before Gradio is imported, which looks once."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_NUM_PORTS"] = "100"
    logging.getLogger("uvicorn.error").addFilter(_is_of_interest)


def _is_of_interest(record: logging.LogRecord) -> bool:
    """Not that somebody closed the page while a file was on its way."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != "ClientDisconnect"
