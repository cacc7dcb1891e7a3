"""Paint small pictures in every way and hash their pixels: a change of the code that should change
no picture changes none of these.

    python tools/picture_hashes.py before.json                     on the commit before
    python tools/picture_hashes.py after.json --against before.json   exits 1 where a hash differs

Hashes hold for one machine and one build of PyTorch. WORDS choose cases by parts of their names.
All of them take about eight minutes on one core.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import impasto
from impasto.settings import TrainingSettings
from impasto.training import Trainer
from impasto.video import Clip, Film

EXAMPLES = Path(__file__).parents[1] / "examples"
PAIRS = {
    "astronaut": (EXAMPLES / "astronaut.jpg", "great-wave"),
    "china": (EXAMPLES / "china.jpg", "village-street-in-auvers"),
}
FIXED: dict[str, Any] = {"seed": 0, "threads": 1, "memory_limit": "16G"}
FULL: dict[str, Any] = FIXED | {"size": 256}
SHORT: dict[str, Any] = FULL | {"steps": (6, 4), "detail_steps": (3,), "precision": "float32"}
TINY: dict[str, Any] = FIXED | {  # processors without bfloat16 take minutes for more
    "size": 96, "coarsest": 48, "steps": (3, 2), "detail_steps": (1,), "precision": "bfloat16",
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "best": {}, "draft": {}, "paper": {"steps": 40}, "instant": {},
}  # fmt: skip
Case = Callable[[], torch.Tensor]


def pixels_of(result: "impasto.Result") -> torch.Tensor:
    return result.picture.pixels


def painted(content: Any, style: Any, **changes: Any) -> Case:
    return lambda: pixels_of(impasto.stylize(content, style, **changes))


def cases() -> Iterator[tuple[str, Case]]:
    """Every case by its name."""
    photo, style = PAIRS["astronaut"]
    for preset, changes in PRESETS.items():
        for pair, (content, painting) in PAIRS.items():
            given = FULL | changes | {"preset": preset, "precision": "float32"}
            yield f"{preset}-{pair}", painted(content, painting, **given)
            scales = {"coarsest": 0} if preset == "paper" else {}
            given = TINY | scales | {"preset": preset}
            yield f"{preset}-{pair}-bfloat16", painted(content, painting, **given)
    for given, tile, end in ((SHORT, 128, ""), (TINY, 48, "-bfloat16")):
        yield f"low-strength{end}", painted(photo, style, **given | {"strength": 0.15})
        yield f"regions{end}", partial(with_regions, given)
        yield f"tile{end}", painted(photo, style, **given | {"tile": tile})
        yield f"resumed{end}", partial(resumed, given)
    given = SHORT
    others: dict[str, dict[str, Any]] = {
        "structure": {"structure_weight": 1.0},
        "wasserstein": {"style_loss": "wasserstein"},
        "adam": {"optimizer": "adam"},
        "luminance": {"keep_colors": "luminance"},
        "transfer": {"keep_colors": "transfer", "color_amount": 0.7},
        "palette": {"palette": "style"},
        "seamless-noise": {"seamless": True, "start": "noise"},
        "instant-start": {"start": "instant"},
        "turned": {"style_turn": "0,flip45", "style_crop": "0:0:0.7:1", "style_scale": 0.5},
        "original-size": {"original_size": True, "size": 128},
    }
    for name, changes in others.items():
        yield name, painted(photo, style, **given | changes)
    yield "blend", painted(photo, ["poppies", "great-wave"], **given | {"style_weights": "0.7,0.3"})
    yield "transparent", painted(EXAMPLES / "flower-cutout.png", style, **given)
    yield "network", painted(photo, "great-wave.safetensors", size=256, threads=1)
    yield "film-instant", partial(film, "instant")
    yield "film-optimized", partial(film, "draft")
    yield "training", training


def with_regions(given: dict[str, Any]) -> torch.Tensor:
    """A mask, and two regions of which one has a strength and a style mask of its own."""
    face = impasto.Region("poppies", EXAMPLES / "masks" / "astronaut-face.png", 0.3)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:60, 4:50] = 255
    result = impasto.stylize(
        PAIRS["astronaut"][0], "great-wave", regions=[face], mask=mask,
        style_mask=np.tri(449, 665, dtype=np.float32), **given,
    )  # fmt: skip
    return pixels_of(result)


def resumed(given: dict[str, Any]) -> torch.Tensor:
    """A run that was stopped after four steps and went on."""
    photo, style = PAIRS["china"]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "run.ckpt"
        for step in impasto.steps(photo, style, **given):
            if step.step == 4:
                step.save_checkpoint(checkpoint)
                break
        *_, last = impasto.steps(photo, style, resume=checkpoint, **given)
        return last.picture().pixels


def film(preset: str) -> torch.Tensor:
    """Ten frames of a window that moves over a photo, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.gif"
        with Image.open(PAIRS["china"][0]) as photo:
            whole = photo.convert("RGB").resize((240, 180))
        frames = [whole.crop((2 * i, i, 2 * i + 160, i + 112)) for i in range(10)]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=80)
        settings = impasto.settings_for(
            preset=preset, size=160, threads=1, memory_limit="16G", precision="float32",
            **({} if preset == "instant" else {"steps": (3, 2), "detail_steps": (1,)}),
        )  # fmt: skip
        made = Film(Clip(path), "great-wave", settings).paint()
        return torch.cat([frame.pixels for frame in made])


def training() -> torch.Tensor:
    """What five steps of training make of a network: its picture of a photo."""
    settings = impasto.settings_for(size=96, threads=1, precision="float32")
    training = TrainingSettings(steps=5, crop=96, width=8, blocks=2)
    trainer = Trainer("great-wave", EXAMPLES, settings, training)
    list(trainer.train())
    return trainer.painted(impasto.Picture(torch.rand(1, 3, 96, 96, generator=generator()))).pixels


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def hash_of(pixels: torch.Tensor) -> str:
    """SHA-256 of the pixels in float32, to 16 digits."""
    return hashlib.sha256(pixels.contiguous().float().numpy().tobytes()).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, help="the file to write the hashes to, JSON")
    parser.add_argument("words", nargs="*", help="parts of the names of cases to paint")
    parser.add_argument("--against", type=Path, help="hashes to compare with")
    given = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(given.against.read_text()) if given.against else {}
    found: dict[str, str] = {}
    for name, case in cases():
        if given.words and not any(word in name for word in given.words):
            continue
        began = time.perf_counter()
        found[name] = hash_of(case())
        word = {found[name]: "same", None: "new"}.get(known.get(name), "DIFFERENT")
        print(f"{name:28} {found[name]}  {word:9} {time.perf_counter() - began:5.1f} s", flush=True)
    given.output.write_text(json.dumps(found, indent=1) + "\n")
    changed = [name for name in found if name in known and known[name] != found[name]]
    if changed:
        print(f"different: {', '.join(changed)}", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
