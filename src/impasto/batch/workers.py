"""Who does the work: how many processes, with how many threads, on which cards; here, or on Ray."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from impasto import machine
from impasto.batch.pool import Done, Failed, LocalPool, Pool, work_off
from impasto.errors import ImpastoError, PictureError, SettingError
from impasto.machine import memory
from impasto.machine.tasks import Make, Result, Task, Work

LEAST_ROOM = 1_500_000_000  # bytes of a process: what does not fit with so many is done by fewer
SHARE = 0.85  # of the free memory, for all processes together
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Workers:
    """Processes on a device, or on several with commas between them.

    threads: of each process; 0 divides the cores. count: how many; None: one for each core, or
    card, that memory allows. ray: "local" or the address of a Ray cluster, whose actors take the
    place of processes. Raises SettingError for a number that cannot be.
    """

    device: str = "auto"
    threads: int = 0
    count: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise SettingError(f"workers is {self.count}: it must be at least 1")

    @property
    def device_of_each(self) -> str:
        """The device of one process: of several cards, the one that it sees."""
        return self.device.split(",")[0].split(":")[0] if "," in self.device else self.device

    def size(self, tasks: int) -> tuple[int, int]:
        """How many processes there are for so many tasks, and the threads of each."""
        cards, cores = self._cards(), machine.cores()
        usual = len(cards)
        if not cards:
            named = self.device.count(",") + 1
            room = int(memory.available(machine.choose_device("cpu")) * SHARE // LEAST_ROOM)
            usual = named if named > 1 else max(1, min(cores, room))
        count = max(1, min(self.count or usual, tasks))
        return count, self.threads or max(1, cores // count)

    def pool(self, make: Callable[[int], Make[Any, Any]], tasks: int) -> Pool:
        """The processes for so many tasks. `make` is given the threads of each, and returns what
        makes its tools."""
        if self.ray is not None:
            from impasto.batch.on_ray import RayPool

            threads = self.threads or 1
            most = min(max(1, tasks), self.count or max(1, tasks))

            def tools(sharers: int) -> Make[Any, Any]:
                return Claimed(make(threads), SHARE / sharers)

            return RayPool(tools, self.ray, threads, most, gpus=self.device_of_each != "cpu")
        count, threads = self.size(tasks)
        cards = self._cards()
        sharers = -(-count // len(cards)) if cards else count
        claimed = Claimed(make(threads), SHARE / sharers)
        seen = [{VISIBLE: cards[number % len(cards)]} if cards else {} for number in range(count)]
        return LocalPool([claimed] * count, threads, seen)

    def spread(self, make: Make[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `machine.tasks.Spread`."""
        for event in work_off(self.pool(lambda _: make, len(tasks)), tasks):
            match event:
                case Done(_, result):
                    yield result
                case Failed(_, error, cause):
                    if isinstance(cause, ImpastoError):
                        raise cause
                    raise PictureError(error)

    def _cards(self) -> list[str]:
        """The CUDA cards as $CUDA_VISIBLE_DEVICES names them; none where there is one device."""
        names = self.device.split(",")
        many = len(names) > 1 or self.device in ("auto", "cuda")
        if not many or machine.choose_device(names[0]).type != "cuda":
            return []
        import torch

        given = os.environ.get(VISIBLE, "").split(",")
        count = torch.cuda.device_count()
        visible = given if len(given) >= count > 0 and given[0] else list(map(str, range(count)))
        if len(names) == 1:
            return visible[:count]
        return [visible[machine.choose_device(name).index or 0] for name in names]


@dataclass(frozen=True)
class Claimed:
    """Tools that are made by a process that shares its memory with others."""

    make: Make[Any, Any]
    share: float

    def __call__(self) -> Work[Any, Any]:
        """The tools."""
        memory.claim(self.share)
        return self.make()
