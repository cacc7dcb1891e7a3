"""The workers of a pool as actors of a Ray cluster, or of a Ray that is started here.

Ray Core alone: an actor keeps the networks, reads photos and writes pictures by itself, and sends
back a row. Ray Data would stop a whole data set at the first exception, and send every picture
through its store.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from impasto.batch.pool import TRIES
from impasto.errors import SettingError
from impasto.machine.members import Crew, Started
from impasto.machine.tasks import Make
from impasto.painting.shared import job_of, member, settings_of_members
from impasto.scene import Scene
from impasto.settings import changed

LOCAL = "local"
RESTARTS = -1  # of an actor that is lost: always
RETRIES = TRIES - 1  # of a task whose actor is lost, by Ray itself
PATIENCE = 5.0  # seconds that an actor may take to say how far it is
REACHED = 10.0  # seconds that a cluster may take to answer


class RayPool:
    """Actors, one for each card of the cluster, or for so many `threads` of its processors.

    `make` makes each one's tools; its argument is how many workers share a machine. Raises
    SettingError where Ray is not installed or not reached.
    """

    def __init__(
        self,
        make: Callable[[int], Make[Any, Any]],
        address: str,
        threads: int,
        most: int,
        gpus: bool,
    ) -> None:
        self.ray = _connected(address)
        resources = self.ray.cluster_resources()
        cards = int(resources.get("GPU", 0)) if gpus else 0
        each = {"num_gpus": 1, "num_cpus": 1} if cards else {"num_cpus": threads}
        found = cards or int(resources.get("CPU", 1)) // threads
        self.workers = max(1, min(found, most))
        nodes = sum(1 for node in self.ray.nodes() if node["Alive"])
        tools = make(-(-self.workers // max(1, nodes)))
        actor, folder = self.ray.remote(_Worker), str(Path.cwd())
        self.actors = [
            actor.options(
                max_restarts=RESTARTS, max_task_retries=RETRIES, max_concurrency=2, **each
            ).remote(tools, folder)
            for _ in range(self.workers)
        ]
        self.references: dict[Any, int] = {}
        self.known = [0.0] * self.workers

    def give(self, worker: int, task: Any) -> None:
        """See `Pool`."""
        self.known[worker] = 0.0
        self.references[self.actors[worker].work.remote(task)] = worker

    def ended(self, seconds: float) -> list[tuple[int, Any]]:
        """See `Pool`."""
        done, _ = self.ray.wait(list(self.references), timeout=seconds)
        return [(self.references.pop(reference), self._result(reference)) for reference in done]

    def shares(self) -> Sequence[float]:
        """See `Pool`."""
        asked = {self.actors[worker].share.remote(): worker for worker in self.references.values()}
        done, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE)
        for reference in done:
            found = self._result(reference)
            if isinstance(found, float):
                self.known[asked[reference]] = found
        return self.known

    def close(self) -> None:
        """See `Pool`. The cluster stays; a Ray that was started here ends."""
        for actor in self.actors:
            self.ray.kill(actor)
        self.ray.shutdown()

    def _result(self, reference: Any) -> Any:
        """What a call returned, or the exception that it ended with."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            return error.cause if isinstance(error.cause, Exception) else error
        except errors.RayError as error:
            words = " ".join(str(error).split())
            return RuntimeError(f"the process that painted it was lost {TRIES} times: {words}")


class _Worker:
    """An actor: what it is told to do, and how far it is."""

    def __init__(self, make: Make[Any, Any], folder: str) -> None:
        with suppress(OSError):  # names of files may be those of the first process's folder
            os.chdir(folder)
        self.make, self.done = make, 0.0
        self.does: Any = None

    def work(self, task: Any) -> Any:
        """Do a task."""
        self.done = 0.0
        self.does = self.does or self.make()
        return self.does(task, self._show)

    def share(self) -> float:
        """How far the task is, 0 to 1."""
        return self.done

    def _show(self, share: float) -> None:
        self.done = share


def crew_on(address: str, scene: Scene) -> Crew:
    """The members of a run that several machines paint together (`painting.SharedRun`): actors of a
    Ray cluster, and this process, which is the first.

    There are as many as the scene's settings name devices. SettingError where Ray is not installed
    or not reached, or there is one device.
    """
    count = len(scene.settings.devices)
    if count == 1:
        raise SettingError(
            f"device is {scene.settings.device}: name one for each machine, such as --device "
            "cuda,cuda, to paint one picture on Ray; many pictures are for impasto batch"
        )
    ray = _connected(address)
    each = [changed(s, device=s.device.split(":")[0]) for s in settings_of_members(scene.settings)]
    job, actor = ray.put(job_of(scene, each)), ray.remote(_Member)

    def start(rank: int, members: int, meeting: str) -> Started:
        on_card = each[rank].device != "cpu"
        needs = {"num_gpus": 1, "num_cpus": 1} if on_card else {"num_cpus": each[rank].threads or 1}
        made = actor.options(**needs).remote()
        return _StartedActor(ray, made, made.paint.remote(rank, members, meeting, job))

    return Crew(count, start, ray.util.get_node_ip_address())


class _Member:
    """An actor that paints strips of one picture."""

    def paint(self, rank: int, members: int, meeting: str, job: bytes) -> None:
        """See `painting.shared.member`."""
        member(rank, members, meeting, job)


class _StartedActor:
    """A member as the crew sees it, see `machine.members.Started`."""

    def __init__(self, ray: Any, actor: Any, reference: Any) -> None:
        self.ray, self.actor, self.reference = ray, actor, reference

    def poll(self) -> int | None:
        """None while the actor paints."""
        done, _ = self.ray.wait([self.reference], timeout=0)
        return 1 if done else None

    def kill(self) -> None:
        """End the actor."""
        if self.ray.is_initialized():
            self.ray.kill(self.actor)


def _connected(address: str) -> Any:
    """Ray, connected to a cluster or started here, without its dashboard and its statistics."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SettingError("--ray needs a library more: pip install 'impasto[ray]'") from None
    here = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        _check_reached(address)
        with _own_signals():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        words = " ".join(str(error).split())
        raise SettingError(
            f"no Ray cluster is reached at {address!r} ({words}): check the address, or use local"
        ) from None
    return ray


def _check_reached(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the answer to SIGTERM what it is: Ray would take it for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
