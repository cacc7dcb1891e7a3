"""The studies that reports on the method show: which pictures, what to see in them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from impasto.errors import SettingError
from impasto.images import Picture
from impasto.settings import Settings, settings_for
from impasto.studies.measures import distance_to_first, recognized, structure_kept
from impasto.studies.study import Cell, Plot, Study, stem

Options = dict[str, Any]
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SECOND_LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
SMALL: dict[str, Any] = {"size": 256, "content_weight": 0.1, "matching_weight": 0.0}
"""Studies are of content and moments: what the papers explain."""
QUICK: dict[str, Any] = SMALL | {"preset": "draft"}
ONE_SCALE: dict[str, Any] = SMALL | {"coarsest": 0}  # as the papers paint
TRADE = Plot("points", "lpips", "style", "near the photo (left) or the painting (below)")


def layers(photos: Sequence[Picture], style: str, options: Options) -> Study:
    """Style from relu1_1 alone, up to relu5_1 (columns); content at each depth (rows).

    From noise: what is of the photo in a picture came through the content layer.
    """
    photo = _one(photos)
    sets = [",".join(STYLE_LAYERS[: depth + 1]) for depth in range(len(STYLE_LAYERS))]
    cells = [
        _cell(r, c, {"content": content, "style": f"to {STYLE_LAYERS[c]}"}, photo, style,
              SMALL | {"start": "noise", "steps": (40, 40)} | options
              | {"content_layers": content, "style_layers": chosen})
        for r, content in enumerate(SECOND_LAYERS)
        for c, chosen in enumerate(sets)
    ]  # fmt: skip
    return Study(
        "layers", "Which layers: content at a depth, style from the first layers on",
        "To the right the painting's structures grow larger: relu1_1 knows colors and grain "
        "alone, relu5_1 whole forms. Downwards the photo's detail goes: relu1_2 keeps every pixel, "
        "relu5_2 the arrangement of things.",
        tuple(f"content {name}" for name in SECOND_LAYERS),
        (f"style {STYLE_LAYERS[0]}", *(f"... to {name}" for name in STYLE_LAYERS[1:])),
        tuple(cells),
        (Plot("lines", "column", "style", "distance to the painting"),
         Plot("lines", "column", "lpips", "distance to the photo")),
    )  # fmt: skip


def weights(
    photos: Sequence[Picture], style: str, options: Options,
    alphas: Sequence[float] = (0.01, 0.1, 1, 10), betas: Sequence[float] = (0.1, 1, 10),
) -> Study:  # fmt: skip
    """The content weight alpha (rows) against the style weight beta (columns)."""
    photo = _one(photos)
    cells = [
        _cell(r, c, {"alpha": alpha, "beta": beta}, photo, style,
              QUICK | options | {"content_weight": alpha, "style_weight": beta})
        for r, alpha in enumerate(alphas)
        for c, beta in enumerate(betas)
    ]  # fmt: skip
    return Study(
        "weights",
        "How much the photo and the painting weigh",
        "Only the ratio alpha / beta counts: along a diagonal the pictures are nearly the same. A "
        "large ratio leaves the photo, a small one the painting's texture.",
        tuple(f"alpha {value:g}" for value in alphas),
        tuple(f"beta {value:g}" for value in betas),
        tuple(cells),
        (TRADE,),
    )


def inits(
    photos: Sequence[Picture], style: str, options: Options, seeds: Sequence[int] = (0, 1, 2)
) -> Study:
    """The same run from the photo, from the photo recolored, from the painting, from noise."""
    photo = _one(photos)
    starts = [("content", 0), ("recolored", 0), ("style", 0), *(("noise", s) for s in seeds)]
    names = [f"noise, seed {s}" if start == "noise" else start for start, s in starts]
    cells = [
        _cell(0, c, {"start": start, "seed": seed}, photo, style,
              ONE_SCALE | {"steps": 100} | options | {"start": start, "seed": seed})
        for c, (start, seed) in enumerate(starts)
    ]  # fmt: skip
    return Study(
        "inits", "Where to start from",
        "The problem has many solutions, and each start finds one near it. From the photo its "
        "edges stay, from the painting the painting's own places, and every seed of noise goes to "
        "another picture. Noise takes longest; the photo in the painting's colors is ahead from "
        "the first step.",
        ("",), tuple(names), tuple(cells),
        (Plot("losses", "step", "total", "loss"),),
        distance_to_first,
        ("loss", "lpips", "lpips_to_first"),
    )  # fmt: skip


def steps(
    photos: Sequence[Picture],
    style: str,
    options: Options,
    marks: Sequence[int] = (1, 5, 10, 20, 50, 100, 200),
) -> Study:
    """One run at one scale, its picture after each of these numbers of steps, the loss curve."""
    photo = _one(photos)
    if min(marks, default=0) < 1:
        raise SettingError(f"marks are {', '.join(map(str, marks))}: each must be at least 1")
    marks = sorted(set(marks))
    given = ONE_SCALE | {"start": "content"} | options | {"steps": marks[-1]}
    cells = [_cell(0, c, {"steps": m}, photo, style, given, m) for c, m in enumerate(marks)]
    return Study(
        "steps", "How many steps",
        "Strokes come in the first ten or twenty steps; from the photo as it is, colors go on "
        "coming for two hundred. The content loss rises from zero, as the run began at the photo, "
        "and then stays, while the style loss keeps falling.",
        ("",), tuple(f"{m} step{'s' * (m > 1)}" for m in marks), tuple(cells),
        (Plot("losses", "step", "each", "loss, by term"),),
        numbers=("loss", "lpips", "style"),
    )  # fmt: skip


def optimizers(photos: Sequence[Picture], style: str, options: Options) -> Study:
    """Every optimizer for as many steps, the loss against seconds."""
    photo = _one(photos)
    names = ("lbfgs", "adam", "rmsprop", "adagrad", "sgd")
    cells = [
        _cell(0, c, {"optimizer": name}, photo, style,
              ONE_SCALE | {"steps": 100, "start": "content"} | options | {"optimizer": name})
        for c, name in enumerate(names)
    ]  # fmt: skip
    return Study(
        "optimizers", "What moves the pixels",
        "L-BFGS, which learns the curvature, needs half the time of the next best, and its curve "
        "falls on; the first-order methods, each with its own learning rate (sgd with momentum), "
        "end near each other. A step costs all of them the same: one pass through the network and "
        "back.",
        ("",), names, tuple(cells),
        (Plot("losses", "seconds", "total", "loss against seconds"),),
        numbers=("loss", "seconds", "style"),
    )  # fmt: skip


def scale(
    photos: Sequence[Picture],
    style: str,
    options: Options,
    scales: Sequence[float] = (0.25, 0.5, 1, 2),
) -> Study:
    """The size of the strokes (columns), at one scale and coarse to fine (rows)."""
    photo = _one(photos)
    ways: list[tuple[str, dict[str, Any]]] = [
        ("one scale", {"coarsest": 0, "steps": 60}),
        ("coarse to fine", {"coarsest": 64}),
    ]
    cells = [
        _cell(r, c, {"way": way, "style_scale": value}, photo, style,
              SMALL | changes | options | {"style_scale": value})
        for r, (way, changes) in enumerate(ways)
        for c, value in enumerate(scales)
    ]  # fmt: skip
    return Study(
        "scale", "How large the strokes are",
        "The network sees 156 px at most, so what it can take for a stroke depends on the size at "
        "which it sees the painting. One scale alone cannot paint a form larger than that; coarse "
        "to fine can.",
        tuple(way for way, _ in ways), tuple(f"style scale {value:g}" for value in scales),
        tuple(cells), (TRADE,),
    )  # fmt: skip


def content(
    photos: Sequence[Picture], style: str, options: Options, tilings: Sequence[int] = (1, 2, 4)
) -> Study:
    """One painting on several photos (columns), each as it is and as a mosaic of itself (rows).

    A mosaic has the photo's own colors and contrast, and is busier: what differs between rows is
    busyness alone, what differs between columns is much else, too.
    """
    if min(tilings, default=0) < 1:
        raise SettingError(f"tilings are {', '.join(map(str, tilings))}: each must be at least 1")
    names = _unlike([Path(photo.name).stem for photo in photos])
    cells = [
        _cell(r, c, {"": name, "tiles": count}, _mosaic(photo, count), style, QUICK | options)
        for r, count in enumerate(tilings)
        for c, (photo, name) in enumerate(zip(photos, names, strict=True))
    ]
    return Study(
        "content",
        "Simple and busy photos",
        "Downwards the same photo is busier, and less of its structure survives: the strokes are "
        "as large as before, its things are smaller. Between photos contrast counts for more: a "
        "dark or hazy one leaves the painting more room than a busy one of strong outlines.",
        tuple("as it is" if count == 1 else f"{count} x {count}" for count in tilings),
        tuple(names),
        tuple(cells),
        (Plot("points", "busyness", "structure", "structure that survives"),),
        structure_kept,
        ("busyness", "structure"),
    )


def _mosaic(photo: Picture, count: int) -> Picture:
    """The photo so many times side by side and one below the other, at its own size."""
    if count == 1:
        return photo
    width, height = (max(1, side // count) for side in photo.size)
    small = photo.resized(width, height)
    alpha = None if small.alpha is None else small.alpha.repeat(1, 1, count, count)
    return Picture(small.pixels.repeat(1, 1, count, count), alpha, photo.name)


def strength(
    photos: Sequence[Picture],
    style: str,
    options: Options,
    strengths: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
) -> Study:
    """Each photo (rows) at several strengths (columns)."""
    names = _unlike([Path(photo.name).stem for photo in photos])
    cells = [
        _cell(
            r, c, {"": name, "strength": value}, photo, style, QUICK | options | {"strength": value}
        )
        for r, (photo, name) in enumerate(zip(photos, names, strict=True))
        for c, value in enumerate(strengths)
    ]
    return Study(
        "strength", "From the photo to the painting",
        "Every step to the right goes further from the photo and nearer to the painting. A network "
        "trained on ImageNet soon no longer sees what it saw in the photo, where people still do: "
        "it goes by texture (Geirhos et al. 2019).",
        tuple(names), tuple(f"strength {value:g}" for value in strengths), tuple(cells),
        (Plot("lines", "column", "lpips", "distance to the photo"),
         Plot("lines", "column", "style", "distance to the painting"),
         Plot("lines", "column", "own_label", "probability of what the network saw in the photo")),
        recognized,
        ("lpips", "style", "own_label"),
    )  # fmt: skip


def reconstruct(photos: Sequence[Picture], style: str, options: Options) -> Study:
    """What each layer knows: from noise, the photo's features at one layer; the painting's moments
    at the first layers. The first figure of Gatys, Ecker and Bethge 2015."""
    photo = _one(photos)
    base = ONE_SCALE | {"steps": 150, "start": "noise"} | options
    sets = [",".join(STYLE_LAYERS[: depth + 1]) for depth in range(len(STYLE_LAYERS))]
    of_style = [
        _cell(1, c, {"texture": f"to {STYLE_LAYERS[c]}"}, photo, style,
              base | {"style_layers": chosen, "content_weight": 0.0})
        for c, chosen in enumerate(sets)
    ]  # fmt: skip
    of_content = [
        _cell(0, c, {"content": layer}, photo, style,
              base | {"content_layers": layer, "content_weight": 1.0, "style_weight": 0.0})
        for c, layer in enumerate(SECOND_LAYERS)
    ]  # fmt: skip
    return Study(
        "reconstruct", "What the layers know",
        "Above, the photo from noise: relu1_2 gives every pixel back, deep layers the things and "
        "where they are, but neither their colors nor their fine detail. Below, the painting from "
        "noise: color and grain from relu1_1, longer strokes with each layer, whole forms with "
        "relu5_1, and never its arrangement.",
        ("photo's features", "painting's moments"),
        tuple(f"{second}; to {first}" for first, second in zip(STYLE_LAYERS, SECOND_LAYERS,
                                                               strict=True)),
        (*of_content, *of_style),
        (Plot("losses", "step", "total", "loss"),),
        numbers=("loss", "lpips", "style"),
    )  # fmt: skip


STUDIES: dict[str, Callable[..., Study]] = {
    "layers": layers,
    "weights": weights,
    "inits": inits,
    "steps": steps,
    "optimizers": optimizers,
    "scale": scale,
    "content": content,
    "strength": strength,
    "reconstruct": reconstruct,
}
"""Every study: photos, a painting, settings that differ from its own, values of its axes."""


def _one(photos: Sequence[Picture]) -> Picture:
    if len(photos) != 1:
        raise SettingError(f"this study takes one photo, not {len(photos)}")
    return photos[0]


def _cell(
    row: int, column: int, parts: dict[str, Any], photo: Picture, style: str,
    options: dict[str, Any], after: int | None = None,
) -> Cell:  # fmt: skip
    settings: Settings = settings_for(**options)
    return Cell(row, column, stem(parts), photo, style, settings, after)


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, those that there are twice numbered."""
    return [
        f"{name} {number}" if list(names).count(name) > 1 else name
        for number, name in enumerate(names, 1)
    ]
