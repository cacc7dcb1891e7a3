"""Every setting of impasto: its name, default, range and help text, once.

The command line, the web page, the saved recipe and the docs' page of settings are made from this
class.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from impasto.errors import SettingError
from impasto.settings.fields import (
    Counts,
    Crops,
    LayerWeights,
    Names,
    Numbers,
    Turns,
    check_names,
    setting,
    settle,
)
from impasto.settings.parsing import Turn, bytes_of, split

Preset = Literal["best", "draft", "instant", "paper"]
FILE_OR = {
    "start": ("recolored", "content", "instant", "noise", "style"),
    "palette": ("none", "style"),
}
"""The settings that may be a file, and the words that they may be instead."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to paint. The defaults are those of the preset `best`; see `settings_for` for others.

    Raises SettingError for a value out of its range, of the wrong type, or unknown.
    """

    preset: Preset = setting(
        "best",
        "How to paint: best, draft (quicker), instant (seconds) or paper (Gatys et al. 2016).",
        "best is coarse to fine with relative losses, draft the same in fewer steps, instant "
        "one pass of a network that was trained for it, paper as Gatys, Ecker and Bethge 2016 "
        "did.",
        basic=True,
        group="Picture",
    )
    size: int = setting(
        512,
        "Long side of the painted picture, px.",
        at_least=32,
        at_most=16384,
        basic=True,
        group="Picture",
    )
    original_size: bool = setting(
        False, "Bring the result back to the photo's own pixels.", basic=True, group="Picture"
    )
    strength: float = setting(
        0.5,
        "How far to go from the photo (0) to the painting (1).",
        "The content weight is multiplied by (2 (1 - strength))^2, the style weight by (2 "
        "strength)^2. In instant mode it is the share of the painting's statistics.",
        at_least=0,
        at_most=1,
        basic=True,
        group="Picture",
    )
    seed: int = setting(
        0,
        "Seed of everything random: the noise of --start noise; in impasto train the network's "
        "first weights and the squares it learns from.",
        at_least=0,
        group="Picture",
    )

    style_weights: Numbers = setting(
        (),
        "How much each of several paintings counts, such as 0.7,0.3.",
        "All count equally if none is given.",
        at_least=0,
        basic=True,
        group="Style",
    )
    style_scale: Numbers = setting(
        (1.0,),
        "Size of the brush strokes: 0.5 for small ones, 2 for large ones.",
        "The painting's long side as a multiple of the picture's; one number, or one for each "
        "painting.",
        above=0,
        at_most=8,
        basic=True,
        group="Style",
    )
    style_crop: Crops = setting(
        (),
        "The part of the painting to take, as left:top:right:bottom in parts of its sides, such "
        "as 0:0:0.5:1 for the left half; one, or one for each painting.",
        group="Style",
    )
    style_turn: Turns = setting(
        (Turn(False, 0.0),),
        "How to turn the painting, and with it the strokes: degrees counter-clockwise, flip for "
        "its mirror image, or flip90 for both; several are mixed, such as 0,90,180,270.",
        group="Style",
    )
    keep_colors: Literal["none", "luminance", "match", "transfer"] = setting(
        "none",
        "Keep the photo's colors: luminance, match or transfer.",
        "luminance paints in lightness alone, match gives the painting the photo's mean and "
        "covariance of colors beforehand, transfer the whole distribution.",
        basic=True,
        group="Style",
    )
    color_map: Literal["symmetric", "cholesky", "pca"] = setting(
        "symmetric", "The linear map that --keep-colors match takes.", group="Style"
    )
    color_amount: float = setting(
        1.0,
        "How far to go with --keep-colors or --palette, 0 to 1.",
        at_least=0,
        at_most=1,
        group="Style",
    )
    palette: str = setting(
        "none",
        "Whose colors the photo takes before it is painted: none, style for the painting's, or a "
        "picture file, whose colors the painting then takes too.",
        group="Style",
    )
    seamless: bool = setting(
        False,
        "Paint a picture whose opposite edges meet, to be laid side by side; sides are multiples "
        "of 16 px.",
        group="Style",
    )

    keep_strength: float = setting(
        0.2,
        "How far to go from the photo (0) to the painting (1) where --keep says so.",
        "As much of what is painted shows there as this is of --strength, or of a region's own: at "
        "0 the photo alone, from --strength on all of it.",
        group="Masks and regions",
        at_least=0,
        at_most=1,
    )

    method: Literal["optimize", "instant"] = setting(
        "optimize",
        "How the picture comes about: optimize changes pixels step by step, instant paints in one "
        "pass of a trained network; of the settings of method only --transform matters then, and "
        "none of optimization.",
    )
    transform: Literal["covariance", "adain"] = setting(
        "covariance",
        "What instant mode gives the photo's features of the painting's: covariance the mean and "
        "how channels go together, adain the mean and deviation of each channel, a little faster.",
    )
    content_layers: LayerWeights = setting(
        "relu4_2", "Layers of the content loss, with their weights: relu4_2 or relu3_1:1,relu4_2:2."
    )
    style_layers: LayerWeights = setting(
        "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        "Layers of the style loss, with their weights w_l; without weights they share one equally.",
    )
    content_weight: float = setting(0.15, "Weight alpha of the content loss.", at_least=0)
    style_weight: float = setting(1.0, "Weight beta of the style loss.", at_least=0)
    tv_weight: float = setting(0.0, "Weight of the total variation loss.", at_least=0)
    range_weight: float = setting(
        100.0,
        "Weight of the loss that keeps pixels between black and white while they are painted: the "
        "file holds no others.",
        at_least=0,
    )
    structure_weight: float = setting(
        0.0,
        "Weight of the self-similarity loss of STROTSS: what looked alike in the photo shall look "
        "alike in the picture, such as the parts of a face.",
        at_least=0,
    )
    structure_layers: LayerWeights = setting(
        "relu3_1,relu4_1", "Layers of the self-similarity loss, with their weights."
    )
    matching_weight: float = setting(
        1.0,
        "Weight of the matching loss, which holds each place of the picture to the nearest stroke "
        "of the painting; 0 leaves it out.",
        at_least=0,
    )
    matching_layers: LayerWeights = setting(
        "relu1_1,relu2_1,relu3_1,relu4_1",
        "Layers of the matching loss, with their weights; without weights they share one equally.",
    )
    style_loss: Names = setting(
        "gram,meanstd", "Which moments to match; several are added: gram, wasserstein, meanstd."
    )
    loss_scale: Literal["relative", "paper", "mean"] = setting(
        "relative",
        "What losses are measured in: relative to the target's own size, the sums of the paper, "
        "or means.",
    )
    backbone: Literal["vgg19", "vgg19-torchvision", "vgg16-torchvision"] = setting(
        "vgg19", "The network: vgg19 ships, the others need `impasto weights get` once."
    )
    pooling: Literal["max", "average", "average-rescaled"] = setting(
        "max",
        "How the network halves its maps; average-rescaled doubles the averages, which keeps the "
        "activations' size.",
    )
    padding: Literal["replicate", "zero", "reflect"] = setting(
        "replicate", "What the network sees beyond the border; the paper's is zero."
    )

    start: str = setting(
        "recolored",
        "The picture to start from: recolored is the photo in the painting's colors, content the "
        "photo as it is, instant what one pass makes of it; noise, style, or a picture file.",
        group="Optimization",
    )
    optimizer: Literal["lbfgs", "adam", "adagrad", "sgd", "rmsprop"] = setting(
        "lbfgs", "What changes the pixels.", group="Optimization"
    )
    learning_rate: float | None = setting(
        None,
        "Step size; if not given: lbfgs 1, adam 0.02, adagrad 0.1, sgd 0.02, rmsprop 0.005. For "
        "sgd it is the root-mean-square change of the first step, in units of full brightness.",
        none="by optimizer",
        above=0,
        group="Optimization",
    )
    momentum: float = setting(
        0.9, "Momentum of sgd.", at_least=0, at_most=0.999, group="Optimization"
    )
    history: int = setting(
        12, "How many past steps L-BFGS remembers.", at_least=1, at_most=200, group="Optimization"
    )
    precondition: bool = setting(
        True,
        "Let L-BFGS learn how steep the loss is along each frequency and color of the picture, and "
        "step further where the loss is flat; off, L-BFGS is the textbook's.",
        group="Optimization",
    )
    steps: Counts = setting(
        (40, 30, 20, 6),
        "Steps at each scale, the smallest first; the last number holds for all larger scales.",
        at_least=1,
        group="Optimization",
    )
    detail_steps: Counts = setting(
        (10, 10, 6),
        "Steps at the start of each scale after the first that match the style's shallow layers "
        "alone: they bring back the fine strokes that enlarging lost, at a third of the cost.",
        at_least=0,
        group="Optimization",
    )
    matching_steps: Counts = setting(
        (20, 20, 20, 6),
        "How many of the last steps at each scale match strokes, the smallest scale first; the "
        "last number holds for all larger scales.",
        at_least=0,
        group="Optimization",
    )
    matching_every: int = setting(
        5,
        "Steps after which the nearest strokes are found anew.",
        at_least=1,
        group="Optimization",
    )
    coarsest: int = setting(
        128,
        "Long side of the first scale, px; 0 paints at one scale.",
        at_least=0,
        group="Optimization",
    )
    scale_ratio: float = setting(
        2.0,
        "How much larger each scale is than the one before, about; 1.414 doubles the pixels.",
        at_least=1.1,
        at_most=16,
        group="Optimization",
    )

    device: str = setting(
        "auto",
        "Where to compute: auto, cpu, cuda, cuda:1, mps; or several, such as cuda:0,cuda:1, which "
        "paint one picture together.",
        group="Machine",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "Number format of the network's features; auto takes bfloat16 where the hardware has it, "
        "float16 on CUDA cards that have only that. Statistics and pixels are always float32.",
        group="Machine",
    )
    cuda_graphs: bool = setting(
        False,
        "On CUDA, record loss and gradient of a small picture once and replay them, where that "
        "turns out faster; steps that match strokes are not recorded. Off, as no card has run it "
        "yet.",
        group="Machine",
    )
    tile: int = setting(
        0,
        "Side of the tiles that a large picture is computed in, px; 0 chooses by the memory there "
        "is. The result is the same.",
        at_least=0,
        group="Machine",
    )
    memory_limit: int | None = setting(
        None,
        "Most memory that the process may take, such as 3G or 1500M; auto takes most of what is "
        "free. Tiles give the same picture. Where even they leave too little room, L-BFGS "
        "remembers fewer steps, or Adam takes its place: impasto says so, and the picture differs.",
        parse=bytes_of,
        none="auto",
        group="Machine",
    )
    threads: int = setting(
        0,
        "CPU threads, for each of several devices; 0 takes one for each core, which devices share.",
        at_least=0,
        at_most=1024,
        group="Machine",
    )

    def __post_init__(self) -> None:
        settle(self)
        check_names("style_loss", self.style_loss, ("gram", "wasserstein", "meanstd"))
        if "" in (name.strip() for name in self.device.split(",")):
            raise SettingError(
                f"device is {self.device!r}: name one, or several like cuda:0,cuda:1"
            )
        if 0 < self.tile < 32:
            raise SettingError(f"tile is {self.tile}: it must be 0 or at least 32")
        if self.content_weight == self.style_weight == self.matching_weight == 0:
            raise SettingError(
                "content_weight, style_weight and matching_weight are all 0: give one a weight"
            )

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the devices that paint the picture together: mostly one."""
        return split(self.device)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values that JSON can hold and `settings_for` takes back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("content_layers", "style_layers", "structure_layers", "matching_layers"):
            plain[name] = dict(plain[name])
        plain |= {
            name: [str(part) for part in plain[name]] for name in ("style_crop", "style_turn")
        }
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


def changed(settings: Settings, **changes: Any) -> Settings:
    """A copy of the settings with these changes."""
    return replace(settings, **changes)
