"""`impasto doctor`: what this machine and this installation can do."""

import platform
import time
from typing import TYPE_CHECKING

from impasto.errors import PictureError

if TYPE_CHECKING:
    import torch

    from impasto.settings import Settings


def doctor() -> None:
    """Show versions, device, threads, number formats, weights and folders; time a 512 px picture.

    $IMPASTO_DATA moves the paintings of your own, $IMPASTO_CACHE what is downloaded and measured;
    $IMPASTO_CACHE_MB is how many megabytes measured of paintings are kept, 0 for none.
    """
    import numpy
    import PIL
    import torch

    from impasto import weights
    from impasto.images import FORMATS, paintings
    from impasto.machine import device
    from impasto.networks import kept
    from impasto.settings import settings_for
    from impasto.version import __version__

    device.keep_large_buffers()
    chosen = device.choose_device("auto")
    dtype = str(device.choose_dtype("auto", chosen)).removeprefix("torch.")
    print(f"impasto     {__version__}")
    print(f"python      {platform.python_version()} on {platform.platform()}")
    print(f"torch       {torch.__version__}")
    print(f"libraries   numpy {numpy.__version__}, Pillow {PIL.__version__}")
    print(f"device      {_describe(chosen)}")
    print(f"threads     {torch.get_num_threads()}")
    print(f"features    {dtype} (bfloat16 in hardware: {_yes(device.has_bfloat16(chosen))})")
    print(f"writes      {', '.join(sorted({name.lower() for name in FORMATS.values()}))}")
    for name in weights.CATALOGUE:
        print(f"weights     {name}: {weights.verify(name)}")
    print(f"paintings   {len(paintings.own())} of your own, in {_library()}")
    most = f"at most {kept.limit() / 1e6:.0f} MB" if kept.limit() else "off"
    print(
        f"kept        {kept.size() / 1e6:.0f} MB measured of paintings, in {kept.folder()} ({most})"
    )
    settings = settings_for("best")
    print(f"best        about {_estimate(settings):.0f} s of painting for 512x512 px", flush=True)


def _library() -> str:
    """Where the user's own paintings are, or why there is no place for them."""
    from impasto.images import paintings

    try:
        return str(paintings.library())
    except PictureError as error:
        return f"no folder: {error}"


def _describe(device: "torch.device") -> str:
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _estimate(settings: "Settings") -> float:
    """Seconds for a square picture, from a few real steps at its last scale."""
    import torch

    from impasto.painting import scales, steps
    from impasto.painting.scales import schedule_of
    from impasto.settings import changed

    photo = torch.rand(3, 512, 512, generator=torch.Generator().manual_seed(0))
    timed = changed(settings, coarsest=0, steps=(3,))
    moments = [time.perf_counter() for _ in steps(photo, "great-wave", timed)]
    one_step = (moments[-1] - moments[0]) / (len(moments) - 1)
    sizes = scales.scale_sizes((512, 512), settings, 16)
    return float(one_step * schedule_of(sizes, settings, 1.0).work / (512 * 512))
