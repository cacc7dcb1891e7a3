"""The same batch, and the same picture, by actors of a Ray that is started here.

Ray runs in processes of their own: it leaves sockets open where it was.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import workers
from impasto.batch.on_ray import RayPool
from impasto.errors import SettingError
from small import EXAMPLES, Run, command

SCRIPT = """
import json, signal, sys
import workers
from impasto.batch.on_ray import RayPool
from impasto.batch.pool import Done, Failed, work_off

before = signal.getsignal(signal.SIGTERM)
pool = RayPool(lambda _: workers.make, "local", 1, 2, gpus=False)
assert signal.getsignal(signal.SIGTERM) == before
tasks = [1, ("die", sys.argv[1], 2), ("raise", "no\\nmore"), 2]
events = [e for e in work_off(pool, tasks) if isinstance(e, (Done, Failed))]
found = {str(e.task): e.result if isinstance(e, Done) else e.error for e in events}
print(json.dumps([pool.workers, found]))
"""


def test_actors_do_all_tasks_and_are_replaced_when_they_are_killed(tmp_path: Path) -> None:
    (tmp_path / "deaths").mkdir()
    path = os.pathsep.join([str(Path(workers.__file__).parent), *sys.path])
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "deaths")]
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, found = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= count <= 2
    assert (found["1"][0], found["2"][0]) == (1, 4)
    assert found[str(("die", str(tmp_path / "deaths"), 2))] == "alive"
    assert found[str(("raise", "no\nmore"))] == "ValueError: no more (not foreseen)"


def test_a_batch_and_a_picture_on_ray_have_the_same_bytes(impasto: Run, tmp_path: Path) -> None:
    """The picture: two members on Ray paint what two processes paint."""
    photo = EXAMPLES / "astronaut.jpg"
    batch = ["batch", photo, "--styles", "great-wave", "--preset", "instant", "--size", 48]
    batch += ["--threads", 1, "-q", "-o"]
    one = ["stylize", photo, "great-wave", "-q", "--device", "cpu,cpu", "--size", 128]
    one += ["--coarsest", 0, "--steps", 2, "--threads", 1, "-o"]
    for words in ([*batch, tmp_path / "ray"], [*one, tmp_path / "ray.png"]):
        with command(*words, "--ray", "local") as process:
            out, err = process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")
    for words in ([*batch, tmp_path / "here"], [*one, tmp_path / "here.png"]):
        assert impasto(*words) == (0, "", "")
    name = "astronaut-great-wave.png"
    assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert (tmp_path / "ray.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingError, match=r"reached at '127\.0\.0\.1:1' \(.*or use local"):
        RayPool(lambda _: workers.make, "127.0.0.1:1", 1, 2, gpus=False)


def test_one_device_needs_no_cluster(impasto: Run, tmp_path: Path) -> None:
    words = "stylize", EXAMPLES / "astronaut.jpg", "great-wave", "--device", "cpu"
    status, _, err = impasto(*words, "--ray", "local", "-o", tmp_path / "out.png")
    assert status == 2
    assert "device is cpu: name one for each machine" in err
