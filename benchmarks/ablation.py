"""The choices behind the recipe: what each costs and what the judge says of it.

    python -m benchmarks.ablation [--size 512] [--only NAME ...] [--folder DIR] [--json FILE]

Every variant changes one thing of `best` and paints six pairs of photo and painting. The table
holds the means over the pairs; the folder gets every picture, a contact sheet (a row a variant, a
column a pair) and the numbers of each. A picture that is there is not painted again.
"""

import json
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.shared.report import EXAMPLES, parser, publish
from impasto.evaluation.judge import Judge, Verdict
from impasto.painting import stylize
from impasto.settings import settings_for

PAIRS = (
    ("astronaut", "great-wave"),
    ("chelsea", "summertime"),
    ("china", "village-street-in-auvers"),
    ("coffee", "composition-viii"),
    ("flower", "moulin-de-la-galette"),
    ("rocket", "poppies"),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "best": {},
    "draft": {"preset": "draft"},
    "moments alone": {"matching_weight": 0, "content_weight": 0.1},
    "matching at the last scale": {"matching_steps": (0, 0, 20)},
    "matching, content 0.1": {"content_weight": 0.1},
    "matching, content 0.2": {"content_weight": 0.2},
    "scales by 1.41": {"scale_ratio": 1.41, "steps": (40, 30, 24)},
    "prototype, 120 steps": {
        "scale_ratio": 2,
        "steps": (60, 40, 120),
        "detail_steps": 0,
        "start": "content",
        "precondition": False,
        "range_weight": 0,
    },
    "prototype, draft": {
        "scale_ratio": 2,
        "steps": (30, 20, 12),
        "detail_steps": 0,
        "start": "content",
        "precondition": False,
        "range_weight": 0,
    },
    "textbook L-BFGS": {"precondition": False},
    "pixels free": {"range_weight": 0},
    "no detail steps": {"detail_steps": 0},
    "the photo's colors": {"start": "content"},
    "gram alone": {"style_loss": "gram"},
    "wasserstein": {"style_loss": "wasserstein"},
    "shallow layers": {
        "style_layers": "relu1_1:0.5,relu2_1:0.25,relu3_1:0.13,relu4_1:0.08,relu5_1:0.04"
    },
    "self-similarity": {"structure_weight": 0.5},
    "one scale": {"coarsest": 0, "steps": (60,)},
    "from noise": {"start": "noise"},
    "from instant": {"start": "instant"},
    "history 10": {"history": 10},
    "adam": {"optimizer": "adam"},
    "zero padding": {"padding": "zero"},
    "average pooling": {"pooling": "average"},
    "rescaled average": {"pooling": "average-rescaled"},
    "total variation": {"tv_weight": 1.0},
    "float32": {"precision": "float32"},
}
THUMB, LABEL = 192, 24  # px of the contact sheet


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=512, help="long side, px")
    options.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options.add_argument("--folder", type=Path, default=Path("out/ablation"))
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.only:
        rows.append(means(name, [painted(name, *pair, given.size, given.folder) for pair in PAIRS]))
        print(rows[-1], flush=True)
    sheet(given.only, given.size, given.folder).save(given.folder / f"sheet-{given.size}.png")
    publish("ablation", rows, given.json, size=given.size)


def painted(variant: str, photo: str, painting: str, size: int, folder: Path) -> dict[str, Any]:
    """Paint and judge one pair, or read what an earlier run found."""
    note = picture_file(variant, photo, size, folder).with_suffix(".json")
    if not note.is_file():
        settings = settings_for(**{"size": size} | VARIANTS[variant])
        began = time.perf_counter()
        result = stylize(EXAMPLES / f"{photo}.jpg", painting, settings)
        seconds = time.perf_counter() - began
        result.save(note.with_suffix(".png"))
        verdict = Judge(EXAMPLES / f"{photo}.jpg", painting).judge(result.picture)
        note.write_text(json.dumps(asdict(verdict) | {"seconds": seconds}), "utf-8")
    found: dict[str, Any] = json.loads(note.read_text("utf-8"))
    return found


def picture_file(variant: str, photo: str, size: int, folder: Path) -> Path:
    """Where a variant's picture of a photo lies."""
    return folder / f"{variant.replace(' ', '-')}-{photo}-{size}.png"


def means(variant: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every number over the pairs."""
    names = ["seconds", *(item.name for item in fields(Verdict) if item.type is float)]
    return {"variant": variant} | {n: sum(f[n] for f in found) / len(found) for n in names}


def sheet(variants: list[str], size: int, folder: Path) -> Image.Image:
    """A row for each variant under its name, a column for each pair."""
    step = THUMB + LABEL
    page = Image.new("RGB", (len(PAIRS) * (THUMB + 4), len(variants) * step), "white")
    draw = ImageDraw.Draw(page)
    for row, variant in enumerate(variants):
        draw.text((4, row * step + 4), variant, "black", ImageFont.load_default(14))
        for column, (photo, _) in enumerate(PAIRS):
            with Image.open(picture_file(variant, photo, size, folder)) as image:
                image.thumbnail((THUMB, THUMB))
                page.paste(image, (column * (THUMB + 4), row * step + LABEL))
    return page


if __name__ == "__main__":
    main()
