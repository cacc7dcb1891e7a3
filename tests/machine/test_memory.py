"""What fits into memory: by hand, and the limit kept by a real process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from impasto.errors import PictureError, SettingError
from impasto.machine import memory
from impasto.objective import Spec, matching_bytes
from impasto.painting import budget
from impasto.painting.budget import mask_bytes
from impasto.painting.optimized import OptimizedRun
from impasto.scene import Region, Scene
from impasto.settings import changed, settings_for
from impasto.settings.parsing import bytes_of
from small import EXAMPLES

GIB = 1024**3
HALF = torch.bfloat16


def test_bytes_by_hand() -> None:
    # 1000 x 500 px: 14 pictures of 12 bytes a pixel and 20 pairs of half as large ones; 8
    # values of the photo's relu4_2 in 2 bytes; 620 bytes for the evaluation
    found = budget.footprint((1000, 500), HALF, "lbfgs", 20, 9 * GIB, 80)
    assert found.bytes == 570_000_000 + 500_000 * (14 * 12 + 40 * 6 + 16 + 620)
    wide = budget.footprint((1000, 500), torch.float32, "lbfgs", 20, 9 * GIB, 80)
    assert wide.bytes == 710_000_000 + 500_000 * (54 * 12 + 32 + 1250)
    assert (found.tile, found.optimizer, found.history) == (None, "lbfgs", 20)


def test_the_largest_tiles_that_fit_are_chosen() -> None:
    whole = budget.footprint((4000, 3000), HALF, "lbfgs", 5, 100 * GIB, 80)
    assert whole.tile is None
    tiles = []
    for limit in (8, 7, 6, 5):
        found = budget.footprint((4000, 3000), HALF, "lbfgs", 5, limit * GIB, 80)
        assert found.bytes <= limit * GIB
        tiles.append(found.tile)
    assert all(tile is not None and tile % 64 == 0 for tile in tiles)
    assert tiles == sorted(tiles, reverse=True)


def test_the_optimizer_gives_way_before_tiles_get_small() -> None:
    """12 bytes a pixel for each pair: 12 Mpx and 20 of them are 2.9 GB, Adam is 0.3 GB."""
    ways = [
        budget.footprint((4000, 3000), HALF, "lbfgs", 20, limit * GIB, 80) for limit in (8, 5, 4, 3)
    ]
    assert [(way.optimizer, way.history) for way in ways] == [
        ("lbfgs", 20), ("lbfgs", 10), ("lbfgs", 5), ("adam", 20),
    ]  # fmt: skip
    assert all(way.tile is None or way.tile >= budget.GOOD_TILE for way in ways)
    chosen = budget.footprint((4000, 3000), HALF, "sgd", 20, 2 * GIB, 80)
    assert chosen.optimizer == "sgd"


def test_tiles_that_were_asked_for_are_kept() -> None:
    assert budget.footprint((4000, 3000), HALF, "lbfgs", 10, 100 * GIB, 80, 512).tile == 512
    assert budget.footprint((400, 300), HALF, "lbfgs", 10, 100 * GIB, 80, 512).tile is None


def test_what_is_too_large_for_one_piece_is_tiled_however_much_memory_there_is() -> None:
    """On a card: 64 values a pixel of the first maps are then too many to count in 31 bits."""
    largest = budget.CARD_WHOLE
    assert 64 * (largest + 4 * 16384) < 2**31  # with two pixels more on each side of the picture
    for size, tile in (((4096, 4096), None), ((8192, 8192), budget.LARGEST_TILE)):
        found = budget.footprint(size, HALF, "lbfgs", 12, 200 * GIB, 80, largest=largest)
        assert found.tile == tile
    assert budget.footprint((8192, 8192), HALF, "lbfgs", 12, 200 * GIB, 80).tile is None


def test_a_card_takes_more_rows_at_a_time() -> None:
    """Each start of a kernel costs as much as a few MB: blocks are those of 64 MB in float32."""
    shape = (1, 64, 4096, 4096)
    on_card = memory.rows_of(torch.empty(shape, device="meta"))
    here = memory.rows_of(torch.empty(1, 1, 1, 1).expand(shape))
    assert (len(on_card), len(here)) == (64, 2048)
    assert on_card[-1].stop >= 4096


def test_the_scores_of_matching_are_those_of_the_device() -> None:
    """relu1_1 of 512x512 px has 2^18 places, compared with 1024 strokes: 2^28 scores, of which a
    card looks at 2^27 together, a processor at 2^20; of 64x64 px a card at all 2^22."""
    spec = Spec.of(settings_for())

    def taken(side: int, device: str) -> int:
        return matching_bytes(spec, (side, side), 1, HALF, torch.device(device))

    assert taken(512, "meta") - taken(512, "cpu") == 2 * 2 * (2**27 - 2**20)
    assert taken(64, "meta") - taken(64, "cpu") == 2 * 2 * (2**22 - 2**20)


def test_masks_are_counted() -> None:
    """6 bytes a pixel for each mask on the grids of all layers, 12 for the photo where it stays."""
    astronaut, face = EXAMPLES / "astronaut.jpg", EXAMPLES / "masks" / "astronaut-face.png"
    settings, region = settings_for(size=64), Region("great-wave", face)
    cutout = EXAMPLES / "flower-cutout.png"
    assert mask_bytes(Scene(astronaut, "poppies", settings)) == 0
    assert mask_bytes(Scene(astronaut, "poppies", settings, face)) == 6 + 12
    assert mask_bytes(Scene(astronaut, "poppies", settings, regions=[region])) == 12
    assert mask_bytes(Scene(astronaut, None, settings, regions=[region])) == 6 + 12
    assert mask_bytes(Scene(cutout, "poppies", settings)) == 12  # the painting's, and what is seen
    scenes = [Scene(astronaut, "poppies", settings, mask) for mask in (None, face)]
    plain, masked = (OptimizedRun(scene).footprint((200, 100)).bytes for scene in scenes)
    assert masked - plain == 18 * 200 * 100 + scenes[1].bytes - scenes[0].bytes


def test_too_little_is_refused_with_what_it_takes() -> None:
    with pytest.raises(PictureError, match=r"takes 1\.66 GB, more than the 1\.07 GB there are"):
        budget.footprint((4000, 3000), HALF, "lbfgs", 20, GIB, 80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3G", 3 * GIB), ("1500M", 1500 * 1024**2), ("1.5GiB", 1.5 * GIB), ("auto", None),
     ("204800kb", 200 * 1024**2)],
)  # fmt: skip
def test_bytes_of(text: str, expected: float | None) -> None:
    assert bytes_of(text) == expected
    assert settings_for(memory_limit=text).memory_limit == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 GB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_ran_out(error: BaseException, expected: bool) -> None:
    assert memory.ran_out(error) is expected


def test_the_limit_is_kept_by_the_whole_process(tmp_path: Path) -> None:
    """800 px would take 1.4 GB at once; in tiles the process stays under its limit of 1.3 GB."""
    code = (
        "import re\n"
        "from impasto import images\n"
        "from impasto.images import paintings\n"
        "from impasto.painting import OptimizedRun\n"
        "from impasto.scene import Scene\n"
        "from impasto.settings import settings_for\n"
        "painting = paintings.read('great-wave')\n"
        "photo = images.Picture(painting.pixels.flip(-1)).resized(800, 560)\n"
        "settings = settings_for(size=800, coarsest=0, steps=1, history=5,\n"
        "                        memory_limit='1300M', precision='float32')\n"
        "run = OptimizedRun(Scene(photo, painting, settings))\n"
        "for _ in run.paint(): pass\n"
        "footprint = run.footprint(run.sizes[-1])\n"
        # not getrusage: a process that was forked begins with its parent's peak
        "status = open('/proc/self/status').read()\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) * 1024\n"
        "import json; print(json.dumps([footprint.tile, footprint.bytes, peak]))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tile, estimated, peak = json.loads(re.findall(r"\[.*\]", found.stdout)[-1])
    assert tile is not None
    assert estimated <= 1300 * 1024**2
    assert peak <= 1300 * 1024**2


def group(root: Path, folder: str, **files: object) -> None:
    """A control group's folder; the first _ of a file's name is its dot."""
    place = root / "sys/fs/cgroup" / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (place / name.replace("_", ".", 1)).write_text(f"{value}\n")


def member(root: Path, *lines: str) -> None:
    """The control groups of the process."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")


def test_a_container_has_what_its_group_leaves(tmp_path: Path) -> None:
    """Version 2: 1,000 of which 400 are used, 150 of them by files that need not stay."""
    member(tmp_path, "0::/")
    group(tmp_path, "", memory_max=1000, memory_current=400)
    assert memory.cgroup_room(tmp_path) == 600
    group(tmp_path, "", memory_stat="anon 250\ninactive_file 150\nactive_file 7")
    assert memory.cgroup_room(tmp_path) == 750
    group(tmp_path, "", memory_current=1200)
    assert memory.cgroup_room(tmp_path) == 0


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    member(tmp_path, "0::/slice/pod/box")
    group(tmp_path, "slice", memory_max="max", memory_current=10)
    group(tmp_path, "slice/pod", memory_max=900, memory_current=500)
    group(tmp_path, "slice/pod/box", memory_max=800, memory_current=100)
    assert memory.cgroup_room(tmp_path) == 400
    group(tmp_path, "slice", memory_max=300)
    assert memory.cgroup_room(tmp_path) == 290


def test_version_1_and_paths_of_the_host(tmp_path: Path) -> None:
    """Inside a container of version 1 its own group lies where all begin."""
    member(tmp_path, "5:cpu,cpuacct:/docker/abc", "4:memory:/docker/abc", "0::/docker/abc")
    group(tmp_path, "cpu", memory_limit_in_bytes=5, memory_usage_in_bytes=1)
    group(tmp_path, "memory", memory_limit_in_bytes=1000, memory_usage_in_bytes=300)
    assert memory.cgroup_room(tmp_path) == 700
    group(tmp_path, "memory", memory_stat="total_inactive_file 50")
    assert memory.cgroup_room(tmp_path) == 750


def test_no_limit_and_no_groups(tmp_path: Path) -> None:
    assert memory.cgroup_room(tmp_path) is None  # macOS, Windows
    member(tmp_path, "0::/../box")
    assert memory.cgroup_room(tmp_path) is None
    group(tmp_path, "box", memory_max="max", memory_current=10)
    assert memory.cgroup_room(tmp_path) is None


def test_a_container_is_never_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is available is what the group leaves, if that is less than the machine has free."""
    processor = torch.device("cpu")
    monkeypatch.setattr(memory, "resident", lambda: 300)
    monkeypatch.setattr(memory, "cgroup_room", lambda: 500)
    assert memory.available(processor) == 800
    monkeypatch.setattr(memory, "cgroup_room", lambda: None)
    assert memory.available(processor) > 800


def test_no_limit_is_larger_than_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "available", lambda _: 1000)
    found = [budget.limit(asked, torch.device("cpu")) for asked in (None, 700, 1200)]
    assert found == [900, 700, 1000]


def test_a_limit_that_cannot_be_kept_is_refused_before_reading() -> None:
    """In float32 710 MB are the process's own, and 90 MB the least that painting takes."""
    missing = Path("no such photo.jpg")
    tight = settings_for(size=64, precision="float32", memory_limit="762M")
    words = "memory_limit is 799 MB, but impasto takes 710 MB .*: give it 763M or more"
    with pytest.raises(SettingError, match=words):
        Scene(missing, "great-wave", tight)
    with pytest.raises(PictureError, match="No such file"):
        Scene(missing, "great-wave", changed(tight, memory_limit=763 * 1024**2))
    photo = torch.rand(3, 160, 160)
    least = settings_for(size=160, precision="float32", memory_limit="763M")
    assert OptimizedRun(Scene(photo, "great-wave", least)).footprint((160, 160)).bytes < 763 * 2**20


def test_the_pictures_that_were_read_are_counted() -> None:
    """12 bytes a pixel of photo and painting, 4 of a mask; 40 of a result at the photo's size."""
    photo, mask = torch.rand(3, 100, 200), torch.rand(1, 100, 200)
    painting = torch.rand(3, 50, 40)
    settings = settings_for(size=64)
    assert Scene(photo, painting, settings).bytes == 12 * (20_000 + 2_000)
    masked = Scene(photo, painting, settings, mask).bytes
    assert masked == 12 * (2 * 20_000 + 2_000) + 4 * 20_000  # as a picture, and as a mask
    full = changed(settings, original_size=True)
    assert Scene(photo, painting, full).bytes == 12 * 22_000 + 40 * 20_000
    plain, kept = (
        budget.footprint((1000, 500), HALF, "lbfgs", 20, 9 * GIB, 80, kept=k) for k in (0, 9)
    )
    assert kept.bytes - plain.bytes == 9
    plain, kept = (budget.one_pass((1000, 500), HALF, 9 * GIB, 32, kept=k) for k in (0, 9))
    assert kept.bytes - plain.bytes == 9
