"""Members in threads of this process: real messages over gloo, without processes to wait for."""

import tempfile
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from impasto.machine import exchange
from impasto.machine.exchange import Group

PATIENCE = timedelta(seconds=60)  # with a member that failed: the others wait for it


def together(count: int, work: Callable[[Group], Any]) -> list[Any]:
    """What each of so many members makes of its exchange with the others."""
    found: list[Any] = [None] * count
    errors: list[BaseException] = []
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        meeting = str(Path(folder) / "meeting")

        def run(rank: int) -> None:
            try:
                found[rank] = work(Group(distributed.FileStore(meeting), rank, count))
            except BaseException as error:
                errors.append(error)

        patch.setattr(exchange, "WAIT", PATIENCE)
        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return found
