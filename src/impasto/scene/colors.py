"""Whose colors a scene has: how its photo is recolored, and how its paintings are."""

from jaxtyping import Float
from torch import Tensor

from impasto.errors import SettingError
from impasto.images import Need, Picture, fit, folder, paintings
from impasto.losses.moments import mix
from impasto.scene import recolor
from impasto.scene.recolor import Recoloring
from impasto.scene.regions import AnyPicture, Part
from impasto.settings import Settings
from impasto.weights import trained

SMALL = 256  # px, long side of the pictures that recolorings are found on
MOST_GAIN = 3.0  # of the start's colors: more would turn a flat sky's noise into grain


class Colors:
    """The recolorings of `keep_colors` and `palette`, found on small pictures.

    photo: without transparency. style: the painting of the rest, whose palette `palette style`
    takes. Raises SettingError where both are asked for, or a network has no palette.
    """

    def __init__(
        self, settings: Settings, photo: Picture, style: AnyPicture, palette: Picture | None
    ) -> None:
        if settings.keep_colors != "none" and settings.palette != "none":
            raise SettingError(
                f"keep_colors {settings.keep_colors} and palette {settings.palette} contradict "
                "each other: choose one"
            )
        self.settings, self.photo = settings, small(photo)
        self.palette = None if palette is None else small(palette)
        self.of_photo: Recoloring = recolor.unchanged
        if settings.keep_colors == "luminance":
            self.of_photo = recolor.desaturated(settings.color_amount)
        elif settings.palette != "none":
            wanted = _palette_of(style) if self.palette is None else self.palette
            self.of_photo = recolor.transferred(self.photo, wanted, settings.color_amount)

    def of_painting(self, painting: Picture) -> Recoloring:
        """How a painting is recolored before its moments are measured."""
        settings, found = self.settings, small(painting)
        amount = settings.color_amount
        match settings.keep_colors:
            case "luminance":
                return recolor.lightness_matched(found, self.photo, amount)
            case "match":
                mine, its = recolor.moments_of(found), recolor.moments_of(self.photo)
                return recolor.matched(mine, its, settings.color_map, amount)
            case "transfer":
                return recolor.transferred(found, self.photo, amount)
        if self.palette is not None:
            return recolor.transferred(found, self.palette, amount)
        return recolor.unchanged


def to_paintings(
    part: Part, photo: Float[Tensor, "1 3 h w"], weight: Tensor | None, settings: Settings
) -> Recoloring:
    """What gives the photo in a part the mean and covariance of its paintings' colors, as far as
    the painting reaches.

    weight: how much each pixel of the photo counts, 1 1 h w; None for all of them alike.
    """
    its = [recolor.moments_of(*strokes.at(SMALL, 1)) for strokes in part.strokes]
    wanted = mix(its, [strokes.share for strokes in part.strokes])
    mine, amount = recolor.moments_of(photo, weight), part.strength.reach(settings)
    return recolor.matched(mine, wanted, amount=amount, most_gain=MOST_GAIN)


def small(picture: Picture) -> Float[Tensor, "1 3 h w"]:
    """The pixels of a picture at 256 px or less."""
    return picture.resized(*small_size(picture)).pixels


def small_size(picture: Picture) -> tuple[int, int]:
    """Width and height of a picture at 256 px or less."""
    return fit(picture.size, min(SMALL, max(picture.size)))


def _palette_of(style: AnyPicture) -> Tensor:
    """The small painting whose palette `palette style` takes: the first, if it is a folder."""
    if trained.is_network(style):
        raise SettingError(
            f"palette style takes the painting's colors, but {style} is a trained network: name a "
            "picture"
        )
    return small(paintings.picture(folder.sources(style)[0], Need(SMALL)))
