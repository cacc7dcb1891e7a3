"""What members tell each other: sums, parts and orders, over gloo and alone; and who is lost."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from impasto.machine import members
from impasto.machine.exchange import ALONE, Exchange, Group, Lost, mean_of, sum_of
from impasto.machine.members import Crew
from members import together


def all_calls(exchange: Exchange) -> dict[str, Any]:
    """What a member gets, and the bytes that it says it sent."""
    rank, others = exchange.rank, range(exchange.members)
    whole, number = exchange.sum([torch.full((2, 2), rank + 1.0), torch.tensor(10.0**rank)])
    parts = [torch.full((rank + 1, to + 1), 10 * rank + to + 1j) for to in others]
    return {
        "sum": whole[0, 0].item(),
        "number": number.item(),
        "half": sum_of(torch.tensor([0.5]).bfloat16(), exchange),
        "mean": mean_of(torch.arange(rank + 1.0), exchange).item(),
        "largest": exchange.largest(torch.tensor(-float(rank))).item(),
        "parts": exchange.swap(parts, [(a + 1, rank + 1) for a in others]),
        "nothing": exchange.swap([torch.zeros(0).short() for _ in others], [(0,) for _ in others]),
        "order": exchange.told("grün" if rank == 0 else ""),
        "sent": exchange.sent,
    }


def test_three_members_get_what_all_have() -> None:
    """Means over 0, 0 1 and 0 1 2; parts of 1, 2 and 3 complex rows."""
    found = together(3, all_calls)
    for rank, own in enumerate(found):
        assert (own["sum"], own["number"], own["largest"]) == (6.0, 111.0, 0.0)
        assert own["half"].dtype == torch.bfloat16
        assert own["half"].item() == 1.5
        assert own["mean"] == pytest.approx(4 / 6)
        assert own["order"] == "grün"
        assert [part.shape for part in own["parts"]] == [(a + 1, rank + 1) for a in range(3)]
        firsts = [part[0, 0].item() for part in own["parts"]]
        assert firsts == [10 * a + rank + 1j for a in range(3)]
        assert [len(part) for part in own["nothing"]] == [0, 0, 0]
        # sums of 5 and 1 numbers in float32, 2 in float64, a largest; complex parts for the others
        columns = 6 - (rank + 1)
        assert own["sent"] == 5 * 4 + 4 + 2 * 8 + 4 + 8 * (rank + 1) * columns


def test_alone_everything_is_as_it_was() -> None:
    tensor = torch.rand(3)
    assert ALONE.sum([tensor])[0] is tensor
    assert ALONE.swap([tensor], [(3,)])[0] is tensor
    assert ALONE.largest(tensor[0]) == tensor[0]
    assert mean_of(tensor, ALONE) == tensor.mean()
    assert (ALONE.told("word"), ALONE.sent) == ("word", 0)


def test_members_meet_at_a_port() -> None:
    """As those on several machines do."""
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    found: list[float] = []

    def work(join: Any) -> None:
        found.append(sum_of(torch.tensor(2.0), join()).item())

    address = f"tcp://127.0.0.1:{store.port}"
    other = threading.Thread(target=members.take_part, args=(1, 2, address, work))
    other.start()
    group = Group(store, 0, 2, local=False)
    assert sum_of(torch.tensor(1.0), group).item() == 3.0
    other.join()
    assert found == [3.0]


def crew_of(code: str) -> Crew:
    """A crew whose second member is a process that runs the code."""

    def start(rank: int, count: int, address: str) -> Any:
        words = [sys.executable, "-c", code, str(rank), str(count), address]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    return Crew(2, start)


HEAD = "import os, sys; from impasto.machine import members"
CALL = "members.take_part(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], work)"


def test_who_dies_is_lost_and_one_that_fails_says_why() -> None:
    crew = crew_of(f"{HEAD}\ndef work(join):\n  join().told()\n  os._exit(9)\n{CALL}")
    group = crew.joined()
    group.told("go on")
    with pytest.raises(Lost):
        sum_of(torch.ones(2), group)
    assert crew.reason() == ""
    crew.end()
    crew.start = crew_of(f"{HEAD}\ndef work(join):\n  raise MemoryError('no room')\n{CALL}").start
    with pytest.raises(Lost, match="before it had begun"):
        crew.joined()
    assert crew.reason() == "MemoryError: no room"
    crew.end()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who is alive")
def test_a_member_ends_with_what_started_it(tmp_path: Path) -> None:
    """A process starts a member that would wait for ever, and is killed."""
    (tmp_path / "waiting.py").write_text(
        "import os, time\nfrom impasto.machine import members\n"
        "def main():\n  found = members.given()\n  print(found[3], os.getpid(), flush=True)\n"
        "  open(found[2], 'w').write(str(os.getpid()))\n  time.sleep(600)\n"
    )
    mark = tmp_path / "pid"
    code = (
        "import time; from impasto.machine import members; "
        f"members.spawned('waiting', lambda: b'job')(1, 2, {str(mark)!r}); "
        "time.sleep(600)"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    }
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while not (mark.exists() and mark.read_text()):
        assert parent.poll() is None
    member = int(mark.read_text())
    parent.kill()
    parent.wait()
    while Path(f"/proc/{member}").exists() and "Z" not in _state(member):
        pass  # it ends, or this test never does
    assert parent.returncode == -9


def _state(process: int) -> str:
    """The letter of /proc for what a process does; Z where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
